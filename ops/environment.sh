# Sourced by up, test and bench: finds Python, brings .venv to the lock. $lock_part is empty or --test.
# By the real path: links to these scripts work, and CDPATH has no say.
cd "$(dirname "$(readlink -f "$0")")/.."

# Says how many milliseconds a little work takes, or fails where this Python cannot make .venv.
probe='
import importlib.util, sys, time
if sys.version_info < (3, 11) or not importlib.util.find_spec("venv"):
    sys.exit(1)
if not (importlib.util.find_spec("ensurepip") or importlib.util.find_spec("pip")):
    sys.exit(1)
def work():
    began, seen, buffer = time.perf_counter(), {}, bytearray()
    for number in range(100000):
        seen[number % 997] = (seen.get(number % 997, (0,))[0] + 1, b"x")
        buffer += b"abcdef"
        if len(buffer) > 4000:
            del buffer[:]
    return time.perf_counter() - began
print(int(min(work() for _ in range(5)) * 10000))
'

# The first on the path, unless another is faster by a fifth: a plain source build is often slower
# than the distribution's, which is optimised. TRACKARR_PYTHON chooses another.
find_python() {
    if [ -n "${TRACKARR_PYTHON:-}" ]; then
        echo "$TRACKARR_PYTHON"
        return
    fi
    if .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo .venv/bin/python
        return
    fi
    best="" least=0
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python /usr/bin/python3; do
        time=$("$candidate" -c "$probe" 2>/dev/null) || continue
        if [ -z "$best" ] || [ $((time * 6)) -lt $((least * 5)) ]; then
            best=$candidate least=$time
        fi
    done
    if [ -n "$best" ]; then
        echo "$best"
        return
    fi
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
