"""One torrent's peers, and which of them an asker is told of.

A client is one peer, known by account and peer id, whichever family it announces from.
"""

from __future__ import annotations

from typing import NamedTuple

from tracker.peer_block import PeerBlock
from tracker.peer_record import SEEDING
from tracker.peer_ring import NO_SPOT, PeerRing, slices, spans
from tracker.protocol.bencode import V4_SIZE, V6_SIZE, ListedPeer


class _Row(NamedTuple):
    """The endpoints of one side and family: `size` of them from byte `at` of a buffer.

    The peer at a spot is in slot `first` + spot, or with `owners` in the slot they name.
    `skip` is the asker's own spot, or -1.
    """

    endpoints: bytearray
    at: int
    width: int
    size: int
    skip: int
    first: int = 0
    owners: PeerRing | None = None

    @property
    def supply(self) -> int:
        """How many the asker can be told of."""
        return self.size - (self.skip >= 0)


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
            return self._choose4(slot, want, roll), b""
        peers4 = peers6 = b""
        for row, take in self._shares(slot, want):
            chosen = slices(
                row.endpoints,
                row.at,
                width=row.width,
                size=row.size,
                want=take,
                skip=row.skip,
                roll=roll,
            )
            if row.width == V4_SIZE:
                peers4 += chosen
            else:
                peers6 += chosen
        return peers4, peers6

    def choose_of(self, width: int, slot: int, want: int, roll: float) -> bytes:
        """`choose` from one family, that of the asker's own endpoint; V4_SIZE or V6_SIZE."""
        if width == V4_SIZE:
            return self._choose4(slot, want, roll)
        return self._choose6(slot, want, roll)

    def choose_listed(self, slot: int, want: int, roll: float) -> list[ListedPeer]:
        """The same choice as `choose` with peer ids, for a dictionary reply."""
        chosen: list[ListedPeer] = []
        for row, take in self._shares(slot, want):
            for first, stop in spans(row.size, take, row.skip, roll):
                for spot in range(first, stop):
                    owner = row.owners.owners[spot] if row.owners is not None else row.first + spot
                    start = row.at + spot * row.width
                    endpoint = bytes(row.endpoints[start : start + row.width])
                    chosen.append(ListedPeer(self.peer(owner).peer_id, endpoint))
        return chosen

    def _choose4(self, slot: int, want: int, roll: float) -> bytes:
        block, room = self._block, self._room
        seeders, end = self._seeders4, self._with4
        own = slot < end
        middle = room + seeders * V4_SIZE
        if slot < seeders or (not own and self._flags(slot) & SEEDING):
            return slices(
                block, middle, width=V4_SIZE, size=end - seeders, want=want, skip=-1, roll=roll
            )
        if end - own <= want:
            if not own:
                return bytes(block[room : room + end * V4_SIZE])
            at = room + slot * V4_SIZE
            return bytes(block[room:at] + block[at + V4_SIZE : room + end * V4_SIZE])
        leeching, seeding = _split(end - seeders - own, seeders, want)
        chosen = slices(
            block,
            middle,
            width=V4_SIZE,
            size=end - seeders,
            want=leeching,
            skip=slot - seeders if own else -1,
            roll=roll,
        )
        if not seeding:
            return chosen
        return chosen + slices(
            block, room, width=V4_SIZE, size=seeders, want=seeding, skip=-1, roll=roll
        )

    def _choose6(self, slot: int, want: int, roll: float) -> bytes:
        seeders, leechers = self._rows6(slot)
        if self._flags(slot) & SEEDING:
            shares = [(leechers, min(want, leechers.size))]
        else:
            leeching, seeding = _split(leechers.supply, seeders.size, want)
            shares = [(seeders, seeding), (leechers, leeching)]
        return b"".join(
            [
                slices(
                    row.endpoints,
                    0,
                    width=V6_SIZE,
                    size=row.size,
                    want=take,
                    skip=row.skip,
                    roll=roll,
                )
                for row, take in shares
                if take > 0
            ]
        )

    def _shares(self, slot: int, want: int) -> list[tuple[_Row, int]]:
        """From which row how many; counted in endpoints, as who has two is offered under both."""
        seeders4, leechers4 = self._rows4(slot)
        seeders6, leechers6 = self._rows6(slot)
        if self._flags(slot) & SEEDING:
            return _share(leechers4, leechers6, want)
        leeching, seeding = _split(
            leechers4.supply + leechers6.supply, seeders4.size + seeders6.size, want
        )
        return _share(seeders4, seeders6, seeding) + _share(leechers4, leechers6, leeching)

    def _rows4(self, slot: int) -> tuple[_Row, _Row]:
        block, room = self._block, self._room
        seeders, end = self._seeders4, self._with4
        skip = slot - seeders if seeders <= slot < end else -1
        middle = room + seeders * V4_SIZE
        return (
            _Row(block, room, V4_SIZE, seeders, -1),
            _Row(block, middle, V4_SIZE, end - seeders, skip, seeders),
        )

    def _rows6(self, slot: int) -> tuple[_Row, _Row]:
        seeders = self._seeders6 or PeerRing()
        leechers = self._leechers6 or PeerRing()
        spot = self._spot6(slot)
        skip = -1 if spot == NO_SPOT or self._flags(slot) & SEEDING else spot
        return (
            _Row(seeders.endpoints, 0, V6_SIZE, len(seeders), -1, 0, seeders),
            _Row(leechers.endpoints, 0, V6_SIZE, len(leechers), skip, 0, leechers),
        )


def _split(first: int, second: int, want: int) -> tuple[int, int]:
    """Split `want` between two supplies: half each, the odd one to the first, gaps filled."""
    take_second = min(second, want - min(first, (want + 1) // 2))
    return min(first, want - take_second), take_second


def _share(row4: _Row, row6: _Row, want: int) -> list[tuple[_Row, int]]:
    """Half from each family of one side; what one family cannot fill is the other's."""
    take4, take6 = _split(row4.supply, row6.supply, want)
    return [(row, take) for row, take in ((row4, take4), (row6, take6)) if take > 0]
