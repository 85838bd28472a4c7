"""Pins: a hash of what decides a projection's rows, kept for each version for ever.

`python -m tests.projections.projection_pins` pins versions that have none yet. A pin that is
there never changes: whoever changes tables or fold raises the version.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from projections.engine import Projection, schema_of
from projections.registry import ALL

PINS = Path(__file__).parent.parent / "fixtures" / "projection_pins.json"


def read_pins() -> dict[str, str]:
    pins: dict[str, str] = json.loads(PINS.read_text()) if PINS.exists() else {}
    return pins


def fingerprint(projection: Projection) -> str:
    """SHA-256 of the tables and of all code of the module that the projection reaches.

    Comments, docstrings and layout do not count; queries in the same module do not either.
    The same for every version of Python: it is made of source text, not of a parse.
    """
    kind = type(projection)
    source = inspect.getsource(sys.modules[kind.__module__])
    reached = dict(_reached(source, kind.__name__))
    whole = json.dumps([projection.ddl, sorted(reached.items())])
    return hashlib.sha256(whole.encode()).hexdigest()


def _reached(source: str, start: str) -> Iterator[tuple[str, str]]:
    """The bare text of `start` and, over and over, of the module's own names it uses."""
    definitions = dict(_definitions(ast.parse(source)))
    waiting, seen = [start], {start}
    while waiting:
        name = waiting.pop()
        node = definitions[name]
        yield name, _bare_text(source, node)
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        fresh = sorted((used & definitions.keys()) - seen)
        waiting += fresh
        seen.update(fresh)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ((t.id, node) for t in ast.walk(target) if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def _bare_text(source: str, node: ast.stmt) -> str:
    """Source of a definition without docstrings, comments, white space and last commas."""
    text = ast.get_source_segment(source, node) or ""
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(each):
            text = text.replace(ast.get_source_segment(source, each.body[0]) or "", "", 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            text = text.replace(token.string, "", 1)
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", text))


def pin_new_versions() -> list[str]:
    """Pin every version that has no pin; gives their names."""
    pins = read_pins()
    fresh = {schema_of(p): fingerprint(p) for p in ALL if schema_of(p) not in pins}
    PINS.write_text(json.dumps(pins | fresh, indent=2, sort_keys=True) + "\n")
    return sorted(fresh)


if __name__ == "__main__":
    print("pinned:", *pin_new_versions())
