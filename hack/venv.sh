#!/bin/bash
# Makes .venv with everything the project's commands need. Quick when it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
  for python in python3 python3.13 python3.12 python3.11; do
    if command -v "$python" >/dev/null &&
      "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      found=$python
      return
    fi
  done
  return 1
}

if ! find_python && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo 'ccl: installing python3-venv'
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv; } >/dev/null || true
fi
if ! find_python; then
  echo 'ccl: Python >= 3.11 with venv is missing; fix: on Debian: apt-get install python3 python3-venv' >&2
  exit 1
fi
echo 'ccl: installing Python packages into .venv (about a minute the first time)'
"$found" -m venv .venv
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; then
  echo 'ccl: pip could not install the packages; fix: see its words above, then run the command again' >&2
  exit 1
fi
touch .venv/.installed
