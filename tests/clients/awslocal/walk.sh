#!/bin/bash
# A short walk of an awslocal user. Prints the instance's id.
set -euo pipefail
export AWS_PAGER= DISABLE_DEPRECATION_NOTICE=1
NAME=walk-awslocal-$$

IMAGE=$(awslocal ec2 describe-images --owners amazon --filters "Name=name,Values=nube/*" \
    --query 'Images[0].ImageId' --output text)
GROUP=$(awslocal ec2 create-security-group --group-name "$NAME" --description "the walk" --query GroupId --output text)
INSTANCE=$(awslocal ec2 run-instances --image-id "$IMAGE" --instance-type t3.nano --security-group-ids "$GROUP" \
    --query 'Instances[0].InstanceId' --output text)
awslocal ec2 wait instance-running --instance-ids "$INSTANCE"
if awslocal ec2 describe-instances --instance-ids i-0123456789abcdef0 2> /dev/null; then
    echo "an instance that never was is described" >&2
    exit 1
fi
awslocal ec2 terminate-instances --instance-ids "$INSTANCE" > /dev/null
awslocal ec2 wait instance-terminated --instance-ids "$INSTANCE"
awslocal ec2 delete-security-group --group-id "$GROUP" > /dev/null
echo "$INSTANCE"
