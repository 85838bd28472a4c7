"""The house rules a parser can check: each takes a root folder and gives one line a fault."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.source import PACKAGES, imported_names, modules, strings

LONGEST_MODULE = 400
FORBIDDEN_WORDS = frozenset({"utils", "helpers", "manager", "common", "misc", "data"})
FORBIDDEN_NAMES = frozenset({"process_data"})
DOMAIN_LIBRARIES = frozenset({"domain", "msgspec"})
# The benchmarks measure raw inserts beside ours, so they may write them.
SQL_HOMES = ("projections/", "application/store/", "ops/migrations/", "ops/benchmarks/")
SQL = re.compile(
    r"""^\s*(--[^\n]*\n\s*)*(
        SELECT\s+(?!.*\bto\b)[\w*('"%\s.,:()>=-]+ | INSERT\s+INTO\s | UPDATE\s+[\w."{}]+\s+(AS\s+\w+\s+)?SET\s |
        DELETE\s+FROM\s | TRUNCATE\s+[\w."]+ | COPY\s+[\w."{}]+\s*(\(|FROM|TO) | LOCK\s+TABLE\s |
        WITH\s+(RECURSIVE\s+)?\w+\s+(\([^)]*\)\s+)?AS\s*(MATERIALIZED\s*)?\( |
        (CREATE|ALTER|DROP)\s+(OR\s+REPLACE\s+)?(UNIQUE\s+)?
            (TABLE|SCHEMA|INDEX|VIEW|FUNCTION|ROLE|DATABASE|SEQUENCE|EXTENSION|TRIGGER|TYPE)\s |
        GRANT\s+\w+.*\sTO\s | REVOKE\s+\w+.*\sFROM\s | (NOTIFY|LISTEN)\s+[\w"{}]+\s*$
    )""",
    re.VERBOSE | re.DOTALL,
)
PROGRAMS = "tests/kit/programs.py"
HTTP_ERRORS = "interfaces/http/errors.py"


def module_sizes(root: Path) -> Iterator[str]:
    """No module is longer than 400 lines, tests included."""
    for module in modules(root, *PACKAGES, "tests"):
        lines = module.text.count("\n")
        if lines > LONGEST_MODULE:
            yield f"{module.path} has {lines} lines, at most {LONGEST_MODULE}; split it by noun"


def module_names(root: Path) -> Iterator[str]:
    """No module, and no function `process_data`, is named for having no subject."""
    for module in modules(root, *PACKAGES, "tests"):
        name = Path(module.path).stem
        words = set(module.path.removesuffix(".py").split("/")) | set(name.split("_")[-1:])
        if words & FORBIDDEN_WORDS:
            yield f"{module.path} says nothing by its name; name what it holds"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef) and node.name in FORBIDDEN_NAMES:
                yield f"{module.path}:{node.lineno} {node.name} says nothing by its name"


def module_docstrings(root: Path) -> Iterator[str]:
    """Every module begins with one line saying what lives there."""
    for module in modules(root):
        if module.text.strip() and not ast.get_docstring(module.tree):
            yield f"{module.path} does not say what lives in it"


def domain_imports(root: Path) -> Iterator[str]:
    """The domain knows the standard library and msgspec only."""
    allowed = DOMAIN_LIBRARIES | sys.stdlib_module_names
    for module in modules(root, "domain"):
        for line, name in imported_names(module.tree):
            if name.split(".")[0] not in allowed:
                yield f"{module.path}:{line} imports {name}; the domain knows only msgspec"


def sql_homes(root: Path) -> Iterator[str]:
    """SQL stands in projections, the store and the migrations, nowhere else."""
    for module in modules(root):
        if not module.path.startswith(SQL_HOMES):
            for line, text in strings(module.tree):
                if SQL.match(text):
                    yield f"{module.path}:{line} holds SQL; its homes are {', '.join(SQL_HOMES)}"
    for package in PACKAGES:
        for path in (root / package).rglob("*.sql"):
            if not path.relative_to(root).as_posix().startswith("ops/migrations/"):
                yield f"{path.relative_to(root)} is SQL outside ops/migrations"


def http_exceptions(root: Path) -> Iterator[str]:
    """Errors have a kind; only one module knows their HTTP status."""
    for module in modules(root):
        if module.path == HTTP_ERRORS:
            continue
        for node in ast.walk(module.tree):
            name = (
                node.id
                if isinstance(node, ast.Name)
                else node.attr
                if isinstance(node, ast.Attribute)
                else node.name
                if isinstance(node, ast.alias)
                else ""
            )
            if name == "HTTPException":
                yield f"{module.path} uses HTTPException; raise a domain error of the right kind"
                break


def unfinished_work(root: Path) -> Iterator[str]:
    """Nothing is left for later, skipped, or patched by a dotted string."""
    mark = re.compile(
        r"#\s*(TODO|FIXME|XXX)\b|raise NotImplementedError\s*$"
        r"|pytest\.(skip|importorskip|xfail)\(|pytest\.mark\.(skip|skipif|xfail)\b"
        r"|mock\.patch\(\s*[\"']|monkeypatch\.setattr\(\s*[\"']"
    )
    for module in modules(root, *PACKAGES, "tests"):
        if module.path.startswith("tests/architecture/"):
            continue  # the rules and their planted faults name what they look for
        if module.path == PROGRAMS:
            continue  # the one place that may skip: a program of the machine is not installed
        for number, line in enumerate(module.text.splitlines(), 1):
            if found := mark.search(line):
                yield f"{module.path}:{number} {found[0]}"


def layers(root: Path) -> Iterator[str]:
    """The import contracts of `pyproject.toml`, by import-linter."""
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-logo",
            "--no-cache",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        broken = [line for line in run.stdout.splitlines() if line.endswith(" BROKEN")]
        yield from (line.removesuffix(" BROKEN") for line in broken)
        if not broken:
            yield run.stdout[-2000:] + run.stderr[-2000:]
