"""The policy of credit as the event log says it: the site's settings, known at any log position."""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol
from uuid import UUID

from domain.credit import CreditPolicy, CreditRules
from domain.kernel import Recorded
from domain.site import SITE, Site, SiteSettingsChanged, evolve

FASTEST = "creditMaxBytesPerSecond"


class SiteLog(Protocol):
    """Where the site's own facts are read."""

    def read_originator(self, originator_id: UUID, after: int) -> list[Recorded]: ...


class SitePolicies:
    """A `PolicySource` over the site's settings; each change counts from its position on."""

    topics: frozenset[str] = frozenset({SiteSettingsChanged.TOPIC})

    def __init__(self, log: SiteLog) -> None:
        self._log = log
        self._site: Site | None = None
        self._passed = 0
        self._positions: list[int] = [0]
        self._policies: list[CreditPolicy] = [CreditPolicy()]

    def upto(self, position: int) -> CreditPolicy:
        """Rules as known at this position; asked in any order. Raises `Unavailable`."""
        if position > self._passed:
            for recorded in self._log.read_originator(SITE, self._passed):
                if recorded.position <= position:
                    self._add(recorded)
            self._passed = position
        return self._policies[bisect_right(self._positions, position) - 1]

    def _add(self, recorded: Recorded) -> None:
        self._site = evolve(self._site, recorded.envelope)
        fastest = self._site.setting(FASTEST)
        policy = CreditPolicy(rules=CreditRules(max_bytes_per_second=int(fastest or 0)))
        if policy != self._policies[-1]:
            self._positions.append(recorded.position)
            self._policies.append(policy)
