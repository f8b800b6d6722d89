#!/usr/bin/env bash
# The checks that need no running code: formatting, vet, a tidy go.mod, staticcheck. Says all that is wrong, not only
# the first thing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/tools.sh

failed=0
complain() {
  echo "lint: $*" >&2
  failed=1
}

echo "== gofmt"
mapfile -d '' -t files < <(git ls-files -z --cached --others --exclude-standard -- '*.go')
present=()
for f in "${files[@]}"; do [[ -f $f ]] && present+=("$f"); done
unformatted=$(gofmt -l "${present[@]}")
[[ -z $unformatted ]] || complain "not gofmt-ed (run gofmt -w):"$'\n'"$unformatted"

echo "== go mod tidy"
go mod tidy -diff || complain "go.mod or go.sum is not tidy (run go mod tidy)"

echo "== go vet"
go vet ./... || complain "go vet found something"
go vet -tags faultinject ./... || complain "go vet -tags faultinject found something"

echo "== staticcheck"
if staticcheck=$(tool honnef.co/go/tools/cmd/staticcheck@v0.8.2); then
  "$staticcheck" ./... || complain "staticcheck found something"
else
  complain "staticcheck could not run"
fi

exit "$failed"
