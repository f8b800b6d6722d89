#!/usr/bin/env bash
# Measures mintmark on SQLite and PostgreSQL beside the floor: go run ./bench, with a PostgreSQL that is started for it
# unless MINTMARK_TEST_POSTGRES names one. Arguments go to the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/postgres.sh
. scripts/postgres.sh
trap stop_postgres EXIT
# shellcheck disable=SC2034 # read by start_postgres
postgres_durable=yes # what is measured includes the wait for the disk
start_postgres >&2
go run ./bench "$@"
echo
echo "One full rotation of both credentials, two destinations each (target 1.7 ms of CPU per application):"
go test -run '^$' -bench '^BenchmarkRotation' -benchtime 100x ./internal/rotation
