#!/usr/bin/env bash
# Runs every command of the command line against a real server and compares what matters, for the tests of package cli
# meet only a server of their own making.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/server.sh
start_server cli signing_keys.lead=2s

n=0
# says CODE TEXT COMMAND…: mintmark COMMAND… must end with CODE and say TEXT (an extended regular expression).
says() {
  local want=$1 text=$2 code=0
  shift 2
  n=$((n + 1))
  mintmark "$@" >out 2>&1 </dev/null || code=$?
  if [[ $code != "$want" ]] || ! grep -qE -- "$text" out; then
    echo "cli: mintmark $*" >&2
    echo "ended with $code, want $want and /$text/:" >&2
    cat out >&2
    exit 1
  fi
}

says 0 'no teams yet' team list
says 1 'member_not_found' team create shop --name Shop --member employees/jane
says 0 'jane' user create employees/jane --without-password
says 0 'team shop with 1 members' team create shop --name Shop --member employees/jane
says 0 '^shop +Shop +1$' team list
says 0 'employees/jane' team show shop
says 1 'not_found' team show nobody
says 0 'resource type sales_order of team shop' scope type create sales_order --team shop --owner-realm customers
says 0 '^sales_order .*customers$' scope type list
says 0 'owner realms: customers' scope type show sales_order
says 0 'application scope sales_order.read_all' scope create sales_order.read_all
says 0 'resource owner scope sales_order.read' scope create sales_order.read --by-owner --consent "read your orders" --criticality 1
says 0 '"is_resource_owner_scope": true' scope show sales_order.read -o json
says 0 'sales_order.read_all .*application scope' scope list sales_order
says 0 'application sales-orders of team shop' app create sales-orders --team shop --name "Sales orders" --criticality 1
says 1 'exists' app create sales-orders --team shop
says 1 'error' app create Bad_Id --team shop
says 0 'application browser' app register browser --team shop --public-client
says 0 '^sales-orders +shop +yes' app list --team shop --search "sales orders" --active
says 0 'no such applications' app list --search nothing
says 0 'criticality: +1' app show sales-orders
says 0 'changed' app update sales-orders --subtitle "takes orders" --support-url https://example.com/help
says 0 '"subtitle": "takes orders"' app show sales-orders -o json
says 0 'may do sales_order.read_all' app grant sales-orders sales_order.read_all
says 0 'may ask resource owners for sales_order.read' app grant sales-orders sales_order.read
says 1 'error' app grant sales-orders sales_order.unknown
says 0 'sales_order.read_all +application' app scopes sales-orders
says 1 'error' scope delete sales_order.read_all
says 0 'took sales_order.read from' app revoke sales-orders sales_order.read
says 0 'deleted scope' scope delete sales_order.read
says 0 'bucket shop-mint of team shop' bucket create shop-mint --team shop
says 0 '^shop-mint +shop' bucket list
says 0 'team: +shop' bucket show shop-mint
says 1 'error' app bucket add sales-orders nowhere/shop-mint
says 0 'go to local/shop-mint' app bucket add sales-orders shop-mint
says 0 '^local/shop-mint' app bucket list sales-orders
says 0 'is in .*/key$' app storage-key create sales-orders shop-mint --file key
says 0 'AWS_SECRET_ACCESS_KEY=' app storage-key create sales-orders shop-mint
says 0 'shop-mint/sales-orders/' app storage-key list sales-orders
says 0 'everywhere|has the new credentials' rotate sales-orders --wait --kind password
export AWS_SHARED_CREDENTIALS_FILE=$PWD/key
says 0 'credentials changed' agent -a sales-orders -m shop-mint --endpoint "http://127.0.0.1:$s3" --once --wait 20s credentials
says 75 'hint' agent -a browser -m shop-mint --endpoint "http://127.0.0.1:$s3" --once --wait 1s other
says 0 '^eyJ' token get --credentials credentials uid sales_order.read_all
token=$(cat out)
says 0 'scope: +uid sales_order.read_all' token check "$token"
says 0 'active: +true' token introspect --credentials credentials "$token"
says 1 'mintmark app grant' token get --credentials credentials unknown.scope
says 0 'revoked' token revoke --credentials credentials "$token"
says 77 'not valid' token check "$token"
says 77 'active: +false' token introspect --credentials credentials "$token"
says 0 'service-password' app status sales-orders
says 0 '"has_problems": false' app status sales-orders -o json
says 0 'was asked for' rotate sales-orders
says 0 'everywhere|has the new' rotate sales-orders --wait
says 0 'active' key list
says 0 'signs from' key rotate
says 2 'say --yes' key revoke whatever
says 1 'error' key revoke whatever --yes
kid=$(mintmark key list | awk 'NR == 2 { print $1 }')
says 0 'revoked key' key revoke "$kid" --yes
says 0 'application.write|application' audit list --target application/sales-orders -n 5
says 0 'no such events|denied' audit list --outcome denied
says 0 '"seq"' audit list -o json -n 2 --action credential.rotate
says 0 'employees/admin' audit list --actor "$(mintmark audit list -o json -n 1 --action credential.rotate | sed -n 's/.*"id": "\(usr_[^"]*\)".*/\1/p')"
says 0 'mintmark/rk_' audit checkpoint
says 0 'the log is whole' audit verify --data-dir data
says 0 'deactivated' app deactivate sales-orders
says 77 'invalid_client|invalid_grant' token get --credentials credentials
says 0 'is not active' app status sales-orders
says 0 'activated' app activate sales-orders
says 0 'go to local/shop-mint no more' app bucket remove sales-orders shop-mint
says 0 'ended storage key' app storage-key delete "$(sed -n 's/^aws_access_key_id = //p' key)"
says 0 'ENDED' app storage-key list sales-orders
says 77 'not valid|unauthenticated|token' team list --token-file /dev/null
says 69 'reached' team list --server http://127.0.0.1:1
says 0 'complete -o' completion bash
says 0 'compdef' completion zsh
echo "cli: $n commands did what they say"
