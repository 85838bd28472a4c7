"""Imports: a community's file taken into the log, batch by batch, each line once."""

from __future__ import annotations

import re
from typing import ClassVar, Final
from uuid import UUID, uuid5

import msgspec

from domain.errors import Conflict, Invalid
from domain.kernel import Envelope, Fact

FORMAT: Final = 1
"""The version of the file's format that this code reads (docs/import.md)."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:-]{0,99}")
_IMPORTS: Final = UUID("5d0b7a3c-94b1-5c3f-8a55-2f3c0e8f6b10")


class ImportBegun(Fact, frozen=True):
    """The operator began to import a file; `name` is the one in its first line."""

    TOPIC: ClassVar[str] = "import.begun.1"

    name: str
    format: int


class ImportAdvanced(Fact, frozen=True):
    """All lines of the file up to `line` are in the log, the last of them with this fact.

    `line` counts from 1. `digest` is the SHA-256, in hex, of the file's bytes up to the end of
    that line: who goes on with another file is told so.
    """

    TOPIC: ClassVar[str] = "import.advanced.1"

    line: int
    digest: str


class ImportEnded(Fact, frozen=True):
    """The file was imported to its end."""

    TOPIC: ClassVar[str] = "import.ended.1"

    line: int


FACTS: tuple[type[Fact], ...] = (ImportBegun, ImportAdvanced, ImportEnded)


class ImportNameInvalid(Invalid):
    """The name of an import is too long, or has characters it can't have."""

    code = "import_name_invalid"
    message = (
        "name: must have 1 to 100 letters, digits, spaces or ._:- and begin with a letter or digit"
    )


class ImportElsewhere(Conflict):
    """Another process imports the same lines, or has imported them."""

    code = "import_elsewhere"
    message = "Another process is importing this file."


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """An import as its facts leave it: `line` is the last line that is in, 0 before any."""

    version: int = 0
    line: int = 0
    digest: str = ""
    ended: bool = False


def import_id(name: str) -> UUID:
    """The aggregate of the import of this name. Raises `ImportNameInvalid`."""
    if not NAME.fullmatch(name):
        raise ImportNameInvalid()
    return uuid5(_IMPORTS, name)


def standing(newest: Envelope | None) -> Import:
    """The import whose last fact this is; None where it has none.

    Each fact says all there is to know by then, and a large file makes ten thousand of them.
    """
    if newest is None:
        return Import()
    version = newest.originator_version
    match newest.fact:
        case ImportBegun():
            return Import(version=version)
        case ImportAdvanced(line=line, digest=digest):
            return Import(version=version, line=line, digest=digest)
        case ImportEnded(line=line):
            return Import(version=version, line=line, ended=True)
        case unknown:
            raise TypeError(f"not a fact of an import: {type(unknown).__name__}")


def advance_import(state: Import, name: str, *, after: int, line: int, digest: str) -> list[Fact]:
    """Take the lines behind `after` up to `line`; the first ones begin the import.

    Raises `ImportElsewhere` when the import does not stand at `after`.
    """
    if state.ended or state.line > after:
        raise ImportElsewhere()
    begun: list[Fact] = [] if state.version else [ImportBegun(name=name, format=FORMAT)]
    return [*begun, ImportAdvanced(line=line, digest=digest)]


def end_import(line: int) -> list[Fact]:
    """End it at the file's last line."""
    return [ImportEnded(line=line)]
