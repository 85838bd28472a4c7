"""One name in every layer: routes, commands, handlers, facts and topics (style, section 2.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from application.bus import Handlers
from domain.kernel import Fact
from interfaces.http.openapi import operations
from ops.event_sources import raised_by

NOT_A_COMMAND: Mapping[str, str] = {
    "log_in": "proves a password first, then sends OpenSession",
    "verify_totp": "counts an attempt first, then sends PassSecondFactor",
    "verify_security_key": "checks a signature first, then sends PassBySecurityKey",
    "log_in_by_security_key": "checks a signature, then sends PassBySecurityKey; or, by the"
    " reference's one path for both, RotateAnnounceKey",
    "issue_security_key_challenge": "gives out a challenge, which is kept in Redis",
    "issue_second_factor_challenge": "gives out a challenge, which is kept in Redis",
    "log_out": "sends CloseSession for the session of its cookie",
    "recompute_roles": "sends an ApplyRoleRule for each member a rule concerns",
    "check_torrent": "reads; it is POST because it takes a file",
}
"""Mutating operations that bear no command's name, and why."""

MAKES_NO_FACT: Mapping[str, str] = {}
"""Commands that change only what is outside the log, and why."""


def snake_case(name: str) -> str:
    """`ApproveTorrent` as `approve_torrent`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def operation_names(document: Mapping[str, Any], handlers: Handlers) -> Iterator[str]:
    """Every mutating route bears the name of its command, or is excepted for a reason."""
    commands = {snake_case(command.__name__) for command in handlers}
    mutating = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, method, operation in operations(dict(document))
        if method not in {"get", "head"}
    }
    for name, route in sorted(mutating.items()):
        if name not in commands and name not in NOT_A_COMMAND:
            yield f"{route} is {name}, and there is no command {name}"
    for name in sorted(NOT_A_COMMAND):
        if name in commands:
            yield f"{name} is excepted from having a command, and has one"
        elif name not in mutating:
            yield f"{name} is excepted from having a command, and is no route"


def handler_names(handlers: Handlers) -> Iterator[str]:
    """The handler of ApproveTorrent is handle_approve_torrent, beside it in the same module."""
    for command, handler in handlers.items():
        wanted = f"{command.__module__}.handle_{snake_case(command.__name__)}"
        found = f"{handler.__module__}.{getattr(handler, '__name__', '?')}"
        if found != wanted:
            yield f"{command.__name__} is handled by {found}, not {wanted}"
        if not (command.__doc__ or "").strip():
            yield f"{command.__name__} has no sentence"


def topic_names(facts: Mapping[str, type[Fact]]) -> Iterator[str]:
    """The topic of TorrentApproved is torrent.approved.N."""
    for topic, fact in facts.items():
        words = "_".join(topic.split(".")[:-1])
        if words != snake_case(fact.__name__):
            yield f"{fact.__name__} has the topic {topic}; names of facts and topics are the same"


def commands_make_facts(handlers: Handlers) -> Iterator[str]:
    """The catalogue of events names every command, but for those that make no fact."""
    named = {name for names in raised_by(handlers).values() for name in names}
    for command in handlers:
        name = command.__name__
        if (name in named) == (name in MAKES_NO_FACT):
            yield f"{name} " + ("makes facts after all" if name in named else "makes no fact")
