"""Where facts come from and where they go, derived from the code itself."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

from application.bus import Handlers
from domain.kernel import Claim, Fact
from projections.engine import Projection

OURS = ("application.", "domain.")
"""Modules whose functions a handler may have run; nothing else makes facts."""


def raised_by(handlers: Handlers) -> Mapping[type[Fact], tuple[str, ...]]:
    """Names of the commands whose handler, or a function it uses, makes a fact of that class."""
    found: dict[type[Fact], set[str]] = {}
    for command, handler in handlers.items():
        if isinstance(handler, FunctionType):
            for fact in facts_made(handler):
                found.setdefault(fact, set()).add(command.__name__)
    return {fact: tuple(sorted(names)) for fact, names in found.items()}


def facts_made(handler: FunctionType) -> Iterator[type[Fact]]:
    """The fact classes called, as in `TorrentApproved(…)`, on any path from this handler."""
    for function, tree in _reached(handler):
        for made, _call in _calls(tree, function):
            if isinstance(made, type) and issubclass(made, Fact):
                yield made


def claim_kinds(fact: type[Fact], method: str) -> tuple[str, ...]:
    """Kinds of the claims that `claims` or `releases` of a fact may give."""
    function = fact.__dict__.get(method)
    if not isinstance(function, FunctionType):
        return ()
    kinds: dict[str, None] = {}
    for reached, tree in _reached(function):
        for made, call in _calls(tree, reached):
            if made is Claim:
                named = [word.value for word in call.keywords if word.arg == "kind"]
                kind = ast.literal_eval((named or call.args)[0])
                kinds[str(kind)] = None
    return tuple(kinds)


def readers(topic: str, projections: Sequence[Projection]) -> tuple[str, ...]:
    """Read models that name this topic; those that take every topic do not count."""
    return tuple(p.name for p in projections if p.topics is not None and topic in p.topics)


def readers_of_all(projections: Iterable[Projection]) -> tuple[str, ...]:
    """Read models that take every topic."""
    return tuple(p.name for p in projections if p.topics is None)


def _reached(start: FunctionType) -> Iterator[tuple[FunctionType, ast.AST]]:
    """`start` and every function of ours it names, directly or through others."""
    seen = {start}
    waiting = [start]
    while waiting:
        function = waiting.pop()
        tree = _tree_of(function)
        yield function, tree
        for node in ast.walk(tree):
            named = _meant(node, function)
            if _is_ours(named) and named not in seen:
                seen.add(named)
                waiting.append(named)


def _is_ours(named: object) -> bool:
    return isinstance(named, FunctionType) and named.__module__.startswith(OURS)


@lru_cache(maxsize=1024)
def _tree_of(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _calls(tree: ast.AST, function: FunctionType) -> Iterator[tuple[Any, ast.Call]]:
    """Each call in a function with what it calls, None where that shows only when it runs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield _meant(node.func, function), node


def _meant(node: ast.AST, function: FunctionType) -> Any:
    """What a name, or a name in a module, stands for at the place of this function."""
    if isinstance(node, ast.Name):
        return function.__globals__.get(node.id)
    if isinstance(node, ast.Attribute):
        module = _meant(node.value, function)
        return getattr(module, node.attr, None) if isinstance(module, ModuleType) else None
    return None
