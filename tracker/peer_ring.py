"""IPv6 endpoints of one side of a swarm, side by side in memory, and choices from such a row."""

from __future__ import annotations

from array import array
from typing import Final

from tracker.protocol.bencode import V6_SIZE

NO_SPOT: Final = 0xFFFF_FFFF
"""Stands in a peer's record where it has no IPv6 endpoint."""


class PeerRing:
    """Endpoints of 18 bytes back to back, so that many of them are one slice.

    `owners` holds for each spot the slot of the peer's record. Removing moves the last
    endpoint into the gap.
    """

    __slots__ = ("endpoints", "owners")

    def __init__(self) -> None:
        self.endpoints = bytearray()
        self.owners = array("I")

    def __len__(self) -> int:
        return len(self.owners)

    def add(self, endpoint: bytes, owner: int) -> int:
        """Append an endpoint; the answer is its spot."""
        spot = len(self.owners)
        self.endpoints += endpoint
        self.owners.append(owner)
        return spot

    def at(self, spot: int) -> bytes:
        """The endpoint at a spot."""
        start = spot * V6_SIZE
        return bytes(self.endpoints[start : start + V6_SIZE])

    def replace(self, spot: int, endpoint: bytes | bytearray) -> None:
        """Put another endpoint at a spot."""
        start = spot * V6_SIZE
        self.endpoints[start : start + V6_SIZE] = endpoint

    def remove(self, spot: int) -> int:
        """Take an endpoint out; the answer is the record slot that moved to `spot`, or -1."""
        owners = self.owners
        last = len(owners) - 1
        moved = -1
        start = last * V6_SIZE
        if spot != last:
            self.replace(spot, self.endpoints[start:])
            moved = owners[spot] = owners[last]
        del self.endpoints[start:]
        del owners[last]
        return moved


def load_ring(dumped: memoryview, at: int, size: int) -> tuple[PeerRing | None, int]:
    """The ring of `size` endpoints and their owners at a place, and where they end.

    Raises ValueError where the bytes do not reach so far.
    """
    middle = at + size * V6_SIZE
    end = middle + size * 4
    if end > len(dumped):
        raise ValueError("a dumped swarm is torn")
    if not size:
        return None, end
    ring = PeerRing()
    ring.endpoints += dumped[at:middle]
    ring.owners.frombytes(dumped[middle:end])
    return ring, end


def spans(size: int, want: int, skip: int, roll: float) -> list[tuple[int, int]]:
    """Up to `want` of `size` spots without `skip` (-1: none), as ranges from a random offset.

    `roll` in [0, 1) chooses the offset.
    """
    offset = int(roll * size)
    chosen: list[tuple[int, int]] = []
    for start, end in ((offset, size), (0, offset)):
        pieces = ((start, skip), (skip + 1, end)) if start <= skip < end else ((start, end),)
        for first, stop in pieces:
            taken = min(stop - first, want)
            if taken > 0:
                chosen.append((first, first + taken))
                want -= taken
    return chosen


def slices(
    endpoints: bytearray, at: int, *, width: int, size: int, want: int, skip: int, roll: float
) -> bytes:
    """Up to `want` of the `size` endpoints that stand from `at` on, as `spans` chooses them.

    Nearly always this is one slice, or two around `skip`.
    """
    first = int(roll * size)
    stop = first + want
    if want >= size - (skip >= 0):
        first, stop = 0, size - (skip >= 0)
    elif stop >= size:
        return b"".join(
            [
                endpoints[at + start * width : at + end * width]
                for start, end in spans(size, want, skip, roll)
            ]
        )
    start, end = at + first * width, at + stop * width
    if first <= skip <= stop:
        gap = at + skip * width
        return bytes(endpoints[start:gap] + endpoints[gap + width : end + width])
    return bytes(endpoints[start:end])
