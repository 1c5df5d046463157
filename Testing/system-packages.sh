#!/usr/bin/env bash
# The libraries that VTK and Qt (offscreen) ask of the system. Installs those that are missing on a Debian or Ubuntu
# where this runs as root; elsewhere says which are missing. Usage: system-packages.sh PYTHON
set -euo pipefail
python=${1:?usage: system-packages.sh PYTHON}
[ "$(uname -s)" = Linux ] || exit 0

missing() {
  "$python" - <<'PY'
import ctypes

PACKAGE_OF = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
for library, package in PACKAGE_OF.items():
    try:
        ctypes.CDLL(library)
    except OSError:
        print(package)
PY
}

packages=$(missing)
[ -n "$packages" ] || exit 0
install="apt-get install --yes --no-install-recommends $(echo $packages)"
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "Installing system libraries: $(echo $packages)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet >/dev/null
  $install >/dev/null
else
  echo "These system libraries are missing: $(echo $packages). As root: $install" >&2
  exit 1
fi
