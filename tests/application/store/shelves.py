"""A small feature of the tests' own: a shelf with a claimed name and private notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID, uuid4

import msgspec

from application.ports import VaultErasure, VaultPut, Writes
from application.store.topics import TopicRegistry
from domain.kernel import Claim, Envelope, Fact, Meta, Private

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class ShelfOpened(Fact, frozen=True):
    """A shelf was opened under a name."""

    TOPIC: ClassVar[str] = "shelf.opened.1"
    name: str

    def claims(self) -> tuple[Claim, ...]:
        return (Claim("shelf.name", self.name),)


class ShelfRenamed(Fact, frozen=True):
    """A shelf got another name."""

    TOPIC: ClassVar[str] = "shelf.renamed.1"
    old: str
    new: str

    def claims(self) -> tuple[Claim, ...]:
        return (Claim("shelf.name", self.new),)

    def releases(self) -> tuple[Claim, ...]:
        return (Claim("shelf.name", self.old),)


class ShelfNoted(Fact, frozen=True):
    """Someone wrote notes about a shelf."""

    TOPIC: ClassVar[str] = "shelf.noted.1"
    notes: tuple[Private, ...]


class Shelf(msgspec.Struct, frozen=True):
    id: UUID
    version: int
    name: str
    notes: tuple[str | None, ...] = ()


def evolve(shelf: Shelf | None, envelope: Envelope) -> Shelf:
    match envelope.fact:
        case ShelfOpened(name=name):
            return Shelf(envelope.originator_id, envelope.originator_version, name)
        case ShelfRenamed(new=name) if shelf:
            return msgspec.structs.replace(shelf, version=envelope.originator_version, name=name)
        case ShelfNoted(notes=notes) if shelf:
            return msgspec.structs.replace(
                shelf,
                version=envelope.originator_version,
                notes=(*shelf.notes, *(note.text for note in notes)),
            )
    raise TypeError(envelope.fact)


def shelf_registry() -> TopicRegistry:
    registry = TopicRegistry()
    registry.add(ShelfOpened, ShelfRenamed, ShelfNoted)
    return registry


def envelopes(shelf: UUID, version: int, *facts: Fact) -> tuple[Envelope, ...]:
    """Facts as recorded after `version`."""
    meta = Meta(at=AT, actor=None, command=uuid4(), correlation=uuid4())
    return tuple(
        Envelope(originator_id=shelf, originator_version=number, meta=meta, fact=fact)
        for number, fact in enumerate(facts, version + 1)
    )


def writes(
    *recorded: Envelope,
    command: UUID | None = None,
    puts: Sequence[VaultPut] = (),
    erasures: Sequence[VaultErasure] = (),
    blobs: Sequence[bytes] = (),
    answer: bytes | None = None,
    reads: Mapping[UUID, int] | None = None,
) -> Writes:
    return Writes(
        command_id=command or uuid4(),
        envelopes=tuple(recorded),
        vault_puts=tuple(puts),
        vault_erasures=tuple(erasures),
        blobs=tuple(blobs),
        body_hash=b"hash of the body" if answer is not None else None,
        answer=answer,
        reads=reads or {},
    )
