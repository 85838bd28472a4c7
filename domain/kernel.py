"""What every fact is made of: facts, their envelope, claims, private text and value objects."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, NewType
from uuid import UUID

import msgspec

Points = NewType("Points", int)
ByteCount = NewType("ByteCount", int)
InfoHash = NewType("InfoHash", str)
"""40 lower-case hex digits: a v1 hash, or the first 20 bytes of a v2 hash (BEP 52)."""


class Claim(msgspec.Struct, frozen=True, order=True):
    """A name that only one aggregate may hold at a time.

    `kind` is a dotted word ("account.username"), `value` the normalised plain text. The
    store keeps only a keyed hash of it.
    """

    kind: str
    value: str


class Private:
    """Personal free text in a fact, sealed under its subject's own key.

    `subject` names the key (a member, a report). `text` is None once that key was destroyed:
    the fact stays, its words are gone. `sealed` is the store's business and None until the
    text was first stored.
    """

    __slots__ = ("sealed", "subject", "text")

    def __init__(self, subject: UUID, text: str | None, sealed: bytes | None = None) -> None:
        self.subject = subject
        self.text = text
        self.sealed = sealed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Private):
            return NotImplemented
        return (self.subject, self.text) == (other.subject, other.text)

    def __hash__(self) -> int:
        return hash((self.subject, self.text))

    def __repr__(self) -> str:
        return f"Private(subject={self.subject}, text=…)"


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A business fact: past tense, complete, immutable, for ever.

    A concrete fact sets its own `TOPIC` ("torrent.approved.1"), has a docstring of one
    sentence, and only fields of plain immutable types. Integers stand for bytes and points.
    """

    TOPIC: ClassVar[str] = ""

    def claims(self) -> tuple[Claim, ...]:
        """Names this fact takes; recording it fails when another aggregate holds one."""
        return ()

    def releases(self) -> tuple[Claim, ...]:
        """Names this fact gives back."""
        return ()


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """Who, when and why of a fact: `at` is read once at the edge, in UTC.

    `actor` is the account that asked, None for the system and for anonymous callers.
    `command` identifies the request for change, `correlation` the work it belongs to.
    """

    at: datetime
    actor: UUID | None
    command: UUID
    correlation: UUID


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A fact as recorded: which aggregate, which version of it, and its meta data."""

    originator_id: UUID
    originator_version: int
    meta: Meta
    fact: Any


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope with its position in the event log. Positions are gapless from 1."""

    position: int
    envelope: Envelope
