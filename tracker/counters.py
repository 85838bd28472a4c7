"""What a shard counts about itself; plain integers, read through /health and the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from tracker.histogram import Histogram

SCRAPE: Final = 4
CONNECT: Final = 5
"""Kinds of request beside the events of announces (`wire.EVENT_*`, 0 to 3)."""
UNREAD: Final = 6
"""A request that was refused before its event was known."""
KINDS: Final = 8
"""`answered` holds this many places for each protocol."""
_LATENCIES: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_BATCHES: Final = tuple(float(1 << step) for step in range(14))


@dataclass(slots=True)
class Counters:
    """Totals since the start of the process."""

    announces: int = 0
    """Announces recorded, answered or not."""
    late: int = 0
    expired: int = 0
    replaced: int = 0
    """Peers that gave their seat to another client of the same member."""
    connections: int = 0
    connections_refused: int = 0
    bad_requests: int = 0
    datagrams: int = 0
    datagrams_ignored: int = 0
    """Datagrams that were no request; nobody is told."""
    datagrams_unsent: int = 0
    batches: int = 0
    batches_resent: int = 0
    records: int = 0
    forwarded: int = 0
    """Requests handed to the shard that owns their torrent."""
    answers_refused: int = 0
    """Announces whose record Redis did not acknowledge in time."""
    answered: list[int] = field(default_factory=lambda: [0] * (KINDS * 3))
    """Requests taken and not refused, at protocol * KINDS + kind."""
    refusals: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """Refused requests by the code of the refusal, protocol (0: another shard's) and kind."""
    latency: Histogram = field(default_factory=lambda: Histogram(_LATENCIES))
    """Seconds from the first request of a batch to its acknowledgement, once an answer."""
    batch_sizes: Histogram = field(default_factory=lambda: Histogram(_BATCHES))
    """Records of a batch."""

    def answer(self, protocol: int, kind: int) -> None:
        """Count one request that is no announce; Logic counts those."""
        self.answered[protocol * KINDS + kind] += 1

    def refuse(self, code: str, protocol: int = 0, kind: int = UNREAD) -> None:
        """Count one refusal."""
        key = (code, protocol, kind)
        self.refusals[key] = self.refusals.get(key, 0) + 1

    @property
    def refused(self) -> Mapping[str, int]:
        """Refused requests by the code of the refusal."""
        total: Counter[str] = Counter()
        for (code, _, _), count in self.refusals.items():
            total[code] += count
        return dict(total)

    def as_fields(self) -> dict[str, object]:
        """All counts by name, for /health and the log."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = {name: count for name, count in named.items() if isinstance(count, int)}
        return {**plain, "refused": self.refused}
