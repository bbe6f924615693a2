#!/bin/sh
# Presets endpoint, region and certificate authority of the cloud that this instance runs in, so that AWS clients need
# credentials alone. Asked of the metadata service at each boot; a disk that wakes up elsewhere forgets what was.
set -eu
root=${NUBE_ROOT-}
imds=http://169.254.169.254/latest
ask() { curl --silent --fail --noproxy '*' --max-time 10 "$@"; }

token=
for _ in 1 2 3 4 5 6 7 8 9 10; do
    token=$(ask -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$imds/api/token") && break
    sleep 1
done
get() { ask -H "X-aws-ec2-metadata-token: $token" "$imds/$1"; }

mkdir -p "$root/run/nube"
begin='# Written by nube-endpoint at each boot; lines below the block win.'
end='# End of nube-endpoint.'
settings=$root/run/nube/endpoint.env
: > "$settings.new"
if endpoint=$(get dynamic/nube/endpoint) && region=$(get meta-data/placement/region); then
    printf 'AWS_ENDPOINT_URL=%s\nAWS_REGION=%s\nAWS_DEFAULT_REGION=%s\n' "$endpoint" "$region" "$region" \
        > "$settings.new"
    if authority=$(get dynamic/nube/ca.pem); then
        # Clients take this file in place of their own list, so it holds both.
        { cat "$root/etc/ssl/certs/ca-certificates.crt" 2> /dev/null || true; printf '%s\n' "$authority"; } \
            > "$root/run/nube/ca-bundle.pem"
        echo AWS_CA_BUNDLE=/run/nube/ca-bundle.pem >> "$settings.new"
    fi
fi
mv "$settings.new" "$settings"

# PAM reads this file for every login, by ssh, on the console and through sudo.
{
    if [ -s "$settings" ]; then
        echo "$begin"
        cat "$settings"
        echo "$end"
    fi
    sed "/^$begin\$/,/^$end\$/d" "$root/etc/environment" 2> /dev/null || true
} > "$root/etc/environment.new"
chmod 644 "$root/etc/environment.new"
mv "$root/etc/environment.new" "$root/etc/environment"
