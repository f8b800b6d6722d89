#!/usr/bin/env bash
# Drives a real server with other people's clients, as they are published: curl, the AWS command line, boto3, the STUPS
# clients berry, tokens and zign, and the OpenID Connect clients openid-client, oauth4webapi and Authlib. Their versions
# are fixed; they live below .cache. Needs Python with venv and Node with npm, which it installs on Debian when it may,
# and the package indexes once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/server.sh
source scripts/postgres.sh # for need_debian

# cannot WHAT: ends with 75, because nothing was tried.
cannot() {
  echo "interop: NOT TRIED: cannot get $1" >&2
  exit 75
}

root=$PWD
venv=$root/.cache/interop/venv
packages=(stups-tokens==1.1.19 stups-zign==1.2.2 stups-berry==1.0.28 'setuptools<81' awscli boto3 authlib==1.9.9 requests)
if [[ $(cat "$venv/.packages" 2>/dev/null) != "${packages[*]}" ]]; then
  rm -rf "$venv"
  {
    { python3 -c 'import venv, ensurepip' 2>/dev/null || need_debian python3 python3-venv; } &&
      python3 -m venv "$venv" &&
      "$venv/bin/pip" install -q --disable-pip-version-check "${packages[@]}"
  } || cannot "the Python packages ${packages[*]}"
  echo "${packages[*]}" >"$venv/.packages"
fi
node=$root/.cache/interop/node
modules=(openid-client@6.8.9 oauth4webapi@3.8.8 jose@6.2.17)
if [[ $(cat "$node/.modules" 2>/dev/null) != "${modules[*]}" ]]; then
  rm -rf "$node"
  mkdir -p "$node"
  {
    { command -v npm >/dev/null || need_debian nodejs npm; } &&
      (cd "$node" && echo '{"private": true}' >package.json && npm install --silent --no-fund --no-audit --no-package-lock "${modules[@]}")
  } || cannot "the npm packages ${modules[*]}"
  echo "${modules[*]}" >"$node/.modules"
fi
cp interop/*.mjs "$node"
go build -o .cache/interop/bin/person ./interop/person

start_server interop
export PATH="$root/.cache/interop/bin:$venv/bin:$PATH"

failed=0
passed=0
# note NAME: tells how the check of this name ended, from the exit code of the command before it.
note() {
  if [[ $? -eq 0 ]]; then
    echo "ok    $1"
    passed=$((passed + 1))
  else
    echo "FAIL  $1"
    sed 's/^/      /' out
    failed=$((failed + 1))
  fi
}
# try NAME COMMAND…: the command must succeed.
try() {
  "${@:2}" >out 2>&1 && true
  note "$1"
}
# refused NAME COMMAND…: the command must fail, and its output must say TEXT (the environment variable).
refused() {
  ! "${@:2}" >out 2>&1 && grep -q "$TEXT" out && true
  note "$1"
}

{
  mintmark team create shop
  mintmark scope type create sales_order --team shop --owner-realm customers
  mintmark scope create sales_order.read_all
  mintmark app create sales-orders --team shop
  mintmark app create other-app --team shop
  mintmark app grant sales-orders sales_order.read_all
  mintmark bucket create shop-mint --team shop
  mintmark app bucket add sales-orders shop-mint
  mintmark app bucket add other-app shop-mint
  mintmark app storage-key create sales-orders shop-mint --file key
  mintmark rotate sales-orders --wait
} >setup.log 2>&1 || { cat setup.log server.log; exit 1; }

unset AWS_PROFILE AWS_SESSION_TOKEN
AWS_ACCESS_KEY_ID=$(sed -n 's/^aws_access_key_id = //p' key)
AWS_SECRET_ACCESS_KEY=$(sed -n 's/^aws_secret_access_key = //p' key)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$s3

# The AWS command line and boto3 against the embedded endpoint.
try "aws s3 cp" aws s3 cp s3://shop-mint/sales-orders/user.json .
try "aws s3 cp wrote the document" grep -q application_password user.json
TEXT=AccessDenied refused "aws s3 ls: the key may get, not list" aws s3 ls s3://shop-mint/sales-orders/
try "aws s3api head-object" aws s3api head-object --bucket shop-mint --key sales-orders/client.json
TEXT=403 refused "aws s3 cp of another application's file" aws s3 cp s3://shop-mint/other-app/user.json other.json
TEXT=AccessDenied refused "aws s3 cp into the bucket" aws s3 cp user.json s3://shop-mint/sales-orders/user.json
cat >boto.py <<'PY'
import boto3, botocore, botocore.config, json, urllib.request
s3 = boto3.client("s3")
got = s3.get_object(Bucket="shop-mint", Key="sales-orders/client.json")
assert sorted(json.load(got["Body"])) == ["client_id", "client_secret"]
try:
    s3.get_object(Bucket="shop-mint", Key="sales-orders/client.json", IfNoneMatch=got["ETag"])
    raise SystemExit("no 304")
except botocore.exceptions.ClientError as e:
    assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 304, e
head = s3.head_object(Bucket="shop-mint", Key="sales-orders/client.json")
assert head["ETag"] == got["ETag"] and head["ContentType"] == "application/json", head
v4 = boto3.client("s3", config=botocore.config.Config(signature_version="s3v4")) # else boto3 presigns by the retired version 2
url = v4.generate_presigned_url("get_object", {"Bucket": "shop-mint", "Key": "sales-orders/user.json"})
assert b"application_username" in urllib.request.urlopen(url).read()
part = s3.get_object(Bucket="shop-mint", Key="sales-orders/user.json", Range="bytes=0-0")
assert part["Body"].read() == b"{" and part["ResponseMetadata"]["HTTPStatusCode"] == 206
PY
try "boto3: get, conditional get, head, presigned, range" python boto.py
TEXT=SignatureDoesNotMatch refused "boto3 with a wrong secret" env AWS_SECRET_ACCESS_KEY=wrong python boto.py

# berry, the agent of before.
mkdir creds
try "berry --once" berry -a sales-orders -m shop-mint --once creds
try "berry wrote both files" grep -q client_secret creds/client.json

# Tokens: the curl of the STUPS documentation, as it stands there.
member() { python -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
cat >request.json <<JSON
{
    "grant_type": "password",
    "username": "$(member creds/user.json application_username)",
    "password": "$(member creds/user.json application_password)",
    "scope": "uid sales_order.read_all"
}
JSON
try "curl -d @request.json" curl -fsS -X POST -u "$(member creds/client.json client_id):$(member creds/client.json client_secret)" -d @request.json \
  "$MINTMARK_URL/oauth2/access_token?realm=services" -o token.json
try "tokeninfo" curl -fsS "$MINTMARK_URL/oauth2/tokeninfo?access_token=$(member token.json access_token)" -o info.json
try "tokeninfo says who and what" python -c '
import json
i = json.load(open("info.json"))
assert i["uid"] == "sales-orders" and i["realm"] == "services" and i["scope"] == ["uid", "sales_order.read_all"], i
assert i["token_type"] == "Bearer" and i["grant_type"] == "password" and 28000 < i["expires_in"] <= 28800, i'

# The STUPS libraries.
export OAUTH2_ACCESS_TOKEN_URL="$MINTMARK_URL/oauth2/access_token?realm=/services" CREDENTIALS_DIR=$PWD/creds
try "python tokens" python -c '
import tokens
tokens.configure()
tokens.manage("sales-orders", ["uid", "sales_order.read_all"])
open("tokens.txt", "w").write(tokens.get("sales-orders"))'
try "its token is valid" sh -c 'mintmark token check - <tokens.txt'
try "zign token" sh -c 'zign token -n sales-orders uid sales_order.read_all >zign.txt'
try "its token is valid" sh -c 'mintmark token check - <zign.txt'
try "python tokens on the agent's directory" sh -c '
mintmark agent -a sales-orders -m shop-mint --endpoint "$AWS_ENDPOINT_URL_S3" --once agent &&
CREDENTIALS_DIR=$PWD/agent python -c "import tokens; tokens.configure(); tokens.manage(\"a\", [\"uid\"]); assert tokens.get(\"a\")"'

# Libraries for OpenID Connect, each with a client of its own that alice signs in to. They print a line for each trial.
trials() {
  "${@:2}" >trials.txt 2>trials.err || true
  passed=$((passed + $(grep -c '^ok ' trials.txt || true)))
  local lost
  lost=$(grep -c '^FAIL' trials.txt || true)
  cat trials.txt
  if [[ $(grep -c . trials.txt) -lt $1 || $lost -gt 0 ]]; then
    failed=$((failed + (lost > 0 ? lost : 1)))
    sed 's/^/      /' trials.err
  fi
}
export ISSUER=$MINTMARK_URL
echo "correct horse battery staple" >alice.password
mintmark user create customers/alice --display-name Alice --email alice@example.org --password-file alice.password >/dev/null
for name in openid-client oauth4webapi authlib; do
  {
    mintmark app create "$name" --team shop
    mintmark client set "$name" --redirect-uri http://127.0.0.1/cb --refresh-tokens offline_access
    mintmark app bucket add "$name" shop-mint
    mintmark rotate "$name" --wait
    mintmark app storage-key create "$name" shop-mint --file "$name.key"
    AWS_SHARED_CREDENTIALS_FILE=$name.key AWS_ACCESS_KEY_ID='' AWS_SECRET_ACCESS_KEY='' \
      mintmark agent -a "$name" -m shop-mint --endpoint "$AWS_ENDPOINT_URL_S3" --once "credentials-$name"
  } >setup.log 2>&1 || { cat setup.log server.log; exit 1; }
done
relying() {
  CLIENT_ID=$(member "credentials-$2/client.json" client_id) CLIENT_SECRET=$(member "credentials-$2/client.json" client_secret)
  export CLIENT_ID CLIENT_SECRET
  trials "$1" "${@:3}"
}
relying 6 openid-client node "$node/openid_client.mjs"
relying 15 openid-client node "$node/openid_client_more.mjs"
relying 5 oauth4webapi node "$node/oauth4webapi.mjs"
relying 3 authlib python "$root/interop/authlib_client.py"

# ztoken, for people: the implicit flow to a port of its own, by a browser that comes back with the fragment.
mintmark app create ztoken --team shop --public-client >/dev/null 2>&1
curl -fsS -X PUT -H "Authorization: Bearer $(cat "$MINTMARK_TOKEN_FILE")" -H "Content-Type: application/json" "$MINTMARK_URL/api/applications/ztoken/client" \
  -d '{"redirect_uris": ["http://localhost"], "grant_types": ["authorization_code", "implicit"], "response_types": ["token"], "refresh_tokens": "always"}' >ztoken.json
cat >browser.sh <<'SH'
#!/bin/sh
{
  to=$(person -password-file "$ALICE" -stop-at http://localhost: "$1") &&
    curl -fsS --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null "$(echo "$to" | tr '#' '?')"
} >browser.log 2>&1 &
SH
chmod +x browser.sh
export BROWSER=$PWD/browser.sh ALICE=$PWD/alice.password
ZALANDO_TOKEN_CLI_CLIENT_ID=$(member ztoken.json client_id)
export ZALANDO_TOKEN_CLI_AUTHORIZE_URL=$MINTMARK_URL/oauth2/authorize ZALANDO_TOKEN_CLI_TOKEN_URL=$MINTMARK_URL/oauth2/access_token
export ZALANDO_TOKEN_CLI_CLIENT_ID ZALANDO_TOKEN_CLI_BUSINESS_PARTNER_ID=810d1d00-4312-43e5-bd31-d8373fdd24c7
unset OAUTH2_ACCESS_TOKEN_URL CREDENTIALS_DIR
try "ztoken token" sh -c 'timeout 60 ztoken token -n me >ztoken.txt'
try "its token is valid" sh -c 'tail -n 1 ztoken.txt | mintmark token check -'
try "ztoken token, from its file" sh -c 'BROWSER=false ztoken token -n me | tail -n 1 >again.txt && tail -n 1 ztoken.txt | cmp - again.txt'
try "ztoken list" sh -c 'ztoken list -o json | grep -q me'

echo "interop: $passed passed, $failed failed"
[[ $failed -eq 0 ]]
