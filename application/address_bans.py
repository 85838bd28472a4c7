"""Banning addresses, and lifting their bans."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from domain import address_bans
from domain.address_bans import AddressBan, AddressBans


class BanAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Ban an address or range; a ban that exists gets the new reason and end.

    `until` None has no end. `caller_address` is refused, None where nobody can shut himself
    out. `subject` is the member the reason tells of: it is sealed under his key, else under
    that of the one who asks.
    """

    address: str
    reason: str
    until: datetime | None = None
    automatic: bool = False
    caller_address: str | None = None
    subject: UUID | None = None


class UnbanAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Lift the ban of exactly this address or range."""

    address: str


class BannedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A ban as decided: the network in its one spelling."""

    network: str
    ban: AddressBan


def record_ban_address(
    unit: Unit,
    network: address_bans.Network,
    ban: AddressBan,
    *,
    author: UUID,
    replaces: bool = True,
) -> None:
    """Add the ban to what `unit` saves; unless it `replaces` any, one that outlasts it stays.

    `author` is whose key seals the reason. Raises `BanEndPassed`.
    """
    name = address_bans.spell(network)
    bucket_id = address_bans.bucket_id(name)
    bucket = unit.load(bucket_id, address_bans.evolve) or AddressBans()
    kept = bucket.bans.get(name)
    if kept is not None and not replaces and kept.outlasts(ban, unit.at):
        return
    facts = address_bans.ban_address(bucket, network, ban, author=author, now=unit.at)
    unit.record(bucket_id, bucket.version, facts)


def handle_ban_address(unit: Unit, command: BanAddress) -> BannedAddress:
    """Ban it. Raises `AddressInvalid`, `OwnAddressBan`, `BanEndPassed`."""
    network = address_bans.read_network(command.address)
    address_bans.require_not_own(network, command.caller_address)
    ban = AddressBan(reason=command.reason, until=command.until, automatic=command.automatic)
    record_ban_address(unit, network, ban, author=command.subject or unit.actor.account)
    return BannedAddress(network=address_bans.spell(network), ban=ban)


def handle_unban_address(unit: Unit, command: UnbanAddress) -> bool:
    """Lift it; whether there was one. Raises `AddressInvalid`."""
    network = address_bans.read_network(command.address)
    bucket_id = address_bans.bucket_id(address_bans.spell(network))
    bucket = unit.load(bucket_id, address_bans.evolve) or AddressBans()
    facts = address_bans.unban_address(bucket, network)
    unit.record(bucket_id, bucket.version, facts)
    return bool(facts)


HANDLERS: dict[type, Handler] = {
    BanAddress: handle_ban_address,
    UnbanAddress: handle_unban_address,
}
