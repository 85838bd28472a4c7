"""Watches what acknowledged means on the Redis at hand: its settings, replicas and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tracker.event_loop import EventLoop
from tracker.event_stream import EventStream, Log
from tracker.redis_link import RedisCalls, RedisLink
from tracker.resp import RedisError, Reply, pack_command

# What "answered means durable" rests on: each batch on the disk before its answer, also while the
# file is rewritten, and no key evicted.
DURABLE: Final[Mapping[str, str]] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
MEMORY_HIGH_PERCENT: Final = 80
"""From here on an operator is told: Redis refuses writes when its memory is full."""
_LOOK_SECONDS: Final = 10.0
_SETTINGS: Final = pack_command("CONFIG", "GET", *DURABLE)
_REPLICATION: Final = pack_command("INFO", "replication")
_MEMORY: Final = pack_command("INFO", "memory")


def weak_settings(calls: RedisCalls) -> list[str]:
    """`name should be value` for each setting that may lose what was acknowledged.

    Raises RedisError, OSError.
    """
    try:
        return _weaknesses(calls.call(_SETTINGS))
    except RedisError as fault:
        return _weaknesses(fault)


class RedisWatch:
    """Looks at each connection when it is up, and again every ten seconds.

    A server that is weaker than allowed is left at once, so nothing it took is acknowledged;
    a server with replicas makes the stream wait for one of them.
    """

    def __init__(
        self,
        loop: EventLoop,
        link: RedisLink,
        stream: EventStream,
        *,
        allow_weak: bool,
        log: Log,
    ) -> None:
        self._loop = loop
        self._link = link
        self._stream = stream
        self._allow_weak = allow_weak
        self._log = log
        self._next = 0.0
        self.memory_percent: int | None = None
        """Used memory of what the server or its host allows; None while not known."""
        loop.on_tick(self._tick)

    def link_up(self) -> None:
        """Ask before anything is written: replies come in the order of the questions."""
        if not self._allow_weak:
            self._link.request(_SETTINGS, self._got_settings)
        self._look()

    def _tick(self, now: float) -> None:
        if self._link.up and (now >= self._next or self._stream.short_of_copies):
            self._stream.short_of_copies = False
            self._look()

    def _look(self) -> None:
        self._next = self._loop.now + _LOOK_SECONDS
        self._link.request(_REPLICATION, _info(self._got_replication))
        self._link.request(_MEMORY, _info(self._got_memory))

    def _got_settings(self, reply: Reply) -> None:
        weak = _weaknesses(reply)
        if weak:
            self._log("redis.weak", settings=weak)
            self._link.drop("it may lose acknowledged announces")

    def _got_replication(self, info: Mapping[str, str]) -> None:
        found = min(1, _number(info, "connected_slaves"))
        if found != self._stream.replicas:
            self._stream.replicas = found
            self._log("redis.replicas", wait_for=found)

    def _got_memory(self, info: Mapping[str, str]) -> None:
        before, percent = self.memory_percent or 0, memory_percent(info)
        self.memory_percent = percent
        if percent is None:
            return
        if percent >= MEMORY_HIGH_PERCENT > before:
            self._log("redis.memory_high", percent=percent)
        elif before >= MEMORY_HIGH_PERCENT > percent:
            self._log("redis.memory_normal", percent=percent)


def memory_percent(info: Mapping[str, str]) -> int | None:
    """Used memory in percent of the limit: `maxmemory`, or the host's where that is less."""
    limits = [_number(info, name) for name in ("maxmemory", "total_system_memory")]
    given = [limit for limit in limits if limit > 0]
    return _number(info, "used_memory") * 100 // min(given) if given else None


def _weaknesses(reply: Reply) -> list[str]:
    """What differs; a server that hides its settings is taken for the worst."""
    words = reply if isinstance(reply, list) else []
    texts = [word.decode("utf-8", "replace") for word in words if isinstance(word, bytes)]
    found = dict(zip(texts[::2], texts[1::2], strict=False))
    return [
        f"{name} should be {value}" for name, value in DURABLE.items() if found.get(name) != value
    ]


def _info(use: Callable[[Mapping[str, str]], None]) -> Callable[[Reply], None]:
    """Read `name:value` lines; a reply that is none, as for a login that may not ask, is nothing."""

    def read(reply: Reply) -> None:
        if isinstance(reply, bytes):
            lines = reply.decode("utf-8", "replace").splitlines()
            use(dict(line.split(":", 1) for line in lines if ":" in line))

    return read


def _number(info: Mapping[str, str], name: str) -> int:
    value = info.get(name, "")
    return int(value) if value.isdigit() else 0
