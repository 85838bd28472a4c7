"""All swarms of a shard, and the wheel that finds silent peers without sweeping."""

from __future__ import annotations

from typing import Final, NamedTuple

from tracker.swarm import Peer, Swarm

_BUCKET: Final = 60


class Departed(NamedTuple):
    """A peer that left its swarm without saying so; its totals are those last seen."""

    torrent: int
    peer: Peer
    endpoints: list[bytes]


class Swarms:
    """Swarms by torrent number. Each stands in one bucket of the wheel: the minute in which
    its oldest peer can have been silent for too long. Only then is it looked at.
    """

    def __init__(self, life: int) -> None:
        """`life`: seconds of silence after which a peer is dropped."""
        self.life = life
        self.peers = 0
        self.by_torrent: dict[int, Swarm] = {}
        self._members: dict[int, int] = {}
        self._buckets: dict[int, list[Swarm]] = {}
        self._turn = 0

    def find(self, torrent: int) -> Swarm | None:
        """The swarm of a torrent; None while nobody announced it."""
        return self.by_torrent.get(torrent)

    def peers_of(self, account: int) -> int:
        """Peers a member has in all swarms of this shard."""
        return self._members.get(account, 0)

    def join(
        self, torrent: int, account: int, seat: int, peer_id: bytes, now: int
    ) -> tuple[Swarm, int]:
        """Give a client a free seat of a torrent; the answer is its swarm and its slot."""
        swarm = self.by_torrent.get(torrent)
        if swarm is None:
            swarm = self.by_torrent[torrent] = Swarm(torrent)
            self._plan(swarm, now + self.life, now)
        self.peers += 1
        self._members[account] = self._members.get(account, 0) + 1
        return swarm, swarm.add(account, seat, peer_id, now)

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

    def expire(self, now: int, limit: int) -> list[Departed]:
        """Drop up to `limit` peers silent for longer than a life; the rest waits for a next call.

        Several times `limit` swarms at most are looked at, so that no call takes long.
        """
        departed: list[Departed] = []
        present = now // _BUCKET
        if not self._turn:
            self._turn = min(self._buckets, default=present)
        looks = limit * 4
        while self._turn <= present and looks > 0 and len(departed) < limit:
            bucket = self._buckets.get(self._turn)
            if not bucket:
                self._buckets.pop(self._turn, None)
                if self._turn == present:
                    break
                self._turn += 1
                continue
            looks -= 1
            self._look(bucket.pop(), now, limit - len(departed), departed)
        return departed

    def _look(self, swarm: Swarm, now: int, limit: int, departed: list[Departed]) -> None:
        horizon = now - self.life
        if len(swarm) and min(swarm.seen) <= horizon:
            silent = [slot for slot, seen in enumerate(swarm.seen) if seen <= horizon][:limit]
            # From the highest slot down: a removal moves the last peer into the gap, which
            # leaves the slots below it as they were found.
            for slot in reversed(silent):
                departed.append(self.leave(swarm, slot))  # noqa: PERF401  each removal moves slots
        if len(swarm):
            self._plan(swarm, min(swarm.seen) + self.life, now)
        else:
            del self.by_torrent[swarm.torrent]

    def _plan(self, swarm: Swarm, due: int, now: int) -> None:
        """Look again in the minute after `due`, and never in one the wheel has passed."""
        minute = max(due // _BUCKET + 1, now // _BUCKET, self._turn)
        if due <= now:
            minute = max(now // _BUCKET, self._turn)
        self._buckets.setdefault(minute, []).append(swarm)
