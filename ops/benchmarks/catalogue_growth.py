"""What requests cost in a large community and in a small one, turn by turn."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from dataclasses import dataclass

from ops.benchmarks.catalogue_asks import Ask, Kind
from ops.benchmarks.catalogue_timing import ROUND, Client, time_each
from ops.benchmarks.processes import BenchmarkFailed


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Medians of one ask, milliseconds."""

    name: str
    kind: Kind
    small: float
    large: float

    @property
    def ratio(self) -> float:
        return self.large / self.small


def measure_growth(
    small: tuple[Client, Ask], large: tuple[Client, Ask], *, turns: int, seconds: float
) -> Growth:
    """`ROUND` requests here, as many there, `turns` of each or until `seconds` are over.

    A machine is faster now and slower then; what is compared has to run in the same moments.
    Raises `BenchmarkFailed` for any answer but a good one.
    """
    sides = [_Side(*small), _Side(*large)]
    end = time.perf_counter() + seconds
    gc.disable()
    try:
        for side in sides:
            side.ask(ROUND)
            side.times.clear()
        while not sides[0].times or (len(sides[0].times) < turns and time.perf_counter() < end):
            for side in sides:
                side.ask(min(ROUND, turns))
    finally:
        gc.enable()
    medians = [statistics.median(side.times) for side in sides]
    return Growth(name=large[1].name, kind=large[1].kind, small=medians[0], large=medians[1])


class _Side:
    def __init__(self, client: Client, ask: Ask) -> None:
        self.times: list[float] = []
        self._client = client
        self._variants = itertools.cycle(ask.variants)

    def ask(self, count: int) -> None:
        """So many requests; their milliseconds are added to `times`."""
        self._client.renew()
        time_each(self._get, itertools.islice(self._variants, count), self.times)

    def _get(self, path: str, _: object) -> None:
        status, _body = self._client.get(path)
        if status != 200:
            raise BenchmarkFailed(f"GET {path} was answered {status}")
