"""Reading and numbering for many at once, where a call for each would be the work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from uuid import UUID

from application.store.log import EventLog
from domain.kernel import Claim, Envelope


class BulkReads:
    """What `EventLog` gives one by one (`application.import_names.Bulk`)."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def claim_owners(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]:
        """Who holds each of these names; a free one is left out."""
        hashed: dict[str, dict[bytes, Claim]] = {}
        for claim in claims:
            hashed.setdefault(claim.kind, {})[self._log.claim_value(claim)] = claim
        found: dict[Claim, UUID] = {}
        for kind, values in hashed.items():
            rows = self._log.recorder.rows(
                "SELECT value, owner FROM log.claims WHERE kind = %b AND value = ANY(%b::bytea[])",
                (kind, list(values)),
            )
            found |= {values[bytes(value)]: owner for value, owner in rows}
        return found

    def first_facts(self, originators: Iterable[UUID]) -> Mapping[UUID, Envelope]:
        """The fact each of these aggregates began with."""
        rows = self._log.recorder.rows(
            "SELECT originator_id, originator_version, topic, state FROM log.events"
            " WHERE originator_id = ANY(%b::uuid[]) AND originator_version = 1",
            (list(originators),),
        )
        return {row[0]: self._log.mapper.envelope(*row) for row in rows}

    def existing(self, originators: Iterable[UUID]) -> Set[UUID]:
        """Those of these aggregates that have facts."""
        return self._log.existing(originators)

    def account_numbers(self, count: int) -> list[int]:
        """That many new dense numbers of accounts, rising."""
        return self._numbers("log.account_numbers", count)

    def torrent_numbers(self, count: int) -> list[int]:
        """That many new dense numbers of torrents, rising."""
        return self._numbers("log.torrent_numbers", count)

    def _numbers(self, sequence: str, count: int) -> list[int]:
        if not count:
            return []
        rows = self._log.recorder.rows(
            "SELECT nextval(%b::text::regclass) FROM generate_series(1, %b::int)",
            (sequence, count),
        )
        return sorted(int(row[0]) for row in rows)
