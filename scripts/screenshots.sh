#!/usr/bin/env bash
# Pictures of every page as people see it, into .screenshots/: light and dark, 1280 and 390 pixels wide, in each language.
# The tests of browser/ take them on their way through the pages. Look at them after a change of the pages or the style.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/postgres.sh # need_debian

if [[ -z ${MINTMARK_TEST_CHROMIUM:-} ]] && ! command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null; then
  need_debian chromium
fi
rm -rf .screenshots
mkdir .screenshots
MINTMARK_SCREENSHOTS=$PWD/.screenshots go test -count=1 -run 'TestEveryPage|TestAccountPages|TestUpstreamProvider|TestDirectoryPages' ./browser
echo "$(find .screenshots -name '*.png' | wc -l) pictures in .screenshots/"
