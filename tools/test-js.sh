#!/bin/sh
# Runs the unit tests of static/js. A machine without Node skips them, except on CI.
set -e
cd "$(dirname "$0")/.."
if ! command -v node >/dev/null 2>&1; then
    echo "Skipped the tests of static/js: no node on PATH (Debian: apt install nodejs)." >&2
    [ "$CI" != true ] && [ "$CI" != 1 ]
    exit
fi
# Only Node up to 20 takes a folder here; every version takes files.
exec node --import ./tests/js/setup.mjs --test --test-reporter=spec tests/js/*.test.mjs
