"""Dispatch of commands: load, decide, save in one transaction, and decide again on a conflict."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Generic, TypeVar, get_type_hints
from uuid import UUID

import msgspec

from application.ports import (
    AfterCommit,
    ClaimTaken,
    CommandRepeated,
    EventLogPort,
    Evolve,
    NameTaken,
    VaultErasure,
    VaultPut,
    VersionConflict,
    Writes,
)
from domain.errors import Conflict, DomainError, Unavailable
from domain.kernel import Claim, Envelope, Fact, Meta

S = TypeVar("S")
R = TypeVar("R")
ATTEMPTS = 6
"""Decisions per command; measured 4 threads on one aggregate never needed a fifth."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: account id and number, name, permissions, and the session that proves it."""

    account: UUID
    number: int
    username: str
    permissions: frozenset[str] = frozenset()
    session: str | None = None


class RequestKey(msgspec.Struct, frozen=True, kw_only=True):
    """Idempotency of a request: the command id is derived from actor, route and key."""

    command: UUID
    body_hash: bytes


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a request that is not the command itself; `at` is read once, UTC."""

    at: datetime
    command: UUID
    correlation: UUID
    actor: Actor | None = None
    request: RequestKey | None = None


class Outcome(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """A command's result, the log position it reached, and read models still behind it."""

    result: R
    position: int
    stale: tuple[str, ...] = ()
    repeated: bool = False


class IdempotencyKeyReused(Conflict):
    """The same key came with another body."""

    code = "idempotency_key_reused"
    message = "This Idempotency-Key was already used with a different request."


class Unit:
    """One attempt at one command: what was loaded, and what is to be saved."""

    def __init__(self, log: EventLogPort, context: Context) -> None:
        self.log = log
        self.context = context
        self._envelopes: list[Envelope] = []
        self._puts: list[VaultPut] = []
        self._erasures: list[VaultErasure] = []
        self._blobs: list[bytes] = []
        self._reads: dict[UUID, int] = {}

    @property
    def at(self) -> datetime:
        return self.context.at

    @property
    def actor(self) -> Actor:
        """The signed-in caller; a command that needs one is never dispatched without."""
        if self.context.actor is None:
            raise RuntimeError("this command needs a signed-in actor")
        return self.context.actor

    def load(self, originator_id: UUID, evolve: Evolve[S]) -> S | None:
        return self.log.load(originator_id, evolve)

    def newest(self, originator_id: UUID) -> Envelope | None:
        """An aggregate's last fact: all there is to know where each fact says everything."""
        return self.log.newest(originator_id)

    def existing(self, originators: Iterable[UUID]) -> Set[UUID]:
        """Those of these aggregates that are in the log: for many, where most are not."""
        return self.log.existing(originators)

    def find(self, asked: UUID, evolve: Evolve[S]) -> S | None:
        """The aggregate a caller's id means; None also where the id is another kind of thing's."""
        try:
            return self.log.load(asked, evolve)
        except TypeError:
            # What `evolve` raises for facts that are none of its kind's.
            return None

    def claim_owner(self, claim: Claim) -> UUID | None:
        return self.log.claim_owner(claim)

    def record(
        self,
        originator_id: UUID,
        version: int,
        facts: Sequence[Fact],
        *,
        actor: UUID | None = None,
        at: datetime | None = None,
    ) -> None:
        """Record `facts` after `version` of the aggregate (0 for a new one).

        `actor` overrides the caller, for facts a newcomer causes about himself; `at` the time,
        for what happened before it came here.
        """
        who = actor or (self.context.actor.account if self.context.actor else None)
        meta = Meta(
            at=at or self.context.at,
            actor=who,
            command=self._command_id,
            correlation=self.context.correlation,
        )
        for number, fact in enumerate(facts, version + 1):
            self._envelopes.append(
                Envelope(
                    originator_id=originator_id, originator_version=number, meta=meta, fact=fact
                )
            )

    def rest_on(self, originator_id: UUID, version: int) -> None:
        """Save only while this aggregate, read but not changed, is at `version` (0: not there)."""
        self._reads[originator_id] = version

    def put(self, kind: str, owner: UUID, id: str, value: bytes) -> None:
        self._puts.append(VaultPut(kind=kind, owner=owner, id=id, value=value))

    def erase(self, kind: str, owner: UUID, id: str) -> None:
        self._erasures.append(VaultErasure(kind=kind, owner=owner, id=id))

    def blob(self, content: bytes) -> bytes:
        """Keep `content` for good; the answer is its reference."""
        self._blobs.append(content)
        return self.log.blob_ref(content)

    @property
    def _command_id(self) -> UUID:
        request = self.context.request
        return request.command if request else self.context.command

    def writes(self, answer: bytes) -> Writes:
        request = self.context.request
        changed = {envelope.originator_id for envelope in self._envelopes}
        return Writes(
            command_id=self._command_id,
            envelopes=tuple(self._envelopes),
            body_hash=request.body_hash if request else None,
            answer=answer if request else None,
            vault_puts=tuple(self._puts),
            vault_erasures=tuple(self._erasures),
            blobs=tuple(self._blobs),
            # What is changed itself has its version checked by that.
            reads={read: version for read, version in self._reads.items() if read not in changed},
        )

    @property
    def empty(self) -> bool:
        return not (self._envelopes or self._puts or self._erasures or self._blobs)


Handler = Callable[[Unit, Any], Any]
Handlers = Mapping[type, Handler]
TakenErrors = Mapping[str, Callable[[], DomainError]]
"""Claim kind → the refusal to raise when that name is taken."""


class Bus:
    """The one way to change anything."""

    def __init__(
        self,
        log: EventLogPort,
        handlers: Handlers,
        *,
        after_commit: AfterCommit,
        taken: TakenErrors,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._log = log
        self._handlers = dict(handlers)
        self._after_commit = after_commit
        self._taken = taken
        self._pause = pause

    @property
    def commands(self) -> frozenset[type]:
        return frozenset(self._handlers)

    def dispatch(self, command: Any, context: Context) -> Outcome[Any]:
        """Run `command` to its end.

        Raises a `DomainError` when it is refused: nothing was changed then. Raises
        `Unavailable` when others kept winning the race for the same aggregate.
        """
        handler = self._handlers[type(command)]
        request = context.request
        if request is None:
            return self._run(handler, command, context)
        earlier = self._earlier(handler, request)
        if earlier is not None:
            return earlier
        try:
            return self._run(handler, command, context)
        except (DomainError, CommandRepeated):
            # The same request, sent twice at once: what refuses this run may be the other's work.
            earlier = self._earlier(handler, request)
            if earlier is None:
                raise
            return earlier

    def _run(self, handler: Handler, command: Any, context: Context) -> Outcome[Any]:
        for attempt in range(ATTEMPTS):
            unit = Unit(self._log, context)
            result = handler(unit, command)
            try:
                return self._save(unit, result)
            except VersionConflict:
                self._pause(random.uniform(0, 0.004 * 2**attempt))  # noqa: S311 (spread, not secrecy)
            except ClaimTaken as taken:
                raise self._taken.get(taken.kind, NameTaken)() from None
        raise Unavailable("Others are changing the same thing; try again.", retry_after=1)

    def _save(self, unit: Unit, result: Any) -> Outcome[Any]:
        if unit.empty and unit.context.request is None:
            return Outcome(result=result, position=self._log.head())
        appended = self._log.append(unit.writes(msgspec.json.encode(result)))
        stale = self._after_commit(appended) if appended.last else ()
        return Outcome(result=result, position=appended.last or self._log.head(), stale=stale)

    def _earlier(self, handler: Handler, request: RequestKey) -> Outcome[Any] | None:
        stored = self._log.answer(request.command)
        if stored is None:
            return None
        if stored.body_hash != request.body_hash or stored.answer is None:
            raise IdempotencyKeyReused()
        kind = get_type_hints(handler).get("return", Any)
        result = msgspec.json.decode(stored.answer, type=kind)
        return Outcome(result=result, position=stored.last, repeated=True)
