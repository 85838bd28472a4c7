"""The source tree as the rules see it: modules with their text and syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PACKAGES = ("domain", "application", "projections", "interfaces", "tracker", "ops")


@dataclass(frozen=True)
class Module:
    """One Python file; `path` is relative to the root, with slashes."""

    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/", 1)[0]


def modules(root: Path, *packages: str) -> Iterator[Module]:
    """All modules of these packages, of all product packages when none is named."""
    for package in packages or PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            text = path.read_text()
            yield Module(path.relative_to(root).as_posix(), text, _parsed(text))


@lru_cache(maxsize=2048)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of each imported module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, f"{'.' * node.level}{node.module or ''}"


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each string literal that is no docstring, parts of f-strings included."""
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str | bytes)
            and id(node) not in documentation
        ):
            value = node.value
            yield node.lineno, value if isinstance(value, str) else value.decode("latin-1")
