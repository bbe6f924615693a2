"""The key service by boto3 and by the AWS CLI."""

import base64
import json
import os

import pytest
from conftest import code


@pytest.fixture
def kms(cloud):
    return cloud.client("kms")


@pytest.fixture
def key(kms):
    made = kms.create_key(Description="of a test")["KeyMetadata"]
    yield made
    kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)


def test_a_secret_is_sealed_and_opened_with_its_context(kms, key):
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"secret", EncryptionContext={"a": "b"})
    assert sealed["KeyId"] == key["Arn"] and b"secret" not in sealed["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext={"a": "b"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"secret", key["Arn"])
    assert opened["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"])
    data = kms.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
    assert len(kms.generate_random(NumberOfBytes=17)["Plaintext"]) == 17


def test_the_cli_speaks_with_it(cloud, key, tmp_path):
    cloud.aws("kms", "create-alias", "--alias-name", "alias/cli", "--target-key-id", key["KeyId"])
    plain, blob = tmp_path / "plain", tmp_path / "sealed"
    plain.write_bytes(b"from the command line")
    sealed = cloud.aws("kms", "encrypt", "--key-id", "alias/cli", "--plaintext", f"fileb://{plain}")
    blob.write_bytes(base64.b64decode(sealed["CiphertextBlob"]))
    opened = cloud.aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{blob}")
    assert base64.b64decode(opened["Plaintext"]) == b"from the command line"
    listed = cloud.aws("kms", "list-aliases", "--key-id", key["KeyId"])["Aliases"]
    assert [alias["AliasName"] for alias in listed] == ["alias/cli"]
    cloud.aws("kms", "delete-alias", "--alias-name", "alias/cli")
    refused = cloud.aws("kms", "describe-key", "--key-id", "alias/cli", check=False)
    assert refused.returncode != 0 and "NotFoundException" in refused.stderr


def test_a_key_is_disabled_and_deleted_in_time(kms):
    made = kms.create_key()["KeyMetadata"]
    named = {"KeyId": made["KeyId"]}
    sealed = kms.encrypt(**named, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(**named)
    with pytest.raises(kms.exceptions.DisabledException):
        kms.decrypt(CiphertextBlob=sealed)
    kms.enable_key(**named)
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    scheduled = kms.schedule_key_deletion(**named, PendingWindowInDays=7)
    assert scheduled["KeyState"] == "PendingDeletion"
    described = kms.describe_key(**named)["KeyMetadata"]
    assert described["DeletionDate"] == scheduled["DeletionDate"] > made["CreationDate"]
    with pytest.raises(kms.exceptions.KMSInvalidStateException):
        kms.encrypt(**named, Plaintext=b"x")
    kms.cancel_key_deletion(**named)
    assert kms.describe_key(**named)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.schedule_key_deletion(**named)


def test_policies_grants_and_tags(kms, key):
    named = {"KeyId": key["KeyId"]}
    policy = json.loads(kms.get_key_policy(**named, PolicyName="default")["Policy"])
    assert policy["Statement"][0]["Action"] == "kms:*"
    assert code(kms.put_key_policy, **named, Policy="{}") == "MalformedPolicyDocumentException"
    grantee = f"arn:aws:iam::{key['AWSAccountId']}:root"
    grant = kms.create_grant(**named, GranteePrincipal=grantee, Operations=["Decrypt"])
    listed = kms.get_paginator("list_grants").paginate(**named).build_full_result()["Grants"]
    assert [one["GrantId"] for one in listed] == [grant["GrantId"]]
    kms.revoke_grant(**named, GrantId=grant["GrantId"])
    kms.tag_resource(**named, Tags=[{"TagKey": "a", "TagValue": "b"}])
    assert kms.list_resource_tags(**named)["Tags"] == [{"TagKey": "a", "TagValue": "b"}]
    kms.enable_key_rotation(**named)
    assert kms.get_key_rotation_status(**named)["KeyRotationEnabled"]
    assert key["KeyId"] in [one["KeyId"] for one in kms.get_paginator("list_keys").paginate().build_full_result()["Keys"]]


def test_what_is_not_there_is_refused_by_name(kms):
    assert code(kms.create_key, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY") == "UnsupportedOperationException"
    assert code(kms.describe_key, KeyId="alias/none") == "NotFoundException"
    assert code(kms.describe_key, KeyId="") == "ValidationException"
    wrong = "1234abcd-12ab-34cd-56ef-1234567890ab"
    assert code(kms.sign, KeyId=wrong, Message=b"x", SigningAlgorithm="ECDSA_SHA_256") == "UnsupportedOperationException"


def test_keys_survive_a_restart_and_the_root_key_is_guarded(make_cloud):
    cloud = make_cloud("keys")
    cloud.up()
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"kept")["CiphertextBlob"]
    root = os.path.join(cloud.data, "root.key")
    assert os.stat(root).st_mode & 0o777 == 0o600
    cloud.interrupt()
    cloud.up()
    assert cloud.client("kms").decrypt(CiphertextBlob=sealed)["Plaintext"] == b"kept"
    # Another key in its place would open nothing: the store is not served with it.
    cloud.interrupt()
    with open(root) as file:
        kept = file.read()
    os.remove(root)
    if cloud.host == "sim":
        refused = cloud.run("up", "--host", "sim", "--listen", cloud.listen, check=False)
        assert refused.returncode != 0 and "root.key" in refused.stderr + refused.stdout
        assert not os.path.exists(root)
    with open(root, "w") as file:
        file.write(kept)
    cloud.up()
    assert cloud.client("kms").decrypt(CiphertextBlob=sealed)["Plaintext"] == b"kept"
