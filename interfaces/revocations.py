"""Revocations: every api process asks anew who may do what, before the change is answered."""

from __future__ import annotations

import threading
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
"""Seconds the answer waits for each process to have heard; what it believes lasts a second."""
_HEARD_LIFE: Final = 5
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


class Revocations:
    """Tells all api processes to believe nothing they remember of sessions.

    One word for everybody: a process then reads each session once, as it would within the second
    anyway. With Redis away that second is all there is, and nobody is refused for it.
    """

    def __init__(self, redis: Redis, entropy: Entropy) -> None:
        self._redis = redis
        self._entropy = entropy
        self.failures = 0
        """Times not every process was known to have heard."""

    def announce(self) -> bool:
        """Tell them, and wait until each has heard; whether all did in time."""
        word = self._entropy.token(16).hex()
        try:
            listeners = int(self._redis.publish(CHANNEL, word))
            heard = sum(
                self._redis.blpop([_HEARD + word], timeout=PATIENCE) is not None
                for _ in range(listeners)
            )
        except RedisError as fault:
            self._missed(type(fault).__name__)
            return False
        if heard < listeners:
            self._missed("unheard")
        return heard == listeners

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
    """After a commit that takes a right from somebody: tell every api process, then go on."""

    def __init__(self, then: AfterCommit, revocations: Revocations) -> None:
        self._then = then
        self._revocations = revocations

    def __call__(self, appended: Appended) -> tuple[str, ...]:
        """Names of read models still behind."""
        if appended.topics & REVOKING:
            self._revocations.announce()
        return self._then(appended)
