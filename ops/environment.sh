# Sourced by up, test and bench: finds Python, brings .venv to the lock. $lock_part is empty or --test.
# By the real path: links to these scripts work, and CDPATH has no say.
cd "$(dirname "$(readlink -f "$0")")/.."

find_python() {
    for candidate in .venv/bin/python python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    if command -v python3 >/dev/null 2>&1; then
        echo "trackarr: Python 3.11 or newer is needed, this is $(python3 --version 2>&1)." >&2
    else
        echo "trackarr: Python 3.11 or newer is needed, and no python3 was found." >&2
    fi
    return 1
}

python=$(find_python) || exit 1
"$python" ops/bootstrap.py $lock_part || exit 1
python=.venv/bin/python
