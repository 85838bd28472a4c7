"""Compact endpoints of one side and family of a swarm, side by side in memory."""

from __future__ import annotations

from array import array
from typing import Final

NO_SPOT: Final = 0xFFFF_FFFF
"""Stands in a peer's record where it is in no ring of that family."""


class PeerRing:
    """Endpoints of 6 or 18 bytes back to back, so that many of them are one slice.

    `owners` holds for each spot the slot of the peer's record. Removing moves the last
    endpoint into the gap.
    """

    __slots__ = ("endpoints", "owners", "width")

    def __init__(self, width: int) -> None:
        self.width = width
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
        start = spot * self.width
        return bytes(self.endpoints[start : start + self.width])

    def replace(self, spot: int, endpoint: bytes | bytearray) -> None:
        """Put another endpoint at a spot."""
        start = spot * self.width
        self.endpoints[start : start + self.width] = endpoint

    def remove(self, spot: int) -> int:
        """Take an endpoint out; the answer is the record slot that moved to `spot`, or -1."""
        owners = self.owners
        last = len(owners) - 1
        moved = -1
        start = last * self.width
        if spot != last:
            self.replace(spot, self.endpoints[start:])
            moved = owners[spot] = owners[last]
        del self.endpoints[start:]
        del owners[last]
        return moved

    def spans(self, want: int, skip: int, roll: float) -> list[tuple[int, int]]:
        """Up to `want` spots without `skip` (-1: none), as ranges from a random offset.

        `roll` in [0, 1) chooses the offset.
        """
        size = len(self.owners)
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

    def slices(self, want: int, skip: int, roll: float) -> bytes:
        """The endpoints of `spans`, joined; nearly always one slice, or two around `skip`."""
        width = self.width
        endpoints = self.endpoints
        size = len(self.owners)
        first = int(roll * size)
        stop = first + want
        if want >= size - (skip >= 0):
            first, stop = 0, size
        elif stop >= size:
            return b"".join(
                [endpoints[a * width : b * width] for a, b in self.spans(want, skip, roll)]
            )
        if first <= skip < stop:
            after = endpoints[(skip + 1) * width : (stop + 1) * width]
            return bytes(endpoints[first * width : skip * width] + after)
        return bytes(endpoints[first * width : stop * width])
