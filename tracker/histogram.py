"""Counts by size, a whole batch at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence


class Histogram:
    """How many values lay at or below each bound, as Prometheus counts them."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` rise; what lies above the last is counted apart."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0
        """Sum of all values."""

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value that occurred so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self.total += value * times

    def cumulated(self) -> Iterator[tuple[str, int]]:
        """Bound as text and count of all values up to it; "+Inf" last."""
        seen = 0
        for bound, count in zip((*self._bounds, None), self._counts, strict=True):
            seen += count
            yield "+Inf" if bound is None else repr(float(bound)), seen

    def __len__(self) -> int:
        return sum(self._counts)
