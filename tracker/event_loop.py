"""The one loop of a shard: epoll, handlers by descriptor, and a regular tick."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Final

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
EXCLUSIVE: Final = select.EPOLLEXCLUSIVE
"""Of several processes that wait for one socket only some are woken; not for `change`."""
Handler = Callable[[int, int], None]
"""Called with the descriptor and the epoll event bits."""

_TICK: Final = 0.05
_EVENTS_A_ROUND: Final = 512


class EventLoop:
    """Level-triggered epoll. Handlers run to their end; nothing here blocks but the wait."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._after_round: list[Callable[[], None]] = []
        self._on_tick: list[Callable[[float], None]] = []
        self._monotonic = monotonic
        self._next_tick = 0.0
        self.now = monotonic()
        """Monotonic seconds, read once a round."""

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call `handler` for `events` on a descriptor that is not watched yet."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events on a watched descriptor."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Stop watching; must come before the descriptor is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def after_round(self, call: Callable[[], None]) -> None:
        """Call once after each round of events: the place to send what was gathered."""
        self._after_round.append(call)

    def on_tick(self, call: Callable[[float], None]) -> None:
        """Call about 20 times a second with the monotonic time."""
        self._on_tick.append(call)

    def run_round(self) -> None:
        """Wait for events (50 ms at most), handle them, then what comes after a round."""
        events = self._epoll.poll(_TICK, _EVENTS_A_ROUND)
        self.now = now = self._monotonic()
        handlers = self._handlers
        for descriptor, bits in events:
            # An earlier handler of this round may have closed it.
            handler = handlers.get(descriptor)
            if handler is not None:
                handler(descriptor, bits)
        if now >= self._next_tick:
            self._next_tick = now + _TICK
            for tick in self._on_tick:
                tick(now)
        for call in self._after_round:
            call()

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._handlers.clear()
        self._epoll.close()
