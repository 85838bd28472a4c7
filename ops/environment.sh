# Sourced by up, test and bench: finds Python, brings .venv to the lock. $lock_part is empty or --test.
# By the real path: links to these scripts work, and CDPATH has no say.
cd "$(dirname "$(readlink -f "$0")")/.."

# TRACKARR_PYTHON, else the one .venv has, else what ops/fastest_python.py chooses.
find_python() {
    if [ -n "${TRACKARR_PYTHON:-}" ]; then
        echo "$TRACKARR_PYTHON"
        return
    fi
    if .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo .venv/bin/python
        return
    fi
    set -- python3 python3.14 python3.13 python3.12 python3.11 python /usr/bin/python3
    for any in "$@"; do
        "$any" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        "$any" ops/fastest_python.py "$@"
        return
    done
    if command -v python3 >/dev/null 2>&1; then
        echo "trackarr: Python 3.11 or newer is needed, this is $(python3 --version 2>&1)." >&2
    else
        echo "trackarr: Python 3.11 or newer is needed, and no python3 was found." >&2
    fi
    return 1
}

python=$(find_python) || exit 1
# A choice for these scripts, no setting of the program.
unset TRACKARR_PYTHON
"$python" ops/bootstrap.py $lock_part || exit 1
python=.venv/bin/python
