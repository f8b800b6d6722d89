#!/usr/bin/env bash
# Ten minutes (FOR) of 5-second rotations with a kill -9 of the server every 20 seconds, on both engines at the same
# time, and two witnesses each that log in every 50 ms. Prints a Markdown table; fails if one login was refused.
# The PostgreSQL of this run keeps its fsync, since what is tested is what survives.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/postgres.sh
trap stop_postgres EXIT

start_postgres
admin=$MINTMARK_TEST_POSTGRES
name="soak_$$"
"$(command -v psql || echo "$postgres_bin/psql")" -q "$admin" -c "CREATE DATABASE $name"

work=$(mktemp -d "${TMPDIR:-/tmp}/mintmark-soak-build.XXXXXX")
trap 'rm -rf "$work"; stop_postgres' EXIT
go build -o "$work/soak" ./soak

flags=(-binary "${BINARY:-bin/mintmark}" -for "${FOR:-10m}" -kill-every "${KILL_EVERY:-20s}" -period "${PERIOD:-5s}")
"$work/soak" "${flags[@]}" -engine sqlite >"$work/sqlite" & sqlite=$!
"$work/soak" "${flags[@]}" -engine postgres -postgres "${admin/\/postgres\?//$name?}" >"$work/postgres" & postgres=$!
status=0
wait "$sqlite" || status=$?
wait "$postgres" || status=$?
echo "| engine | witness with the pair of | time | kills | logins | pairs used | refused | unanswered | last refusal |"
echo "|---|---|---|---|---|---|---|---|---|"
cat "$work/sqlite" "$work/postgres"
exit "$status"
