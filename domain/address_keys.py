"""Keys under which the peer ledger hashes addresses: one a month, destroyed after a while.

While its key lives, records of one address can be linked with each other; afterwards nobody
can, not even with a list of all addresses at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import ClassVar
from uuid import UUID

import msgspec

from domain.kernel import Envelope, Fact

ADDRESS_KEYS = UUID("7d1b8d0a-6f4e-5c0e-8d53-54c2a8f0c9d2")
"""The one aggregate of this kind; it also owns the keys in the vault."""


class AddressKeysDestroyed(Fact, frozen=True):
    """The address keys of these months ("2026-11") were destroyed for good.

    `link_days` is the rule in force: how many days after a month's end its key was kept.
    """

    TOPIC: ClassVar[str] = "address_keys.destroyed.1"

    months: tuple[str, ...]
    link_days: int


FACTS: tuple[type[Fact], ...] = (AddressKeysDestroyed,)


class AddressKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the keys: nothing but that something happened."""

    version: int


def evolve(state: AddressKeys | None, envelope: Envelope) -> AddressKeys:  # noqa: ARG001 (the shape)
    """The state after one more fact."""
    if not isinstance(envelope.fact, AddressKeysDestroyed):
        raise TypeError(f"not a fact of address keys: {type(envelope.fact).__name__}")
    return AddressKeys(version=envelope.originator_version)


def month_of(day: date) -> str:
    """The month of a day as keys are named: "2026-11"."""
    return f"{day.year:04}-{day.month:02}"


def destroy_address_keys(months: Iterable[str], today: date, *, link_days: int) -> list[Fact]:
    """Destroy the keys of the months that ended `link_days` days ago or longer."""
    first_kept = month_of(today - timedelta(days=link_days))
    gone = tuple(sorted(month for month in months if month < first_kept))
    return [AddressKeysDestroyed(months=gone, link_days=link_days)] if gone else []
