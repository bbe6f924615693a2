#!/usr/bin/env python3
# Writes botocore.txt beside itself: requests as botocore signs them. Needs botocore.
import botocore, datetime, pathlib
from botocore.auth import SigV4Auth, SigV4QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from unittest import mock
import botocore.auth as A
from urllib.parse import urlsplit
NOW=datetime.datetime(2026,1,2,3,4,5)
out=[f"Requests signed by botocore {botocore.__version__} at 20260102T030405Z with AKIDNUBE / sécret+/key, us-east-1; same layout as the other file.",
 "`options`: service, token."]
def emit(name, auth_cls, method, url, service, data=b'', headers=None, token=None, params=None, expires=None):
    cred=Credentials('AKIDNUBE','sécret+/key',token)
    req=AWSRequest(method=method,url=url,data=data,headers=headers or {},params=params or {})
    kw={'expires':expires} if expires else {}
    auth=auth_cls(cred,service,'us-east-1',**kw)
    with mock.patch.object(A,'get_current_datetime',lambda *a,**k: NOW):
        auth.add_auth(req)
    prep=req.prepare()
    u=urlsplit(prep.url)
    path=(u.path or '/')+('?'+u.query if u.query else '')
    out.append(f"===== {name}")
    out.append("----- options"); out.append(f"service {service}")
    if token: out.append(f"token {token}")
    out.append("----- request")
    lines=[f"{method} {path} HTTP/1.1"]
    hs=dict(prep.headers.items())
    if not any(k.lower()=='host' for k in hs): lines.append(f"Host:{u.netloc}")
    for k,v in hs.items():
        if isinstance(v,bytes): v=v.decode('utf-8')
        lines.append(f"{k}:{v}")
    body=prep.body or b''
    if isinstance(body,bytes): body=body.decode('utf-8')
    out.append("\n".join(lines)+"\n\n"+body)
form={'Content-Type':'application/x-www-form-urlencoded; charset=utf-8','User-Agent':'Boto3/1 md/x'}
body=b'Action=RunInstances&Version=2016-11-15&MinCount=1&TagSpecification.1.Tag.1.Value=gr%C3%BC%C3%9Fe+%F0%9F%9A%80+%2B%2F'
T='FwoGZXIvYXdzEJr//////////wEaDGV4YW1wbGU+/=='
E='https://ec2.us-east-1.amazonaws.com/'
emit('ec2-post',SigV4Auth,'POST',E,'ec2',body,form)
emit('ec2-post-to-a-port',SigV4Auth,'POST','http://127.0.0.1:4566/','ec2',body,form)
emit('ec2-post-with-a-session-token',SigV4Auth,'POST',E,'ec2',body,form,T)
emit('ec2-get',SigV4Auth,'GET',E,'ec2',params={'Action':'DescribeInstances','Filter.1.Value.1':'grüße 🚀 +/~*','Version':'2016-11-15'})
emit('ec2-presigned',SigV4QueryAuth,'GET',E,'ec2',params={'Action':'DescribeRegions','Version':'2016-11-15','Name':'ü b+c/~'},expires=900)
emit('ec2-presigned-with-a-session-token',SigV4QueryAuth,'GET',E,'ec2',params={'Action':'DescribeRegions'},token=T,expires=604800)
emit('sts-presigned-as-eks-does',SigV4QueryAuth,'GET','https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15','sts',headers={'x-k8s-aws-id':'cluster'},expires=60)
emit('sts-post',SigV4Auth,'POST','https://sts.us-east-1.amazonaws.com/','sts',b'Action=GetCallerIdentity&Version=2011-06-15',form)
emit('unicode-header-and-spaces',SigV4Auth,'POST','https://dynamodb.us-east-1.amazonaws.com/','dynamodb','{"Name":"grüße"}'.encode(),{'X-Amz-Target':'DynamoDB_20120810.GetItem','Content-Type':'application/x-amz-json-1.0','X-Note':'a   b  ü '})
emit('rest-path-with-an-arn',SigV4Auth,'GET','https://lambda.us-east-1.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Agr%C3%BC%C3%9Fe/policy','lambda')
emit('s3-key-with-dots-and-slashes',S3SigV4Auth,'PUT','https://b.s3.us-east-1.amazonaws.com/a/../b//c%20d%2B%C3%BC~','s3',b'data')
emit('s3-presigned',S3SigV4QueryAuth,'GET','https://b.s3.us-east-1.amazonaws.com/a/../b//c%20d%2B%C3%BC~','s3',params={'response-content-type':'text/plain; charset=utf-8'},token=T,expires=300)
pathlib.Path(__file__).with_name('botocore.txt').write_text("\n".join(out) + "\n", encoding='utf-8')
