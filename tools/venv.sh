#!/bin/sh
# Makes a virtual environment with Python 3.11 or newer: venv.sh FOLDER [PYTHON]
# Says what to install where the system has not all that it takes.
set -eu
folder=$1
wanted=${2:-}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

python=
for candidate in ${wanted:-python3.11 python3.12 python3.13 python3 python}; do
    if new_enough "$candidate"; then
        python=$candidate
        break
    fi
done

if [ -z "$python" ]; then
    cat >&2 <<TEXT
Grayscale needs Python 3.11 or newer, and ${wanted:-none of python3.11 python3.12 python3.13 python3 python} is that. Install it, for example:
  Debian, Ubuntu   apt install python3.11 python3.11-venv
  Fedora           dnf install python3.11
  macOS            brew install python@3.11
or name one that is not on the PATH: make PYTHON=/path/to/python3.11 ...
TEXT
    exit 1
fi

if ! missing=$("$python" -c 'import ensurepip, venv' 2>&1); then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    cat >&2 <<TEXT
$python cannot make virtual environments ($(printf '%s' "$missing" | tail -n 1)). Install what is missing:
  Debian, Ubuntu   apt install python$version-venv
  Fedora           dnf install python$version python3-pip
  macOS            brew install python@$version
TEXT
    exit 1
fi

rm -rf "$folder"  # what an interrupted attempt left
"$python" -m venv "$folder"
