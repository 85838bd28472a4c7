"""The month keys of the peer ledger's addresses: made when first needed, destroyed in time."""

from __future__ import annotations

import msgspec

from application.bus import Handler, Unit
from application.ports import Entropy, VaultCreate, VaultPut
from application.site import load_site
from domain import address_keys
from domain.address_keys import ADDRESS_KEYS, AddressKeysDestroyed

KIND = "address_key"
KEY_SIZE = 32


class DestroyAddressKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Destroy the keys whose time is over by the site's `addressLinkDays`."""


class MonthKeys:
    """The key of a month ("2026-11"), the same for every process; callable."""

    def __init__(self, create: VaultCreate, entropy: Entropy) -> None:
        self._create = create
        self._entropy = entropy
        self._known: dict[str, bytes] = {}

    def __call__(self, month: str) -> bytes:
        if month not in self._known:
            fresh = self._entropy.token(KEY_SIZE)
            put = VaultPut(kind=KIND, owner=ADDRESS_KEYS, id=month, value=fresh)
            # Only the newest is held: an older one may be destroyed while we run.
            self._known = {month: self._create(put)}
        return self._known[month]


def handle_destroy_address_keys(unit: Unit, command: DestroyAddressKeys) -> tuple[str, ...]:  # noqa: ARG001
    """Destroy them; the months whose keys are gone now."""
    days = load_site(unit).setting("addressLinkDays")
    kept = unit.log.vault_list(KIND, ADDRESS_KEYS)
    facts = address_keys.destroy_address_keys(kept, unit.at.date(), link_days=int(days or 0))
    known = unit.load(ADDRESS_KEYS, address_keys.evolve)
    unit.record(ADDRESS_KEYS, known.version if known else 0, facts)
    months = tuple(
        month for fact in facts if isinstance(fact, AddressKeysDestroyed) for month in fact.months
    )
    for month in months:
        unit.erase(KIND, ADDRESS_KEYS, month)
    return months


HANDLERS: dict[type, Handler] = {DestroyAddressKeys: handle_destroy_address_keys}
