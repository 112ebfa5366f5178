#!/bin/sh
# Installs the servers that benches hold thaw against, into bench/peers/ (not under version control). None of them is a
# dependency: a bench says that a peer is missing, and goes on without it.
set -eu
cd "$(dirname "$0")/.."
mkdir -p bench/peers
cd bench/peers
[ -f package.json ] || printf '{ "private": true }\n' > package.json
npm install --no-audit --no-fund --save-exact workerd@1.20261117.1
