"""IPv6 endpoints of one side of a swarm, side by side in memory, and choices from such a row."""

from __future__ import annotations

from array import array
from typing import Final

from tracker.protocol.bencode import V6_SIZE

NO_SPOT: Final = 0xFFFF_FFFF
"""Stands in a peer's record where it has no IPv6 endpoint; as the spot to leave out, none."""


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

    def choose(self, want: int, skip: int, roll: float) -> bytes:
        """Up to `want` endpoints without the one at `skip`."""
        return b"".join(
            [
                self.endpoints[start * V6_SIZE : stop * V6_SIZE]
                for start, stop in spans(len(self.owners), want, skip, roll)
            ]
        )


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
    """Up to `want` of `size` spots without `skip`, as ranges from a random offset.

    `roll` in [0, 1) chooses the offset among the others.
    """
    others = size - (skip < size)
    start = 0 if want >= others else int(roll * others)
    stop = start + min(want, others)
    turns = ((start, stop),) if stop <= others else ((start, others), (0, stop - others))
    chosen: list[tuple[int, int]] = []
    for first, last in turns:
        if first < skip < last:
            chosen += ((first, skip), (skip + 1, last + 1))
        elif first >= skip:
            chosen.append((first + 1, last + 1))
        else:
            chosen.append((first, last))
    return chosen
