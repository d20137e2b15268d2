#!/usr/bin/env bash
# The whole test suite: sets everything up, then runs lit over IR tests, unit
# tests and Python tests.
#   ./test.sh             everything
#   ./test.sh Dialect     only tests whose path matches
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
tools/setup
filter=()
[ $# -eq 0 ] || filter=(--filter "$1")
exec .venv/bin/python tools/run-tests build/test "${filter[@]}"
