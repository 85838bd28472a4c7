"""Presence: when and where members were last seen. Telemetry, never a fact (design, section 3)."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from application.ports import Clock, EventLogPort
from domain.errors import Unavailable

PRESENCE_KIND: Final = "presence"
PRESENCE_ID: Final = "last"
"""Where the vault keeps it: one sealed value a member, replaced."""
TOUCH_EVERY: Final = timedelta(seconds=60)
"""A member is noted at most this often by one process, however much he asks."""
PUSH_SECONDS: Final = 1.0
_MOST_KNOWN: Final = 50_000
_HASH_DIGITS: Final = 12


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A member's last request: its time, and where from; None when nobody knows."""

    at: datetime
    address: str | None = None


class PresenceStore(Protocol):
    """What all processes note together. Raises `Unavailable` when it is out of reach."""

    def note(self, seen: Mapping[UUID, Seen]) -> None:
        """Note these; an older time than the one noted changes nothing."""
        ...

    def last(self, accounts: Iterable[UUID]) -> Mapping[UUID, Seen]:
        """What is noted of these; who was not seen lately is left out."""
        ...

    def count_since(self, at: datetime) -> int:
        """How many members were seen since; right up to a day back."""
        ...


class Presence:
    """Notes who is there without making a request wait for it, and tells who was.

    `touch` only remembers; `run` sends what was remembered on, once a second, in one round trip.
    """

    def __init__(self, log: EventLogPort, store: PresenceStore, *, clock: Clock) -> None:
        self._log = log
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[UUID, Seen] = {}
        self._pending: dict[UUID, Seen] = {}
        self.failures = 0
        """Times the store was out of reach; what was to be noted is noted later."""

    def touch(self, account: UUID, address: str | None) -> None:
        """Note that the member is there now; nothing when that was noted within a minute."""
        now = self._clock()
        with self._lock:
            known = self._known.get(account)
            if known is not None and timedelta(0) <= now - known.at < TOUCH_EVERY:
                return
            self._remember(account, Seen(at=now, address=address))

    def arrived(self, account: UUID, address: str | None) -> None:
        """Note that the member signed in now, also within a minute: perhaps from elsewhere."""
        with self._lock:
            self._remember(account, Seen(at=self._clock(), address=address))

    def _remember(self, account: UUID, seen: Seen) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[account] = seen
        self._pending[account] = seen

    def push(self) -> None:
        """Send on what is noted here; kept for the next time where the store is away."""
        with self._lock:
            pending, self._pending = self._pending, {}
        if not pending:
            return
        try:
            self._store.note(pending)
        except Unavailable:
            self.failures += 1
            with self._lock:
                kept = {**pending, **self._pending}
                self._pending = kept if len(kept) <= _MOST_KNOWN else {}

    def run(self, stop: threading.Event) -> None:
        """Push each second until `stop` is set, and once more then."""
        ended = False
        while not ended:
            ended = stop.wait(PUSH_SECONDS)
            try:
                self.push()
            except Exception as failure:  # noqa: BLE001 (presence must not end for a fault)
                self.failures += 1
                structlog.get_logger("presence").warning(
                    "presence.push_failed", error=type(failure).__name__
                )

    def last(self, account: UUID) -> Seen | None:
        """When the member was last here, None when he never was."""
        return self.last_of({account}).get(account)

    def last_of(self, accounts: Set[UUID]) -> dict[UUID, Seen]:
        """When each was last here: from the store, from the vault whom that does not know."""
        found = {account: seen for account in accounts if (seen := self._known.get(account))}
        try:
            noted = dict(self._store.last(accounts))
        except Unavailable:
            noted = {}
        absent = accounts - noted.keys()
        return _newest(found, noted, kept_presence(self._log, absent))

    def count_since(self, at: datetime) -> int | None:
        """How many members were here since, within the last day; None when nobody can say."""
        try:
            self.push()
            return self._store.count_since(at)
        except Unavailable:
            return None


class AddressMask:
    """Says whether two members came from one address, without saying from which."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def hash(self, address: str) -> str:
        """12 hex digits of a keyed hash: equal for equal addresses."""
        told = b"last address:" + address.encode()
        return hmac.new(self._key, told, sha256).hexdigest()[:_HASH_DIGITS]


def kept_presence(log: EventLogPort, accounts: Set[UUID]) -> dict[UUID, Seen]:
    """What the vault keeps of these members; a minute old at most, while there is a scheduler."""
    values = log.vault_many(PRESENCE_KIND, accounts, PRESENCE_ID)
    return {account: msgspec.json.decode(value, type=Seen) for account, value in values.items()}


def _newest(*sources: Mapping[UUID, Seen]) -> dict[UUID, Seen]:
    newest: dict[UUID, Seen] = {}
    for source in sources:
        for account, seen in source.items():
            known = newest.get(account)
            if known is None or seen.at > known.at:
                newest[account] = seen
    return newest
