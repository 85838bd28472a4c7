"""The layouts of the tracker's streams, from the reader's side: which there are, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import redis

from interfaces.workers.peer_stream import PeerStream
from tracker import wire


class StreamLayouts(Protocol):
    """What a credit worker reads: groups of streams, each to its end before the next."""

    def groups(self) -> Sequence[Sequence[PeerStream]]:
        """The streams of each layout, oldest first; only the last one still grows."""
        ...

    def retire(self, streams: Sequence[PeerStream]) -> None:
        """Forget an older layout, of which nothing is needed any more."""
        ...


class RedisLayouts:
    """Layouts as the trackers listed them in Redis.

    A tracker closes the streams of the old layout before it lists the new one, so whoever sees
    a newer layout can read the older ones to their end, and no record of theirs comes later.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def groups(self) -> list[list[PeerStream]]:
        found: Any = self._client.hgetall(wire.LAYOUTS)
        layouts = sorted((int(number), int(shards)) for number, shards in found.items())
        return [
            [PeerStream(self._client, number, shard) for shard in range(shards)]
            for number, shards in layouts
        ]

    def retire(self, streams: Sequence[PeerStream]) -> None:
        for number in {stream.layout for stream in streams}:
            self._client.hdel(wire.LAYOUTS, str(number))
        for stream in streams:
            stream.remove()
