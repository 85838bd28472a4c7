"""No projection reads another's schema while it folds, and nothing lasting points across schemas.

A projection is swapped for its next version as a whole schema. What another schema's view, foreign
key or fold took from it would stay with the old one, or make a replay depend on its pace.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.architecture.source import Module, modules, strings

SCHEMA = re.compile(r"\b([a-z][a-z_]*_\d+)\.[a-z_]+\b")
LASTING = re.compile(
    r"\b(CREATE\s+(OR\s+REPLACE\s+)?(MATERIALIZED\s+)?(VIEW|FUNCTION|PROCEDURE)|REFERENCES)\b",
    re.IGNORECASE,
)


@dataclass
class _Definitions:
    """Top-level definitions of the package by (module path, name), and what they refer to."""

    nodes: dict[tuple[str, str], ast.stmt] = field(default_factory=dict)
    imports: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def add(self, module: Module) -> None:
        for node in module.tree.body:
            for name in _defined(node):
                self.nodes[module.path, name] = node
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("projections"):
                source = (node.module or "").replace(".", "/") + ".py"
                for alias in node.names:
                    self.imports[module.path, alias.asname or alias.name] = (source, alias.name)

    def reached(self, path: str, start: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
        """`start` and every definition it uses, directly or through others."""
        seen: set[int] = set()
        waiting: list[tuple[str, ast.stmt]] = [(path, start)]
        while waiting:
            at, node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield at, node
            for used in ast.walk(node):
                if isinstance(used, ast.Name):
                    key = self.imports.get((at, used.id), (at, used.id))
                    if key in self.nodes:
                        waiting.append((key[0], self.nodes[key]))


def folds_stay_home(root: Path) -> Iterator[str]:
    """Neither the tables nor the fold of a projection name another projection's schema."""
    package = list(modules(root, "projections"))
    definitions = _Definitions()
    for module in package:
        definitions.add(module)
    for module in package:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and _method(node, "fold"):
                own = _own_schema(node)
                for path, part in definitions.reached(module.path, node):
                    for line, text in strings(part):
                        foreign = {name for name in SCHEMA.findall(text) if name != own}
                        if foreign:
                            yield (
                                f"{path}:{line} {node.name} folds with {', '.join(sorted(foreign))};"
                                " a fold reads its own schema only"
                            )


def nothing_lasting_crosses(root: Path) -> Iterator[str]:
    """No view, function or foreign key names a projection's schema."""
    for module in modules(root, "projections", "application", "ops"):
        for line, text in strings(module.tree):
            if LASTING.search(text) and SCHEMA.search(text):
                yield f"{module.path}:{line} keeps a reference into a projection's schema"
    for path in (root / "ops" / "migrations").glob("*.sql"):
        if SCHEMA.search(path.read_text()):
            yield f"{path.relative_to(root)} names a projection's schema"


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _method(node: ast.ClassDef, name: str) -> bool:
    return any(isinstance(part, ast.FunctionDef) and part.name == name for part in node.body)


def _own_schema(node: ast.ClassDef) -> str:
    """`name_version` from the class's plain assignments; empty where it is built otherwise."""
    values: dict[str, object] = {}
    for part in node.body:
        value = getattr(part, "value", None)
        if isinstance(part, ast.Assign | ast.AnnAssign) and isinstance(value, ast.Constant):
            for name in _defined(part):
                values[name] = value.value
    return f"{values['name']}_{values['version']}" if {"name", "version"} <= values.keys() else ""
