"""The event log and the vault as the application sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError

from application.ports import (
    Appended,
    CommandRepeated,
    Evolve,
    StoredAnswer,
    VaultErasure,
    VaultPut,
    VersionConflict,
    Writes,
)
from application.store import private_text
from application.store.event_application import EventApplication
from application.store.keyring import Keyring, WrongKey
from application.store.mapper import EnvelopeMapper
from application.store.recorder import (
    Changes,
    ClaimChange,
    EventLogRecorder,
    ItemChange,
    open_datastore,
)
from application.store.refusals import SubjectKeyRace, reachable, refusal_of
from application.store.sealing import SealBroken, Sealer
from application.store.topics import TopicRegistry, UnknownTopic
from application.store.vault import Vault
from application.store.vault_places import claim_value
from domain.kernel import Claim, Envelope, Recorded

S = TypeVar("S")
SUBJECT_KEY_RACES: Final = 3
"""Times a subject's new key may be made by another first; once made it stays."""


class EventLog:
    """The one event log, its vault and its numbers (`application.ports.EventLogPort`).

    One per process, made after a fork, closed at the end. Every method that reaches the
    database raises `Unavailable` when it is out of reach, or gave no connection in `wait`
    seconds.
    """

    def __init__(
        self,
        conninfo: str,
        keyring: Keyring,
        registry: TopicRegistry,
        *,
        pool_size: int = 2,
        max_overflow: int = 8,
        wait: float = 5.0,
    ) -> None:
        datastore = open_datastore(
            conninfo, pool_size=pool_size, max_overflow=max_overflow, wait=wait
        )
        self.keyring = keyring
        self.registry = registry
        with reachable():
            self.recorder = EventLogRecorder(datastore)
        self.event_sealer = Sealer(keyring, "events", self._reserve_seals)
        self.mapper = EnvelopeMapper(registry, self.event_sealer)
        self._claims_secret = keyring.active("claims").material
        sealer = Sealer(keyring, "vault", self._reserve_seals)
        self._vault = Vault(self.recorder, sealer, self._claims_secret)
        self._application = EventApplication(self.recorder, self.mapper)

    def check_keyring(self) -> None:
        """Raise `WrongKey` when the newest fact does not open: this is not the log's keyring.

        Called at start, before anything is sealed under keys nobody else has.
        """
        rows = self._rows(
            "SELECT originator_id, originator_version, topic, state FROM log.events"
            " ORDER BY notification_id DESC LIMIT 1"
        )
        try:
            for row in rows:
                self.mapper.plain(*row)
        except SealBroken:
            raise WrongKey("this keyring does not open the event log") from None

    def close(self) -> None:
        """Give back all connections."""
        self._application.close()

    # Facts

    def load(self, originator_id: UUID, evolve: Evolve[S]) -> S | None:
        """The aggregate as of now, or None when it has no facts."""

        def project(state: S | None, events: Iterable[Any]) -> S | None:
            envelopes: list[Envelope] = list(events)
            self.open_private(envelopes)
            for envelope in envelopes:
                state = evolve(state, envelope)
            return state

        with reachable():
            try:
                return self._application.fold(originator_id, project)
            except AggregateNotFoundError:
                return None

    def existing(self, originators: Iterable[UUID]) -> Set[UUID]:
        """Those of these aggregates that have facts."""
        rows = self._rows(
            "SELECT originator_id FROM log.events"
            " WHERE originator_id = ANY(%b::uuid[]) AND originator_version = 1",
            (list(originators),),
        )
        return {row[0] for row in rows}

    def newest(self, originator_id: UUID) -> Envelope | None:
        """An aggregate's last fact, for those that say everything in each; without private text."""
        rows = self._rows(
            "SELECT originator_id, originator_version, topic, state FROM log.events"
            " WHERE originator_id = %b::uuid ORDER BY originator_version DESC LIMIT 1",
            (originator_id,),
        )
        return self.mapper.envelope(*rows[0]) if rows else None

    def append(self, writes: Writes) -> Appended:
        """Save everything of `writes` in one transaction, or nothing.

        Raises `VersionConflict`, `ClaimTaken`, `CommandRepeated`, or `Unavailable` when the
        database stayed out of reach; then the command may be sent again under the same id.
        """
        for _ in range(SUBJECT_KEY_RACES):
            try:
                return self._append(writes)
            except SubjectKeyRace:
                continue
        raise VersionConflict("subject key")

    def read(
        self, after: int, limit: int, topics: frozenset[str] | None = None
    ) -> tuple[list[Recorded], int]:
        """Facts of `topics` among the next `limit` positions, and the last position scanned.

        Raises `UnknownTopic` for a topic this code does not know, wanted or not: who passes
        over what he can't understand builds a wrong picture.
        """
        wanted = None if topics is None else sorted(self.registry.sources(topics))
        with reachable():
            rows = self.recorder.scan(after, limit, wanted)
            known = self.registry.topics
            found = []
            for row in rows:
                if row.topic not in known:
                    raise UnknownTopic(row.topic)
                if row.state is not None:
                    envelope = self.mapper.envelope(
                        row.originator_id, row.version, row.topic, row.state
                    )
                    found.append(Recorded(position=row.position, envelope=envelope))
            self.open_private([recorded.envelope for recorded in found])
        return found, rows[-1].position if rows else after

    def read_originator(self, originator_id: UUID, after: int) -> list[Recorded]:
        """Every fact of one aggregate behind a position, in order; raises `UnknownTopic`."""
        rows = self._rows(
            "SELECT notification_id, originator_version, topic, state FROM log.events"
            " WHERE originator_id = %b::uuid AND notification_id > %b::bigint"
            " ORDER BY originator_version",
            (originator_id, after),
        )
        return [
            Recorded(
                position=int(position),
                envelope=self.mapper.envelope(originator_id, version, topic, state),
            )
            for position, version, topic, state in rows
        ]

    def head(self) -> int:
        """The newest position; 0 for an empty log."""
        rows = self._rows("SELECT coalesce(max(notification_id), 0) FROM log.events")
        return int(rows[0][0])

    def answer(self, command_id: UUID) -> StoredAnswer | None:
        """What a command of the last seven days was answered, or None.

        The command is seen a moment before it is on disk, and whoever sent it is told here that
        it was done: so this waits for the disk as the append does.
        """
        rows = self._rows(
            "SELECT body_hash, answer, last FROM log.commands WHERE id = %b", (command_id,)
        )
        if not rows:
            return None
        with reachable():
            self.recorder.await_disk()
        body_hash, sealed, last = rows[0]
        answer = None
        if sealed is not None:
            answer = self._vault.open_answer(command_id, sealed)
        return StoredAnswer(body_hash=body_hash, answer=answer, last=last)

    def prune_commands(self, before: datetime) -> int:
        """Forget answered commands older than `before` (at least a day); how many."""
        return int(self._rows("SELECT log.prune_commands(%b)", (before,))[0][0])

    def claim_owner(self, claim: Claim) -> UUID | None:
        """The aggregate that holds a name, or None."""
        rows = self._rows(
            "SELECT owner FROM log.claims WHERE kind = %b AND value = %b",
            (claim.kind, self.claim_value(claim)),
        )
        return rows[0][0] if rows else None

    def claim_value(self, claim: Claim) -> bytes:
        """The keyed hash under which a name is stored."""
        return claim_value(claim, self._claims_secret)

    # Vault

    def vault_get(self, kind: str, owner: UUID, id: str) -> bytes | None:
        with reachable():
            return self._vault.get(kind, owner, id)

    def vault_find(self, kind: str, id: str) -> tuple[UUID, bytes] | None:
        """Owner and value of the item with this id, where ids are unique in their kind."""
        with reachable():
            return self._vault.find(kind, id)

    def vault_list(self, kind: str, owner: UUID) -> Mapping[str, bytes]:
        with reachable():
            return self._vault.list(kind, owner)

    def vault_many(self, kind: str, owners: Set[UUID], id: str) -> Mapping[UUID, bytes]:
        with reachable():
            return self._vault.many(kind, owners, id)

    def vault_write(
        self, puts: Sequence[VaultPut] = (), erasures: Sequence[VaultErasure] = ()
    ) -> None:
        """Change the vault outside any command: presence, session touches, telemetry."""
        items = [*_erased(erasures), *map(self._vault.sealed, puts)]
        if items:
            with reachable():
                self.recorder.write_items(items)

    def vault_create(self, put: VaultPut) -> bytes:
        """Keep `put.value` unless the item exists; the value that is kept."""
        with reachable():
            return self._vault.create(put)

    def blob_ref(self, content: bytes) -> bytes:
        return self._vault.blob_ref(content)

    def blob(self, ref: bytes) -> bytes | None:
        with reachable():
            return self._vault.blob(ref)

    # Numbers

    def next_account_number(self) -> int:
        return int(self._rows("SELECT nextval('log.account_numbers')")[0][0])

    def next_torrent_number(self) -> int:
        return int(self._rows("SELECT nextval('log.torrent_numbers')")[0][0])

    # Inside

    def _append(self, writes: Writes) -> Appended:
        changes = self._changes(writes)
        try:
            return self._record(writes, changes)
        except (InterfaceError, OperationalError):
            self.recorder.drop_broken_connections()
            with reachable():
                return self._record_again(writes, changes)

    def _record(self, writes: Writes, changes: Changes) -> Appended:
        try:
            positions = self._application.record(writes.envelopes, changes)
        except IntegrityError as error:
            raise refusal_of(error) from error
        return _appended(
            writes, positions[0] if positions else 0, positions[-1] if positions else 0
        )

    def _record_again(self, writes: Writes, changes: Changes) -> Appended:
        """After an unknown outcome: the one other attempt, which tells what became of the first.

        When the first was or is being committed, `log.append` waits for it and then says
        that the command is there; the attempt id tells our own lost commit from the same
        command sent by another.
        """
        try:
            return self._record(writes, changes)
        except CommandRepeated:
            saved = self._saved(writes, changes)
            if saved is None:
                raise
            return saved

    def _saved(self, writes: Writes, changes: Changes) -> Appended | None:
        rows = self._rows(
            "SELECT first, last FROM log.commands WHERE id = %b AND attempt = %b",
            (changes.command, changes.attempt),
        )
        if not rows:
            return None
        self.recorder.await_disk()
        first, last = rows[0]
        return _appended(writes, first, last if first else 0)

    def _changes(self, writes: Writes) -> Changes:
        answer = writes.answer
        if answer is not None:
            answer = self._vault.sealed_answer(writes.command_id, answer)
        items = [
            *_erased(writes.vault_erasures),
            *map(self._vault.sealed, writes.vault_puts),
            *self._seal_private(writes.envelopes),
        ]
        return Changes(
            command=writes.command_id,
            attempt=uuid4(),
            body_hash=writes.body_hash,
            answer=answer,
            claims=list(self.claim_changes(writes.envelopes)),
            items=items,
            blobs=[self._vault.sealed_blob(content) for content in writes.blobs],
            reads=tuple(writes.reads.items()),
        )

    def claim_changes(self, envelopes: Iterable[Envelope]) -> Iterator[ClaimChange]:
        """What facts give back and take, in order; a fact gives back before it takes."""
        for envelope in envelopes:
            owner = envelope.originator_id
            for claim in envelope.fact.releases():
                yield ClaimChange(claim.kind, self.claim_value(claim), owner, take=False)
            for claim in envelope.fact.claims():
                yield ClaimChange(claim.kind, self.claim_value(claim), owner, take=True)

    def _seal_private(self, envelopes: Sequence[Envelope]) -> list[ItemChange]:
        """Seal private texts; the items are the keys of subjects who had none yet."""
        privates = private_text.privates_of(envelopes)
        keys = self._vault.subject_keys({p.subject for p in privates})
        made = []
        for subject in {p.subject for p in privates if p.text is not None} - set(keys):
            keys[subject] = private_text.new_subject_key()
            put = VaultPut(kind=private_text.KIND, owner=subject, id="", value=keys[subject])
            made.append(self._vault.sealed(put, absent=True))
        private_text.seal_all(privates, keys)
        return made

    def open_private(self, envelopes: Sequence[Envelope]) -> None:
        privates = private_text.privates_of(envelopes)
        if privates:
            private_text.open_all(privates, self._vault.subject_keys({p.subject for p in privates}))

    def _rows(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        with reachable():
            return self.recorder.rows(query, params)

    def _reserve_seals(self, key_id: int, amount: int) -> int:
        rows = self._rows("SELECT log.reserve_seals(%b::int, %b::bigint)", (key_id, amount))
        return int(rows[0][0])


def _erased(erasures: Iterable[VaultErasure]) -> list[ItemChange]:
    return [ItemChange(e.kind, e.owner, e.id, None) for e in erasures]


def _appended(writes: Writes, first: int, last: int) -> Appended:
    topics = frozenset(type(envelope.fact).TOPIC for envelope in writes.envelopes)
    return Appended(first=first, last=last, topics=topics)
