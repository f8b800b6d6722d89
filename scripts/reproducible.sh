#!/usr/bin/env bash
# The same source must give the same bytes, wherever it lies: builds it at two paths, the second time with an empty
# build cache, and compares. Also looks that a release holds no failpoints.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/mintmark-reproducible.XXXXXX")
trap 'rm -rf "$work"' EXIT
version=$(git describe --tags --always --dirty 2>/dev/null || echo dev)

echo "== reproducible build"
for copy in one a/longer/path/two; do
  mkdir -p "$work/$copy"
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
    if [[ -e $f ]]; then printf '%s\0' "$f"; fi
  done | tar --null -T - -cf - | tar -xf - -C "$work/$copy"
done
make -s -C "$work/one" build VERSION="$version"
GOCACHE="$work/cache" make -s -C "$work/a/longer/path/two" build VERSION="$version"

first=$(sha256sum <"$work/one/bin/mintmark")
second=$(sha256sum <"$work/a/longer/path/two/bin/mintmark")
if [[ $first != "$second" ]]; then
  echo "reproducible: two builds of the same source differ: ${first%% *} and ${second%% *}" >&2
  exit 1
fi
if grep -q "failpoint: injected fault" "$work/one/bin/mintmark"; then
  echo "reproducible: the release build holds failpoints" >&2
  exit 1
fi
echo "${first%% *}  mintmark $version"
