#!/usr/bin/env bash
# Everything that must hold before a change is taken: linters, reproducible build, the tour of README.md, every command
# against a real server, all tests with the race detector on SQLite and on a PostgreSQL of its own, and the packages with
# injected faults. The tests come last, so that the last line is the runner's summary of both runs; the exit code is
# theirs.
#
# Needs Go and, for the race detector, a C compiler; installs PostgreSQL and the compiler on Debian when it may.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/postgres.sh
source scripts/tools.sh

tour_log=$(mktemp "${TMPDIR:-/tmp}/mintmark-tour-log.XXXXXX")
finish() {
  stop_postgres
  rm -f "$tour_log"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

command -v gcc >/dev/null || command -v clang >/dev/null || need_debian gcc libc6-dev

gotestsum=$(tool gotest.tools/gotestsum@v1.13.0) # counts and prints what go test reports
./scripts/lint.sh
./scripts/reproducible.sh
make -s build
echo "== tour of README.md"
./scripts/tour_test.sh >"$tour_log" 2>&1 || { cat "$tour_log"; exit 1; }
echo "== every command against a real server"
./scripts/cli_test.sh
start_postgres

# Two runs behind one summary: the second builds failpoints in, for the packages that test what a crash leaves.
both_runs() {
  local code=0
  go test -json -race -p 2 -timeout 15m ./... || code=$?
  local faulty
  mapfile -t faulty < <(git grep --untracked -lE '^//go:build .*faultinject' -- '*_test.go' | xargs -r -n 1 dirname | sort -u | sed 's|^|./|')
  if [[ ${#faulty[@]} -gt 0 ]]; then
    go test -json -tags faultinject -p 2 -timeout 15m "${faulty[@]}" || code=$?
  fi
  return "$code"
}

echo "== tests"
export -f both_runs
"$gotestsum" --format pkgname-and-test-fails --hide-summary skipped --raw-command -- bash -c both_runs
