#!/usr/bin/env bash
# Runs the tour of README.md as it is printed, in an empty directory, on ports that are free here. What it prints goes
# to standard output; any command that fails ends it. Where the tour has a person do something with a browser, a comment
# `<!-- tour: COMMAND -->` stands in for the person.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/port.sh

[[ -x bin/mintmark ]] || make build
bin=$PWD/bin
tour=$(awk '/^<!-- tour: .* -->$/ { sub(/^<!-- tour: /, ""); sub(/ -->$/, ""); print; next } /^<!-- tour -->$/ { block = 1; next } /^```/ { if (inside) { inside = 0 } else if (block) { inside = 1; block = 0 } ; next } inside' README.md)
if [[ $(grep -c mintmark <<<"$tour") -lt 15 ]]; then
  echo "tour: README.md holds no tour" >&2
  exit 1
fi

mkdir -p .cache/interop/bin
go build -o .cache/interop/bin/person ./interop/person
browser=$PWD/.cache/interop/bin

work=$(mktemp -d "${TMPDIR:-/tmp}/mintmark-tour.XXXXXX")
finish() {
  # The tour ends its server itself; if it did not get that far, we do, by its process id.
  if [[ -s $work/server.pid ]]; then kill "$(cat "$work/server.pid")" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

public=$(free_port)
s3=$(free_port)
operations=$(free_port)
relying=$(free_port)
tour=${tour//127.0.0.1:8080/127.0.0.1:$public}
tour=${tour//127.0.0.1:9000/127.0.0.1:$s3}
tour=${tour//127.0.0.1:9090/127.0.0.1:$operations}
tour=${tour//127.0.0.1:4180/127.0.0.1:$relying}
tour=${tour//PORT=4180/PORT=$relying}

cat >"$work/tour.sh" <<TOUR
set -euo pipefail
${tour/2> server.log &/2> server.log & echo \$! > server.pid}
TOUR
if ! (
  cd "$work"
  GOMODCACHE=$(go env GOMODCACHE) GOCACHE=$(go env GOCACHE) # the tour's home is empty, what was downloaded is not
  export GOMODCACHE GOCACHE PATH="$bin:$browser:$PATH" HOME="$work"
  export MINTMARK_LISTEN_PUBLIC="127.0.0.1:$public" MINTMARK_LISTEN_S3="127.0.0.1:$s3" MINTMARK_LISTEN_OPERATIONS="127.0.0.1:$operations"
  timeout 300 bash tour.sh </dev/null
); then
  echo "tour: a command of README.md failed; the end of the server's log:" >&2
  tail -n 5 "$work/server.log" >&2 || true
  exit 1
fi
echo "tour: every command of README.md ran"
