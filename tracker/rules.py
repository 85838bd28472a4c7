"""The numbers of announcing that an admin may change while the tracker runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

# Ports where an unasked TCP connection harms the one who is named: mail, name and time
# service, remote shells, directories. A false peer there would make a swarm attack it.
VICTIM_PORTS: Final = frozenset(
    (22, 23, 25, 53, 110, 123, 135, 139, 143, 161, 389, 445, 465, 587, 993, 995, 3389)
)
SEATS_LIMIT: Final = 8
_INTERVAL_LIMIT: Final = 65_535
_PEER_ID: Final = 20


@dataclass(frozen=True)
class Rules:
    """Seconds, peers and announces, as in the design, section 5.

    In `access:rules` they stand under the same names in camelCase: interval, minInterval,
    numwantDefault, numwantMax, seats, announcesPerMinute, allowedClients, deniedClients.
    """

    interval: int = 1800
    spread_percent: int = 10
    """Each answer varies the interval by up to this, so that clients do not come in waves."""
    min_interval: int = 900
    numwant_default: int = 50
    numwant_max: int = 100
    seats: int = 4
    announces_per_minute: int = 200
    """Per member and address; 0 switches the limit off."""
    refused_ports: frozenset[int] = VICTIM_PORTS
    allowed_clients: tuple[bytes, ...] = ()
    """Starts of the peer ids that are welcome; none named means all."""
    denied_clients: tuple[bytes, ...] = ()

    @property
    def peer_life(self) -> int:
        """Seconds of silence after which a peer is dropped: two intervals and five minutes."""
        return 2 * self.interval + 300

    @cached_property
    def spread(self) -> tuple[float, float]:
        """The least interval to answer, and the width in which answers vary."""
        part = self.interval * self.spread_percent / 100
        least = min(self.interval - part, _INTERVAL_LIMIT)
        return least, min(self.interval + part, _INTERVAL_LIMIT) - least


_BOUNDS: Final = {
    "interval": ("interval", 60, 21_600),
    "minInterval": ("min_interval", 30, 21_600),
    "numwantDefault": ("numwant_default", 0, 1_000),
    "numwantMax": ("numwant_max", 1, 1_000),
    "seats": ("seats", 1, SEATS_LIMIT),
    "announcesPerMinute": ("announces_per_minute", 0, 1_000_000),
}


def read_rules(published: bytes, base: Rules) -> Rules:
    """`base` with the published numbers; names we do not know are passed over.

    Raises ValueError when it is no JSON object or a number is out of bounds: the rules in
    force are then kept as they are.
    """
    found: object = json.loads(published)
    if not isinstance(found, dict):
        raise ValueError("the access rules are no JSON object")  # noqa: TRY004  one kind for bad rules
    changes: dict[str, int] = {}
    for name, (field, lowest, highest) in _BOUNDS.items():
        value = found.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(f"the access rule {name} is out of bounds")
        changes[field] = value
    return replace(
        _with_changes(base, changes),
        allowed_clients=_read_clients(found, "allowedClients", base.allowed_clients),
        denied_clients=_read_clients(found, "deniedClients", base.denied_clients),
    )


def _read_clients(
    found: dict[str, object], name: str, base: tuple[bytes, ...]
) -> tuple[bytes, ...]:
    """Starts of peer ids, each a text of 1 to 20 Latin-1 characters. Raises ValueError."""
    listed = found.get(name)
    if listed is None:
        return base
    if not isinstance(listed, list) or not all(
        isinstance(start, str) and 0 < len(start) <= _PEER_ID for start in listed
    ):
        raise ValueError(f"the access rule {name} is no list of peer id prefixes")
    return tuple(start.encode("latin-1") for start in listed)


def _with_changes(base: Rules, changes: dict[str, int]) -> Rules:
    return replace(
        base,
        interval=changes.get("interval", base.interval),
        min_interval=changes.get("min_interval", base.min_interval),
        numwant_default=changes.get("numwant_default", base.numwant_default),
        numwant_max=changes.get("numwant_max", base.numwant_max),
        seats=changes.get("seats", base.seats),
        announces_per_minute=changes.get("announces_per_minute", base.announces_per_minute),
    )
