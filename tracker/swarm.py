"""One torrent's peers: fixed records, compact endpoints per side and family, swap-remove.

A client is one peer, known by account and peer id, whichever family it announces from. Its
record stays in one slot of a contiguous block; its endpoints stand in the rings of its side.
The index key is account and seat, so that the few clients of a member are found and counted
without another table, and no two can collide.
"""

from __future__ import annotations

import struct
from array import array
from typing import Final, NamedTuple

from tracker.peer_ring import NO_SPOT, PeerRing
from tracker.protocol.bencode import V4_SIZE, V6_SIZE, ListedPeer

SEAT_BITS: Final = 3
_SEATS: Final = range(1 << SEAT_BITS)

# peer id, account, seat, flags, interval, key, up, down, left, IPv4 spot, IPv6 spot
_PEER: Final = struct.Struct("<20sIBBHIQQQII")
_PEER_SIZE: Final = 64
_SPOT: Final = struct.Struct("<I")
_FLAGS_AT: Final = 25
_SPOT4_AT: Final = 56
_SPOT6_AT: Final = 60
if _PEER.size != _PEER_SIZE:
    raise AssertionError("a peer's record is 64 bytes")

_SEEDING: Final = 1
_UDP: Final = 2


class Peer(NamedTuple):
    """A peer's record; totals in bytes as last seen, `interval` in seconds as promised."""

    peer_id: bytes
    account: int
    seat: int
    flags: int
    interval: int
    key: int
    up: int
    down: int
    left: int
    spot4: int
    spot6: int

    @property
    def by_udp(self) -> bool:
        """Whether its last announce came over UDP."""
        return bool(self.flags & _UDP)


class Swarm:
    """The peers of one torrent. Slots are places in the records block and move on removal."""

    __slots__ = (
        "_index",
        "_leechers4",
        "_leechers6",
        "_records",
        "_seeders4",
        "_seeders6",
        "seeders",
        "seen",
        "torrent",
    )

    def __init__(self, torrent: int) -> None:
        self.torrent = torrent
        self.seeders = 0
        self.seen = array("I")
        """Second of the last announce, by slot; a column of its own, so it scans fast."""
        self._index: dict[int, int] = {}
        self._records = bytearray()
        # Most swarms see one family only, so rings are made when first needed.
        self._seeders4: PeerRing | None = None
        self._seeders6: PeerRing | None = None
        self._leechers4: PeerRing | None = None
        self._leechers6: PeerRing | None = None

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def leechers(self) -> int:
        """Peers that are not complete."""
        return len(self.seen) - self.seeders

    def find(self, account: int, peer_id: bytes) -> int:
        """The slot of a client, or -1."""
        index = self._index
        records = self._records
        base = account << SEAT_BITS
        for seat in _SEATS:
            slot = index.get(base + seat, -1)
            if slot >= 0:
                at = slot * _PEER_SIZE
                if records[at : at + 20] == peer_id:
                    return slot
        return -1

    def seats(self, account: int) -> dict[int, int]:
        """The taken seats of a member: seat to slot."""
        base = account << SEAT_BITS
        index = self._index
        return {seat: index[base + seat] for seat in _SEATS if base + seat in index}

    def peer(self, slot: int) -> Peer:
        """The record in a slot."""
        return Peer._make(_PEER.unpack_from(self._records, slot * _PEER_SIZE))

    def endpoints(self, slot: int) -> list[bytes]:
        """The compact endpoints of a peer, IPv4 first."""
        peer = self.peer(slot)
        found: list[bytes] = []
        for width, spot in ((V4_SIZE, peer.spot4), (V6_SIZE, peer.spot6)):
            if spot != NO_SPOT:
                found.append(self._ring(peer.flags, width).at(spot))
        return found

    def add(self, account: int, seat: int, peer_id: bytes, now: int) -> int:
        """Give a client a free seat; it is a leecher without endpoint until `update`."""
        slot = len(self.seen)
        self._index[(account << SEAT_BITS) + seat] = slot
        self._records += _PEER.pack(peer_id, account, seat, 0, 0, 0, 0, 0, 0, NO_SPOT, NO_SPOT)
        self.seen.append(now)
        return slot

    def update(
        self,
        slot: int,
        endpoint: bytes,
        now: int,
        *,
        key: int,
        up: int,
        down: int,
        left: int,
        interval: int,
        by_udp: bool,
    ) -> None:
        """Take over what an announce states; `now` in seconds."""
        peer_id, account, seat, flags, _, _, _, _, _, spot4, spot6 = _PEER.unpack_from(
            self._records, slot * _PEER_SIZE
        )
        seeding = _SEEDING if left == 0 else 0
        if flags & _SEEDING != seeding:
            spot4 = self._change_side(flags, V4_SIZE, spot4)
            spot6 = self._change_side(flags, V6_SIZE, spot6)
            self.seeders += 1 if seeding else -1
        flags = seeding | (_UDP if by_udp else 0)
        if len(endpoint) == V4_SIZE:
            spot4 = self._place(flags, V4_SIZE, spot4, endpoint, slot)
        else:
            spot6 = self._place(flags, V6_SIZE, spot6, endpoint, slot)
        _PEER.pack_into(
            self._records,
            slot * _PEER_SIZE,
            peer_id,
            account,
            seat,
            flags,
            interval,
            key,
            up,
            down,
            left,
            spot4,
            spot6,
        )
        self.seen[slot] = now

    def remove(self, slot: int) -> None:
        """Take a peer out; the last record moves into its slot."""
        peer = self.peer(slot)
        if peer.flags & _SEEDING:
            self.seeders -= 1
        self._leave(peer.flags, V4_SIZE, peer.spot4)
        self._leave(peer.flags, V6_SIZE, peer.spot6)
        del self._index[(peer.account << SEAT_BITS) + peer.seat]
        last = len(self.seen) - 1
        if slot != last:
            moved = self.peer(last)
            start = slot * _PEER_SIZE
            self._records[start : start + _PEER_SIZE] = self._records[last * _PEER_SIZE :]
            self.seen[slot] = self.seen[last]
            self._index[(moved.account << SEAT_BITS) + moved.seat] = slot
            if moved.spot4 != NO_SPOT:
                self._ring(moved.flags, V4_SIZE).owners[moved.spot4] = slot
            if moved.spot6 != NO_SPOT:
                self._ring(moved.flags, V6_SIZE).owners[moved.spot6] = slot
        del self._records[last * _PEER_SIZE :]
        del self.seen[last]

    def choose(self, slot: int, want: int, roll: float) -> tuple[bytes, bytes]:
        """Compact IPv4 and IPv6 peers for the peer in `slot`, together up to `want`.

        A seeder gets leechers. A leecher gets as many leechers as seeders where both are
        plenty, as leechers must find each other too. `roll` in [0, 1) is the random offset.
        """
        if self._leechers6 is None and self._seeders6 is None:
            return self.choose_of(V4_SIZE, slot, want, roll), b""
        peers4 = peers6 = b""
        for ring, take, skip in self._shares(slot, want):
            if ring.width == V4_SIZE:
                peers4 += ring.slices(take, skip, roll)
            else:
                peers6 += ring.slices(take, skip, roll)
        return peers4, peers6

    def choose_of(self, width: int, slot: int, want: int, roll: float) -> bytes:
        """`choose` from one family, that of the asker's own endpoint; V4_SIZE or V6_SIZE."""
        at = slot * _PEER_SIZE
        seeders, leechers, spot_at = self._seeders4, self._leechers4, _SPOT4_AT
        if width == V6_SIZE:
            seeders, leechers, spot_at = self._seeders6, self._leechers6, _SPOT6_AT
        if self._records[at + _FLAGS_AT] & _SEEDING:
            if leechers is None:
                return b""
            return leechers.slices(min(want, len(leechers.owners)), -1, roll)
        seeds = len(seeders.owners) if seeders is not None else 0
        others = len(leechers.owners) - 1 if leechers is not None else 0
        leeching, seeding = _split(others, seeds, want)
        chosen = seeders.slices(seeding, -1, roll) if seeders is not None and seeding else b""
        if leechers is not None and leeching > 0:
            (spot,) = _SPOT.unpack_from(self._records, at + spot_at)
            chosen += leechers.slices(leeching, spot, roll)
        return chosen

    def choose_listed(self, slot: int, want: int, roll: float) -> list[ListedPeer]:
        """The same choice with peer ids, for a dictionary reply."""
        chosen: list[ListedPeer] = []
        for ring, take, skip in self._shares(slot, want):
            for first, stop in ring.spans(take, skip, roll):
                for spot in range(first, stop):
                    at = ring.owners[spot] * _PEER_SIZE
                    chosen.append(ListedPeer(bytes(self._records[at : at + 20]), ring.at(spot)))
        return chosen

    def _shares(self, slot: int, want: int) -> list[tuple[PeerRing, int, int]]:
        """From which ring how many, and which spot of it to leave out: the asker's own."""
        peer = self.peer(slot)
        shares: list[tuple[PeerRing, int, int]] = []
        if peer.flags & _SEEDING:
            _add_shares(shares, self._leechers4, self._leechers6, want)
            return shares
        skips = (peer.spot4, peer.spot6)
        # Counted in endpoints: a client on two families is offered under both.
        own = (peer.spot4 != NO_SPOT) + (peer.spot6 != NO_SPOT)
        leechers = _endpoints(self._leechers4, self._leechers6) - own
        seeders = _endpoints(self._seeders4, self._seeders6)
        leeching, seeding = _split(leechers, seeders, want)
        _add_shares(shares, self._seeders4, self._seeders6, seeding)
        _add_shares(shares, self._leechers4, self._leechers6, leeching, skips=skips)
        return shares

    def _ring(self, flags: int, width: int) -> PeerRing:
        ring: PeerRing | None
        if flags & _SEEDING:
            ring = self._seeders4 if width == V4_SIZE else self._seeders6
        else:
            ring = self._leechers4 if width == V4_SIZE else self._leechers6
        return ring if ring is not None else self._make_ring(flags, width)

    def _make_ring(self, flags: int, width: int) -> PeerRing:
        ring = PeerRing(width)
        if flags & _SEEDING:
            if width == V4_SIZE:
                self._seeders4 = ring
            else:
                self._seeders6 = ring
        elif width == V4_SIZE:
            self._leechers4 = ring
        else:
            self._leechers6 = ring
        return ring

    def _place(self, flags: int, width: int, spot: int, endpoint: bytes, slot: int) -> int:
        ring = self._ring(flags, width)
        if spot == NO_SPOT:
            return ring.add(endpoint, slot)
        if ring.at(spot) != endpoint:
            ring.replace(spot, endpoint)
        return spot

    def _change_side(self, flags: int, width: int, spot: int) -> int:
        if spot == NO_SPOT:
            return NO_SPOT
        ring = self._ring(flags, width)
        endpoint, owner = ring.at(spot), ring.owners[spot]
        self._leave(flags, width, spot)
        return self._ring(flags ^ _SEEDING, width).add(endpoint, owner)

    def _leave(self, flags: int, width: int, spot: int) -> None:
        if spot == NO_SPOT:
            return
        moved = self._ring(flags, width).remove(spot)
        if moved >= 0:
            place = _SPOT4_AT if width == V4_SIZE else _SPOT6_AT
            _SPOT.pack_into(self._records, moved * _PEER_SIZE + place, spot)


def _split(first: int, second: int, want: int) -> tuple[int, int]:
    """Split `want` between two supplies: half each, the odd one to the first, gaps filled."""
    take_second = min(second, want - min(first, (want + 1) // 2))
    return min(first, want - take_second), take_second


def _endpoints(ring4: PeerRing | None, ring6: PeerRing | None) -> int:
    count4 = len(ring4.owners) if ring4 is not None else 0
    return count4 + (len(ring6.owners) if ring6 is not None else 0)


def _add_shares(
    shares: list[tuple[PeerRing, int, int]],
    ring4: PeerRing | None,
    ring6: PeerRing | None,
    want: int,
    *,
    skips: tuple[int, int] = (NO_SPOT, NO_SPOT),
) -> None:
    """Half from each family of one side; what one family cannot fill is the other's."""
    skip4, skip6 = (-1 if skip == NO_SPOT else skip for skip in skips)
    size4 = len(ring4.owners) - (skip4 >= 0) if ring4 is not None else 0
    size6 = len(ring6.owners) - (skip6 >= 0) if ring6 is not None else 0
    take4, take6 = _split(size4, size6, want)
    if ring4 is not None and take4 > 0:
        shares.append((ring4, take4, skip4))
    if ring6 is not None and take6 > 0:
        shares.append((ring6, take6, skip6))
