#!/bin/bash
# Makes .venv with everything the project's commands need. Quick when it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
for python in python3 python3.13 python3.12 python3.11; do
  if command -v "$python" >/dev/null && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$python; break; fi
done
if [ -z "${found:-}" ]; then
  echo 'ccl: Python >= 3.11 with venv is missing; on Debian: apt-get install python3 python3-venv' >&2; exit 1
fi
echo "ccl: installing Python packages into .venv (about a minute the first time)"
"$found" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
touch .venv/.installed
