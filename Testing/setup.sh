#!/usr/bin/env bash
# Makes the virtual environment that the Makefile works with. Usage: setup.sh VENV [PYTHON]
set -euo pipefail
venv=${1:?usage: setup.sh VENV [PYTHON]}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${1:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if new_enough "$candidate"; then command -v "$candidate"; return; fi
  done
  echo "No Python 3.10 or later found (looked for: ${1:-python3, python3.13 to python3.10})." \
       "Install one, or name it: make PYTHON=/path/to/python3" >&2
  return 1
}

if ! new_enough "$venv/bin/python"; then
  python=$(find_python "${2:-}")
  # Debian and Ubuntu keep ensurepip in a package of its own.
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
      apt-get update --quiet >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install --yes "$package" >/dev/null
    else
      echo "$python cannot make virtual environments. As root: apt-get install $package" >&2
      exit 1
    fi
  fi
  echo "Making $venv with $("$python" --version) ..."
  "$python" -m venv --clear "$venv"
fi

bash "$(dirname "$0")/system-packages.sh" "$venv/bin/python"

echo "Installing into $venv; the first time takes a few minutes ..."
"$venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
