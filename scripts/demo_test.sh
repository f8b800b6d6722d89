#!/usr/bin/env bash
# Lets bin/mintmark tell its story, signs alice in to the web shop that it leaves open, and ends it as a person would.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -x bin/mintmark ]] || make build
mkdir -p .cache/interop/bin
go build -o .cache/interop/bin/person ./interop/person
work=$(mktemp -d "${TMPDIR:-/tmp}/mintmark-demo-test.XXXXXX")
demo=
finish() {
  if [[ -n $demo ]]; then kill -INT "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

bin/mintmark demo --watch 8s >"$work/story" 2>&1 </dev/null &
demo=$!
for _ in {1..600}; do
  grep -q 'until you press Ctrl-C' "$work/story" && break
  kill -0 "$demo" 2>/dev/null || { cat "$work/story"; echo "demo: it ended by itself" >&2; exit 1; }
  sleep 0.1
done
shop=$(sed -n 's/.*The shop is open at \(http[^ ]*\).*/\1/p' "$work/story")
sed -n 's/.*her password is: //p' "$work/story" >"$work/password"
.cache/interop/bin/person -password-file "$work/password" "${shop}login" >"$work/page" || { cat "$work/story"; exit 1; }
grep -q 'Welcome, <strong>Alice</strong>' "$work/page" || { cat "$work/page"; echo "demo: alice is not welcome" >&2; exit 1; }
kill -INT "$demo"
wait "$demo" || { tail "$work/story"; echo "demo: it did not end well" >&2; exit 1; }
demo=
echo "demo: alice signed in to the web shop"
