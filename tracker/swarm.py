"""One torrent's peers, and which of them an asker is told of.

A client is one peer, known by account and peer id, whichever family it announces from.
"""

from __future__ import annotations

from typing import NamedTuple

from tracker.peer_block import PeerBlock
from tracker.peer_record import SEEDING
from tracker.peer_ring import NO_SPOT, spans
from tracker.protocol.bencode import V4_SIZE, ListedPeer


class _Shares(NamedTuple):
    """How many endpoints an asker gets of each side and family, and his own places there."""

    seeders4: int
    leechers4: int
    seeders6: int
    leechers6: int
    skip4: int
    skip6: int


class Swarm(PeerBlock):
    """The peers of one torrent. Slots are places in memory and move with every change.

    A seeder gets leechers. A leecher gets as many leechers as seeders where both are plenty,
    as leechers must find each other too. `roll` in [0, 1) is the random offset of a choice.
    """

    __slots__ = ()

    @property
    def leechers(self) -> int:
        """Peers that are not complete."""
        return self.size - self.seeders

    def choose(self, slot: int, want: int, roll: float) -> tuple[bytes, bytes]:
        """Compact IPv4 and IPv6 peers for the peer in `slot`, together up to `want`."""
        if self._leechers6 is None and self._seeders6 is None:
            return self.choose4(slot, want, roll), b""
        shares = self._shares(slot, want)
        seeders, end = self._seeders4, self._with4
        peers4 = self._part4(0, seeders, shares.seeders4, NO_SPOT, roll)
        peers4 += self._part4(seeders, end, shares.leechers4, shares.skip4, roll)
        peers6 = b""
        if self._seeders6 is not None:
            peers6 = self._seeders6.choose(shares.seeders6, NO_SPOT, roll)
        if self._leechers6 is not None:
            peers6 += self._leechers6.choose(shares.leechers6, shares.skip6, roll)
        return peers4, peers6

    def choose4(self, slot: int, want: int, roll: float) -> bytes:
        """`choose` from IPv4 alone, for a peer that has an IPv4 endpoint."""
        seeders, end = self._seeders4, self._with4
        if slot < seeders:
            return self._part4(seeders, end, want, NO_SPOT, roll)
        if end <= want:
            return self._part4(0, end, want, slot, roll)
        leeching, seeding = _split(end - seeders - 1, seeders, want)
        chosen = self._part4(seeders, end, leeching, slot - seeders, roll)
        return chosen + self._part4(0, seeders, seeding, NO_SPOT, roll) if seeding else chosen

    def choose6(self, slot: int, want: int, roll: float) -> bytes:
        """`choose` from IPv6 alone, for a peer that has an IPv6 endpoint."""
        seeders, leechers = self._seeders6, self._leechers6
        leeching, seeding, skip = want, 0, NO_SPOT
        if not self._flags(slot) & SEEDING:
            skip = self._spot6(slot)
            leeching, seeding = _split(len(leechers or ()) - 1, len(seeders or ()), want)
        chosen = leechers.choose(leeching, skip, roll) if leechers is not None else b""
        if seeders is not None and seeding:
            chosen += seeders.choose(seeding, NO_SPOT, roll)
        return chosen

    def choose_listed(self, slot: int, want: int, roll: float) -> list[ListedPeer]:
        """The same choice as `choose` with peer ids, for a dictionary reply."""
        shares = self._shares(slot, want)
        seeders, size = self._seeders4, self._with4 - self._seeders4
        chosen: list[ListedPeer] = []
        for first, row, take, skip in (
            (0, seeders, shares.seeders4, NO_SPOT),
            (seeders, size, shares.leechers4, shares.skip4),
        ):
            for start, stop in spans(row, take, skip, roll):
                chosen += [
                    ListedPeer(self.peer(place).peer_id, self._endpoint4(place))
                    for place in range(first + start, first + stop)
                ]
        for ring, take, skip in (
            (self._seeders6, shares.seeders6, NO_SPOT),
            (self._leechers6, shares.leechers6, shares.skip6),
        ):
            if ring is None:
                continue
            for start, stop in spans(len(ring), take, skip, roll):
                for spot in range(start, stop):
                    peer_id = self.peer(ring.owners[spot]).peer_id
                    chosen.append(ListedPeer(peer_id, ring.at(spot)))
        return chosen

    def _part4(self, first: int, end: int, want: int, skip: int, roll: float) -> bytes:
        """Up to `want` IPv4 endpoints of the slots from `first` to before `end`.

        `skip` is the slot to leave out, counted from `first`. As `spans`, but nearly always
        one slice of memory, or two around `skip`.
        """
        size = end - first
        others = size - (skip < size)
        start = 0 if want >= others else int(roll * others)
        stop = start + want if want < others else others
        block, base = self._block, self._room + first * V4_SIZE
        if stop > others:
            parts = [
                block[base + begin * V4_SIZE : base + last * V4_SIZE]
                for begin, last in spans(size, want, skip, roll)
            ]
            return b"".join(parts)
        if stop > skip:
            gap = base + skip * V4_SIZE
            last = base + (stop + 1) * V4_SIZE
            if start < skip:
                return bytes(block[base + start * V4_SIZE : gap] + block[gap + V4_SIZE : last])
            return bytes(block[base + (start + 1) * V4_SIZE : last])
        return bytes(block[base + start * V4_SIZE : base + stop * V4_SIZE])

    def _shares(self, slot: int, want: int) -> _Shares:
        """Counted in endpoints, as a peer with two families is offered under both."""
        seeders4, leechers4 = self._seeders4, self._with4 - self._seeders4
        seeders6, leechers6 = len(self._seeders6 or ()), len(self._leechers6 or ())
        if self._flags(slot) & SEEDING:
            take4, take6 = _split(leechers4, leechers6, want)
            return _Shares(0, take4, 0, take6, NO_SPOT, NO_SPOT)
        skip4 = slot - seeders4 if slot < self._with4 else NO_SPOT
        skip6 = self._spot6(slot)
        others4 = leechers4 - (skip4 != NO_SPOT)
        others6 = leechers6 - (skip6 != NO_SPOT)
        leeching, seeding = _split(others4 + others6, seeders4 + seeders6, want)
        of_seeders4, of_seeders6 = _split(seeders4, seeders6, seeding)
        of_leechers4, of_leechers6 = _split(others4, others6, leeching)
        return _Shares(of_seeders4, of_leechers4, of_seeders6, of_leechers6, skip4, skip6)


def _split(first: int, second: int, want: int) -> tuple[int, int]:
    """Split `want` between two supplies: half each, the odd one to the first, gaps filled."""
    take_second = min(second, want - min(first, (want + 1) // 2))
    return min(first, want - take_second), take_second
