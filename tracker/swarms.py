"""All swarms of a shard, and the wheel that finds silent peers without sweeping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tracker.peer_record import Peer
from tracker.swarm import Swarm

_BUCKET: Final = 60
_PIECE: Final = 1_024
LOOKED_AT_A_CALL: Final = 32_768
"""Peers looked at in one call; one takes about 40 ns."""
_LOOK_COST: Final = 64
"""A look at a swarm counts as that many peers at least, as it costs something itself."""
_DUMP_BYTES: Final = 1 << 20


class Departed(NamedTuple):
    """A peer that left its swarm without saying so; its totals are those last seen."""

    torrent: int
    peer: Peer
    endpoints: list[bytes]


class Swarms:
    """Swarms by torrent number. Each stands in one bucket of the wheel: the minute in which
    its oldest peer can have been silent for too long. Only then is it looked at, a large one
    piece by piece.
    """

    def __init__(self, life: int) -> None:
        """`life`: seconds of silence after which a peer is dropped."""
        self.life = life
        self.peers = 0
        self.looked_at = 0
        """Peers looked at for silence since the start."""
        self.by_torrent: dict[int, Swarm] = {}
        self._members: Counter[int] = Counter()
        self._buckets: dict[int, list[Swarm]] = {}
        self._turn = 0
        self._looking: Swarm | None = None
        self._below = 0

    def find(self, torrent: int) -> Swarm | None:
        """The swarm of a torrent; None while nobody announced it."""
        return self.by_torrent.get(torrent)

    def peers_of(self, account: int) -> int:
        """Peers a member has in all swarms of this shard."""
        return self._members.get(account, 0)

    def join(
        self,
        torrent: int,
        account: int,
        peer_id: bytes,
        now: int,
        *,
        endpoint: bytes,
        seeding: bool,
    ) -> tuple[Swarm, int]:
        """Take a client into the swarm of a torrent; the answer is its swarm and its slot.

        `update` must follow with what the announce tells besides.
        """
        swarm = self.by_torrent.get(torrent)
        if swarm is None:
            swarm = self.by_torrent[torrent] = Swarm(torrent)
            self._plan(swarm, now + self.life, now)
        self.peers += 1
        self._members[account] = self._members.get(account, 0) + 1
        return swarm, swarm.add(account, peer_id, now, endpoint=endpoint, seeding=seeding)

    def leave(self, swarm: Swarm, slot: int) -> Departed:
        """Take a peer out of its swarm."""
        departed = Departed(swarm.torrent, swarm.peer(slot), swarm.endpoints(slot))
        swarm.remove(slot)
        self.peers -= 1
        account = departed.peer.account
        left = self._members[account] - 1
        if left:
            self._members[account] = left
        else:
            del self._members[account]
        return departed

    def dump_chunks(self) -> Iterator[bytes]:
        """All swarms as chunks of about 1 MiB that `load_chunk` reads, in any order."""
        chunk: list[bytes] = []
        length = 0
        for swarm in self.by_torrent.values():
            if swarm.size:
                dumped = swarm.dump()
                chunk.append(dumped)
                length += len(dumped)
            if length >= _DUMP_BYTES:
                yield b"".join(chunk)
                chunk, length = [], 0
        if chunk:
            yield b"".join(chunk)

    def load_chunk(self, chunk: bytes, now: int, owns: Callable[[int], bool] | None = None) -> int:
        """Take in dumped swarms of torrents that have none yet; the answer is the chunk's peers.

        `now` in seconds; `owns` tells by a torrent's number whose swarms are passed over. Raises
        ValueError where the bytes are no such chunk; what was taken in then is worth nothing.
        """
        loaded = at = 0
        view = memoryview(chunk)
        end = len(view)
        life, by_torrent = self.life, self.by_torrent
        accounts: list[int] = []
        while at < end:
            swarm, at = Swarm.load(view, at)
            torrent, size = swarm.torrent, swarm.size
            loaded += size
            if owns is not None and not owns(torrent):
                continue
            if torrent in by_torrent:
                raise ValueError("a swarm is dumped twice")
            by_torrent[torrent] = swarm
            accounts += swarm.accounts()
            seen = swarm.seen_between(0, size)
            self._plan(swarm, (min(seen) if seen else now) + life, now)
        self._members.update(accounts)
        self.peers += len(accounts)
        return loaded

    def expire(self, now: int, limit: int) -> list[Departed]:
        """Drop up to `limit` peers silent for longer than a life; the rest waits for a next call.

        A bounded number of peers is looked at, so that no call takes long.
        """
        departed: list[Departed] = []
        spare = LOOKED_AT_A_CALL
        while spare > 0 and len(departed) < limit:
            swarm = self._looking or self._next_due(now)
            if swarm is None:
                break
            self._looking = swarm
            spare -= self._look(swarm, now, limit - len(departed), departed)
        return departed

    def _next_due(self, now: int) -> Swarm | None:
        """A swarm out of the buckets up to the present minute."""
        present = now // _BUCKET
        while True:
            bucket = self._buckets.get(self._turn)
            if bucket and self._turn <= present:
                swarm = bucket.pop()
                swarm.oldest = now
                self._below = swarm.size
                return swarm
            if not bucket:
                self._buckets.pop(self._turn, None)
            # Straight to the next bucket in use: the clock may have gone forward by years.
            following = min(self._buckets, default=present)
            if self._turn >= present or following > present:
                self._turn = max(self._turn, present)
                return None
            self._turn = following

    def _look(self, swarm: Swarm, now: int, limit: int, departed: list[Departed]) -> int:
        """Look at the next piece of a swarm, from the top down; the answer is its cost in peers.

        Removals bring peers from above down into the gap, where they were looked at before.
        Who is brought up meanwhile shows in `oldest`.
        """
        horizon = now - self.life
        below = min(self._below, swarm.size)
        start = max(0, below - _PIECE)
        seen = swarm.seen_between(start, below)
        oldest = min(seen, default=now)
        ended = True
        if oldest <= horizon:
            silent = [start + place for place, last in enumerate(seen) if last <= horizon]
            ended = len(silent) <= limit
            for slot in reversed(silent[-limit:]):
                departed.append(self.leave(swarm, slot))  # noqa: PERF401  each removal moves slots
            oldest = min((last for last in seen if last > horizon), default=now)
        if ended:
            swarm.oldest = min(swarm.oldest, oldest)
            self._below = start
            if not start:
                self._put_back(swarm, now)
        self.looked_at += below - start
        return max(below - start, _LOOK_COST)

    def _put_back(self, swarm: Swarm, now: int) -> None:
        self._looking = None
        if swarm.size:
            self._plan(swarm, swarm.oldest + self.life, now)
        else:
            del self.by_torrent[swarm.torrent]

    def _plan(self, swarm: Swarm, due: int, now: int) -> None:
        """Look again in the minute after `due`, and never in one the wheel has passed."""
        minute = max(due // _BUCKET + 1, now // _BUCKET, self._turn)
        if due <= now:
            minute = max(now // _BUCKET, self._turn)
        self._buckets.setdefault(minute, []).append(swarm)
