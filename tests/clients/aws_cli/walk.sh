#!/bin/bash
# The walk of an AWS CLI user: from a key pair to a terminated instance. Settings come from the environment alone.
#   walk.sh [aws|awslocal]      prints the instance's id; anything unexpected ends it with status 1
set -euo pipefail
AWS=${1:-aws}
NAME=walk-$AWS-$$
WORK=$(mktemp -d)
trap 'rm -r "$WORK"' EXIT
export AWS_PAGER=

ec2() { "$AWS" ec2 "$@" --output text; }

is() { # WHAT WANTED GOT
    [ "$2" = "$3" ] || { echo "$1 is '$3', not '$2'" >&2; exit 1; }
}

# The client's status and the error code of a call that must fail.
refused() { # CODE COMMAND...
    local code=$1 said
    shift
    if said=$(ec2 "$@" 2>&1); then echo "$* succeeded, $code was expected" >&2; exit 1; fi
    case $said in
        *"An error occurred ($code) when calling"*) ;;
        *) echo "$* was refused otherwise than by $code: $said" >&2; exit 1 ;;
    esac
}

"$AWS" sts get-caller-identity --query Account --output text > "$WORK/account"
ACCOUNT=$(cat "$WORK/account")
[[ $ACCOUNT =~ ^[0-9]{12}$ ]] || { echo "no account: $ACCOUNT" >&2; exit 1; }

IMAGE=$(ec2 describe-images --owners amazon --filters "Name=name,Values=nube/*" Name=architecture,Values=x86_64 Name=state,Values=available \
    --query 'sort_by(Images, &CreationDate)[-1].ImageId')
VPC=$(ec2 describe-vpcs --filters Name=is-default,Values=true --query 'Vpcs[0].VpcId')
SUBNET=$(ec2 describe-subnets --filters "Name=vpc-id,Values=$VPC" --query 'Subnets[0].SubnetId')

ec2 create-key-pair --key-name "$NAME" --key-type ed25519 --query KeyMaterial > "$WORK/key.pem"
chmod 600 "$WORK/key.pem"
ssh-keygen -y -f "$WORK/key.pem" > "$WORK/key.pub"
refused InvalidKeyPair.Duplicate import-key-pair --key-name "$NAME" --public-key-material "fileb://$WORK/key.pub"

GROUP=$(ec2 create-security-group --group-name "$NAME" --description "the walk" --vpc-id "$VPC" --query GroupId)
RULE=$(ec2 authorize-security-group-ingress --group-id "$GROUP" --protocol tcp --port 22 --cidr 0.0.0.0/0 \
    --query 'SecurityGroupRules[0].SecurityGroupRuleId')
is "the rule's port" 22 "$(ec2 describe-security-group-rules --security-group-rule-ids "$RULE" \
    --query 'SecurityGroupRules[0].FromPort')"
refused InvalidPermission.Duplicate authorize-security-group-ingress --group-id "$GROUP" --protocol tcp --port 22 \
    --cidr 0.0.0.0/0

printf '#!/bin/sh\necho hello from user data\n' > "$WORK/user-data"
launch=(run-instances --image-id "$IMAGE" --instance-type t3.nano --key-name "$NAME" --security-group-ids "$GROUP"
    --subnet-id "$SUBNET" --user-data "file://$WORK/user-data" --client-token "token-$NAME"
    --tag-specifications "ResourceType=instance,Tags=[{Key=Name,Value=$NAME},{Key=stage,Value=test}]"
    "ResourceType=volume,Tags=[{Key=Name,Value=$NAME}]")
refused DryRunOperation "${launch[@]}" --dry-run
INSTANCE=$(ec2 "${launch[@]}" --query 'Instances[0].InstanceId')
is "the same token's instance" "$INSTANCE" "$(ec2 "${launch[@]}" --query 'Instances[0].InstanceId')"
refused IdempotentParameterMismatch "${launch[@]}" --instance-type t3.micro --count 1
ec2 wait instance-running --instance-ids "$INSTANCE"
ec2 wait instance-status-ok --instance-ids "$INSTANCE"

is "the instance by its tag" "$INSTANCE" "$(ec2 describe-instances --filters "Name=tag:Name,Values=$NAME" \
    Name=instance-state-name,Values=running --query 'Reservations[].Instances[].InstanceId')"
is "the instance by pages" "$INSTANCE" "$(ec2 describe-instances --page-size 5 --max-items 1000 \
    --query "Reservations[].Instances[?KeyName=='$NAME'][].InstanceId" | head -1)"
is "the user data" "$(base64 -w0 "$WORK/user-data")" "$(ec2 describe-instance-attribute --instance-id "$INSTANCE" \
    --attribute userData --query UserData.Value)"
VOLUME=$(ec2 describe-volumes --filters "Name=attachment.instance-id,Values=$INSTANCE" "Name=tag:Name,Values=$NAME" \
    --query 'Volumes[0].VolumeId')
is "the volume's state" in-use "$(ec2 describe-volumes --volume-ids "$VOLUME" --query 'Volumes[0].State')"
is "the interface's state" in-use "$(ec2 describe-network-interfaces \
    --filters "Name=attachment.instance-id,Values=$INSTANCE" --query 'NetworkInterfaces[0].Status')"

ec2 create-tags --resources "$INSTANCE" "$VOLUME" --tags Key=stage,Value=live "Key=with space,Value=a & b ü"
is "the tag" live "$(ec2 describe-tags --filters "Name=resource-id,Values=$INSTANCE" Name=key,Values=stage \
    --query 'Tags[0].Value')"
is "the other tag" "a & b ü" "$(ec2 describe-tags --filters "Name=resource-id,Values=$VOLUME" \
    "Name=key,Values=with space" --query 'Tags[0].Value')"
ec2 delete-tags --resources "$VOLUME" --tags "Key=with space"

refused IncorrectInstanceState modify-instance-attribute --instance-id "$INSTANCE" --instance-type Value=t3.micro
ec2 stop-instances --instance-ids "$INSTANCE" > /dev/null
ec2 wait instance-stopped --instance-ids "$INSTANCE"
ec2 modify-instance-attribute --instance-id "$INSTANCE" --instance-type Value=t3.micro
ec2 start-instances --instance-ids "$INSTANCE" > /dev/null
ec2 wait instance-running --instance-ids "$INSTANCE"
is "the type" t3.micro "$(ec2 describe-instances --instance-ids "$INSTANCE" \
    --query 'Reservations[0].Instances[0].InstanceType')"
ec2 reboot-instances --instance-ids "$INSTANCE"
ec2 modify-instance-metadata-options --instance-id "$INSTANCE" --http-tokens required > /dev/null

ec2 modify-instance-attribute --instance-id "$INSTANCE" --disable-api-termination
refused OperationNotPermitted terminate-instances --instance-ids "$INSTANCE"
ec2 modify-instance-attribute --instance-id "$INSTANCE" --no-disable-api-termination

refused InvalidInstanceID.NotFound describe-instances --instance-ids i-0123456789abcdef0
refused InvalidInstanceID.Malformed describe-instances --instance-ids i-wrong
refused InvalidAMIID.NotFound run-instances --image-id ami-0123456789abcdef0 --instance-type t3.nano
refused DependencyViolation delete-security-group --group-id "$GROUP"

ec2 terminate-instances --instance-ids "$INSTANCE" > /dev/null
ec2 wait instance-terminated --instance-ids "$INSTANCE"
ec2 delete-security-group --group-id "$GROUP" > /dev/null
ec2 delete-key-pair --key-name "$NAME" > /dev/null
refused InvalidGroup.NotFound describe-security-groups --group-ids "$GROUP"
echo "$INSTANCE"
