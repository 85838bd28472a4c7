"""Percentages in force for many records at once: windows as sorted search tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import numpy as np

from domain.credit import MAX_PERCENT, CreditPolicy, Window
from projections.peer_records import Ints

_UNCOVERED_UP: Final = -1
_UNCOVERED_DOWN: Final = MAX_PERCENT + 1
"""Lose against every real percentage, so that best-of needs no special case."""


class PolicySource(Protocol):
    """The policy facts of the event log, folded as far as asked."""

    @property
    def topics(self) -> frozenset[str]:
        """Topics of the facts this folds."""
        ...

    def upto(self, position: int) -> CreditPolicy:
        """Rules and windows as known at this log position; asked in any order."""
        ...


class StandingPolicy:
    """One policy for all time: what holds as long as no fact changes it."""

    topics: frozenset[str] = frozenset()

    def __init__(self, policy: CreditPolicy) -> None:
        self._policy = policy

    def upto(self, position: int) -> CreditPolicy:  # noqa: ARG002 (the same at each)
        return self._policy


class PercentTable:
    """Upload and download percent by torrent number and time; `CreditPolicy.percents`, in bulk."""

    def __init__(self, windows: Iterable[Window]) -> None:
        general: list[Window] = []
        scoped: dict[int, list[Window]] = {}
        for window in windows:
            if window.torrent is None:
                general.append(window)
            else:
                scoped.setdefault(window.torrent, []).append(window)
        self._general_times, self._general_up, self._general_down = _steps(general)
        _require_ascending(self._general_times)
        self._torrents: Ints = np.array(sorted(scoped), np.int64)
        _require_ascending(self._torrents)
        self._build_scoped([scoped[torrent] for torrent in sorted(scoped)])

    def _build_scoped(self, windows: Sequence[Sequence[Window]]) -> None:
        tables = [_steps(group) for group in windows]
        times = np.unique(np.concatenate([np.zeros(0, np.int64), *(t[0][1:] for t in tables)]))
        self._times: Ints = times.astype(np.int64)
        _require_ascending(self._times)
        # (torrent rank, time rank) in one number. Ranks, not times: a time packed beside a
        # torrent left 64 bits at 512 torrents, and a search in an unsorted table answers anything.
        self._span = len(self._times) + 1
        starts = [
            rank * self._span + np.searchsorted(self._times, table[0], "right")
            for rank, table in enumerate(tables)
        ]
        empty = np.zeros(0, np.int64)
        self._starts: Ints = np.concatenate([empty, *starts])
        self._scoped_up: Ints = np.concatenate([empty, *(t[1] for t in tables)])
        self._scoped_down: Ints = np.concatenate([empty, *(t[2] for t in tables)])
        _require_ascending(self._starts)

    def percents(self, torrents: Ints, at: Ints) -> tuple[Ints, Ints]:
        """Percent up and down of records of these torrents at these times (microseconds)."""
        step = np.searchsorted(self._general_times, at, "right") - 1
        up, down = self._general_up[step], self._general_down[step]
        rank = np.searchsorted(self._torrents, torrents)
        rows = np.flatnonzero(rank < len(self._torrents))
        rows = rows[self._torrents[rank[rows]] == torrents[rows]]
        if len(rows):
            moment = np.searchsorted(self._times, at[rows], "right")
            step = np.searchsorted(self._starts, rank[rows] * self._span + moment, "right") - 1
            up[rows] = np.maximum(up[rows], self._scoped_up[step])
            down[rows] = np.minimum(down[rows], self._scoped_down[step])
        covered = up != _UNCOVERED_UP
        return np.where(covered, up, 100), np.where(covered, down, 100)


def _steps(windows: Sequence[Window]) -> tuple[Ints, Ints, Ints]:
    """Start times and percents of the steps that overlapping windows make, from the dawn of time."""
    times = sorted({time for window in windows for time in (window.starts_at, window.ends_at)})
    up, down = [_UNCOVERED_UP], [_UNCOVERED_DOWN]
    for time in times:
        held = [window for window in windows if window.starts_at <= time < window.ends_at]
        up.append(max((w.up_percent for w in held), default=_UNCOVERED_UP))
        down.append(min((w.down_percent for w in held), default=_UNCOVERED_DOWN))
    dawn = np.iinfo(np.int64).min
    return np.array([dawn, *times], np.int64), np.array(up, np.int64), np.array(down, np.int64)


def _require_ascending(table: Ints) -> None:
    """A binary search over anything but a strictly ascending table gives nonsense silently."""
    if not bool((table[1:] > table[:-1]).all()):
        raise RuntimeError("a search table of the credit fold is not strictly ascending")
