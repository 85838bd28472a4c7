"""Revocations: every api process asks anew who may do what, before the change is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from redis import Redis, RedisError

from application.ports import AfterCommit, Appended, Entropy
from application.sessions import Sessions
from domain.account_bans import AccountBanned
from domain.factors import SecurityKeyRegistered, SecurityKeyRemoved, TotpDisabled, TotpEnabled
from domain.roles import RoleEdited, RoleRemoved
from domain.sessions import SessionClosed
from domain.site import SiteSettingsChanged
from domain.users import AccountPasswordChanged, AccountRoleGranted, AccountRoleWithdrawn

CHANNEL: Final = "sessions:revoked"
_HEARD: Final = "sessions:heard:"
PATIENCE: Final = 0.25
"""Seconds the answer waits, at most, for all processes to have heard, however many there are;
what one of them believes lasts a second."""
_SHORTEST: Final = 0.001
"""Seconds; to Redis a wait of 0 is one without end."""
_HEARD_LIFE: Final = 30
"""Seconds; longer than the read models take to step between the telling and the waiting."""
_LISTEN_SECONDS: Final = 0.3
_PAUSE: Final = 0.5
REVOKING: Final[frozenset[str]] = frozenset(
    fact.TOPIC
    for fact in (
        AccountBanned,
        AccountPasswordChanged,
        AccountRoleGranted,
        AccountRoleWithdrawn,
        RoleEdited,
        RoleRemoved,
        SecurityKeyRegistered,
        SecurityKeyRemoved,
        SessionClosed,
        SiteSettingsChanged,
        TotpDisabled,
        TotpEnabled,
    )
)
"""Topics of facts after which a session may do less, or other things, than before."""


@dataclass(frozen=True)
class Told:
    """A word that was told, and how many processes listened."""

    word: str
    listeners: int


class Revocations:
    """Tells all api processes to believe nothing they remember of sessions.

    One word for everybody: a process then reads each session once, as it would within the second
    anyway. With Redis away that second is all there is, and nobody is refused for it.
    """

    def __init__(
        self, redis: Redis, entropy: Entropy, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._entropy = entropy
        self._monotonic = monotonic
        self.failures = 0
        """Times not every process was known to have heard."""

    def announce(self) -> bool:
        """Tell them, and wait until each has heard; whether all did in time."""
        told = self.tell()
        return told is not None and self.await_heard(told)

    def tell(self) -> Told | None:
        """Tell them; None where Redis is away, which is counted."""
        word = self._entropy.token(16).hex()
        try:
            return Told(word, int(self._redis.publish(CHANNEL, word)))
        except RedisError as fault:
            self._missed(type(fault).__name__)
            return None

    def await_heard(self, told: Told) -> bool:
        """Wait until each has heard, `PATIENCE` for all of them; whether all did.

        The first that is not heard of ends the waiting: the others would find no time either.
        """
        deadline = self._monotonic() + PATIENCE
        try:
            for _ in range(told.listeners):
                left = max(deadline - self._monotonic(), _SHORTEST)
                if self._redis.blpop([_HEARD + told.word], timeout=left) is None:
                    self._missed("unheard")
                    return False
        except RedisError as fault:
            self._missed(type(fault).__name__)
            return False
        return True

    def _missed(self, fault: str) -> None:
        self.failures += 1
        structlog.get_logger("sessions").warning("sessions.revocation_unheard", fault=fault)


class RevocationListener:
    """Hears what `Revocations` tell, in each api process, and forgets what `sessions` remembers."""

    def __init__(self, redis: Redis, sessions: Sessions) -> None:
        self._redis = redis
        self._sessions = sessions
        self.listening = threading.Event()
        """Set while it would hear."""

    def run(self, stop: threading.Event) -> None:
        """Listen until `stop` is set; after a fault of Redis begin again."""
        while not stop.is_set():
            try:
                self._listen(stop)
            except RedisError as fault:
                structlog.get_logger("sessions").warning(
                    "sessions.listening_failed", fault=type(fault).__name__
                )
                stop.wait(_PAUSE)
            finally:
                self.listening.clear()

    def _listen(self, stop: threading.Event) -> None:
        with self._redis.pubsub() as told:  # type: ignore[no-untyped-call]
            told.subscribe(CHANNEL)
            while not stop.is_set():
                message = told.get_message(timeout=_LISTEN_SECONDS)
                if message is None:
                    continue
                # Also once it is subscribed: what was told before that was not heard.
                self._sessions.forget_all()
                if message["type"] == "subscribe":
                    self.listening.set()
                elif message["type"] == "message":
                    self._confirm(message["data"])

    def _confirm(self, word: bytes | str) -> None:
        key = _HEARD + (word.decode() if isinstance(word, bytes) else word)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.rpush(key, 1)
            pipe.expire(key, _HEARD_LIFE)
            pipe.execute()


class RevokeAfterCommit:
    """After a commit that takes a right from somebody: tell every api process, and have each hear.

    They hear while the read models step and trackers are told, so that a process that does not
    answer keeps nobody's key working.
    """

    def __init__(self, then: AfterCommit, revocations: Revocations) -> None:
        self._then = then
        self._revocations = revocations

    def __call__(self, appended: Appended) -> tuple[str, ...]:
        """Names of read models still behind."""
        if not appended.topics & REVOKING:
            return self._then(appended)
        told = self._revocations.tell()
        try:
            return self._then(appended)
        finally:
            if told is not None:
                self._revocations.await_heard(told)
