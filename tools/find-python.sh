#!/bin/sh
# Prints the path of a Python that can make the virtual environment: $PYTHON, or the first found.
fits='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    if "$candidate" -c "$fits" >/dev/null 2>&1; then
        command -v "$candidate"
        exit 0
    fi
done
if [ -n "$PYTHON" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer with the venv module." >&2
else
    echo "Python 3.11 or newer with the venv module is needed; install it" \
        "(Debian: apt install python3 python3-venv) or name it with PYTHON=/path/to/python3.11." >&2
fi
exit 1
