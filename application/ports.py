"""What the application needs from outside, as protocols and plain carriers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from domain.errors import Conflict
from domain.kernel import Claim, Envelope, Recorded

S = TypeVar("S")
Evolve = Callable[[S | None, Envelope], S]


class AppendRefused(Exception):
    """The log took nothing."""


class VersionConflict(AppendRefused):
    """Another command changed the aggregate first: load again and decide again."""


class ClaimTaken(AppendRefused):
    """A claimed name belongs to another aggregate; `kind` is the claim's kind."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class CommandRepeated(AppendRefused):
    """This command id is already in the log."""


class VaultPut(msgspec.Struct, frozen=True, kw_only=True):
    """A value to seal and keep outside the events; replaces the one of the same key."""

    kind: str
    owner: UUID
    id: str
    value: bytes


class VaultErasure(msgspec.Struct, frozen=True, kw_only=True):
    """A value to destroy for good."""

    kind: str
    owner: UUID
    id: str


class Writes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one command changes, saved in one transaction or not at all.

    `answer` is the JSON given to the caller, kept 7 days with `body_hash` for idempotency.
    `blobs` are content-addressed bytes (.torrent, NFO) by the reference `EventLog.blob_ref` gave.
    `reads` are versions of other aggregates the facts rest upon: where one has gone on, nothing is
    saved. They count only with facts, which give them a place in the log.
    """

    command_id: UUID
    envelopes: tuple[Envelope, ...] = ()
    body_hash: bytes | None = None
    answer: bytes | None = None
    vault_puts: tuple[VaultPut, ...] = ()
    vault_erasures: tuple[VaultErasure, ...] = ()
    blobs: tuple[bytes, ...] = ()
    reads: Mapping[UUID, int] = {}


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """Positions of the first and last fact saved, and their topics; 0, 0 when there were none."""

    first: int
    last: int
    topics: frozenset[str]


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a command was answered the first time."""

    body_hash: bytes | None
    answer: bytes | None
    last: int


class EventLogPort(Protocol):
    """The event log and the vault, as the application sees them (`application.store.log`)."""

    def load(self, originator_id: UUID, evolve: Evolve[S]) -> S | None: ...

    def newest(self, originator_id: UUID) -> Envelope | None: ...

    def existing(self, originators: Iterable[UUID]) -> Set[UUID]: ...

    def append(self, writes: Writes) -> Appended: ...

    def answer(self, command_id: UUID) -> StoredAnswer | None: ...

    def claim_owner(self, claim: Claim) -> UUID | None: ...

    def head(self) -> int: ...

    def read(
        self, after: int, limit: int, topics: frozenset[str] | None = None
    ) -> tuple[list[Recorded], int]: ...

    def vault_get(self, kind: str, owner: UUID, id: str) -> bytes | None: ...

    def vault_find(self, kind: str, id: str) -> tuple[UUID, bytes] | None: ...

    def vault_list(self, kind: str, owner: UUID) -> Mapping[str, bytes]: ...

    def vault_many(self, kind: str, owners: Set[UUID], id: str) -> Mapping[UUID, bytes]: ...

    def vault_write(
        self, puts: Sequence[VaultPut] = (), erasures: Sequence[VaultErasure] = ()
    ) -> None: ...

    def blob_ref(self, content: bytes) -> bytes: ...

    def blob(self, ref: bytes) -> bytes | None: ...

    def next_account_number(self) -> int: ...

    def next_torrent_number(self) -> int: ...


class VaultCreate(Protocol):
    """Keeps a value unless its place is taken; gives the value that is kept."""

    def __call__(self, put: VaultPut) -> bytes: ...


class Clock(Protocol):
    """Wall clock, UTC, aware."""

    def __call__(self) -> datetime: ...


class Entropy(Protocol):
    """Unpredictable values."""

    def uuid(self) -> UUID:
        """A new UUIDv7 (RFC 9562)."""
        ...

    def token(self, size: int) -> bytes:
        """`size` random bytes."""
        ...


class AfterCommit(Protocol):
    """Steps the read models a commit touched; names those left behind."""

    def __call__(self, appended: Appended) -> tuple[str, ...]: ...


class NameTaken(Conflict):
    """A claimed name belongs to another."""

    code = "name_taken"
    message = "That name is already taken."
