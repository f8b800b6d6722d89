#!/usr/bin/env bash
# Fuzzes every target of the module for a short time (FUZZTIME, 10s each). `go test` alone runs their seeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets=$(git grep --untracked -noE '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed -E 's|^(.*)/[^/]+:[0-9]+:func (Fuzz.*)$|\1 \2|')
if [[ -z $targets ]]; then
  echo "fuzz: no targets found" >&2
  exit 1
fi
while read -r dir target; do
  echo "== $dir $target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "./$dir"
done <<<"$targets"
