"""What a shard counts about itself; plain integers, read through /health and the log."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


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
    refused: dict[str, int] = field(default_factory=dict)
    """Refused announces by the code of the refusal."""

    def refuse(self, code: str) -> None:
        """Count one refusal."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def as_fields(self) -> dict[str, object]:
        """All counts by name, for /health and the log."""
        return asdict(self)
