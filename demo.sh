#!/usr/bin/env bash
# A real language model, from its checkpoint to a low-bit native program that
# writes text, in one command. Options go to the demo: try ./demo.sh --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
tools/setup
exec .venv/bin/python -m glvq.demo "$@"
