"""Envelopes ↔ stored events: the plain body is hashed for the chain, then sealed."""

from __future__ import annotations

import hashlib
import secrets
import struct
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent

from application.store.sealing import Sealer
from application.store.topics import TopicRegistry, encode_body
from domain.kernel import Envelope

SALT_SIZE: Final = 16
_PLACE: Final = struct.Struct(">16sq")


@dataclass(frozen=True)
class CommittedEvent(StoredEvent):
    """A stored event with the hash of its plain body, which goes into the chain."""

    commit: bytes


def commit_of(event: StoredEvent) -> bytes:
    """The commitment of an event: of its plain body, or of a state that never had one."""
    if isinstance(event, CommittedEvent):
        return event.commit
    return hashlib.sha256(event.state).digest()


def event_place(originator_id: UUID, version: int, topic: str) -> bytes:
    """What a sealed body is bound to."""
    return b"event:" + _PLACE.pack(originator_id.bytes, version) + topic.encode()


class EnvelopeMapper(Mapper[UUID]):
    """The library's mapper for our envelopes.

    A body is `{"fact", "meta", "salt"}` as deterministic JSON. The salt keeps anyone who
    holds only hashes from guessing the body.
    """

    def __init__(self, registry: TopicRegistry, sealer: Sealer) -> None:
        self.registry = registry
        self.sealer = sealer
        self.compressor = None
        self.cipher = None

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> CommittedEvent:
        """Raises `BadFact` for an unregistered fact, `ValueError` for a time not in UTC."""
        envelope: Any = domain_event
        meta, fact = envelope.meta, envelope.fact
        topic = self.registry.check(fact)
        if meta.at.utcoffset() != timedelta(0):
            raise ValueError("the time of a fact must be aware and in UTC")
        plain = encode_body(secrets.token_bytes(SALT_SIZE), meta, fact)
        place = event_place(envelope.originator_id, envelope.originator_version, topic)
        return CommittedEvent(
            originator_id=envelope.originator_id,
            originator_version=envelope.originator_version,
            topic=topic,
            state=self.sealer.seal(plain, place),
            commit=hashlib.sha256(plain).digest(),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        originator_id = stored_event.originator_id
        if not isinstance(originator_id, UUID):
            raise TypeError("aggregates of this log have UUIDs")
        return self.envelope(
            originator_id, stored_event.originator_version, stored_event.topic, stored_event.state
        )

    def plain(self, originator_id: UUID, version: int, topic: str, state: bytes) -> bytes:
        """The plain body; raises `SealBroken`."""
        return self.sealer.open(state, event_place(originator_id, version, topic))

    def envelope(self, originator_id: UUID, version: int, topic: str, state: bytes) -> Envelope:
        """Raises `SealBroken`, `UnknownTopic`, or msgspec's `ValidationError`."""
        body = self.registry.decode(topic, self.plain(originator_id, version, topic, state))
        return Envelope(
            originator_id=originator_id,
            originator_version=version,
            meta=body.meta,
            fact=body.fact,
        )
