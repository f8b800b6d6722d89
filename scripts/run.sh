#!/usr/bin/env bash
# Tells the story of bin/mintmark and leaves it running. Its commands are run by the shell and curl, which a small machine
# may lack.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/postgres.sh # for need_debian

command -v curl >/dev/null || need_debian curl
exec ./bin/mintmark demo "$@"
