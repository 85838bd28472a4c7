"""Banned addresses: single ones and ranges, with a reason and perhaps an end."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import ClassVar, Final, TypeAlias
from uuid import UUID, uuid5

import msgspec

from domain.errors import Forbidden, Invalid
from domain.kernel import Envelope, Fact, Private

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
WIDEST: Final = {4: 8, 6: 16}
"""The shortest prefix that may be banned, by IP version: a typing error must not ban the world."""
REASON_LIMIT: Final = 500
_BANS: Final = UUID("b3c4a2de-51f0-5d55-8a57-0c1f5f0b7a92")
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


class AddressBanned(Fact, frozen=True):
    """An address or range was banned, or its ban got another reason or end.

    `network` is an address, or a range in CIDR form; `until` None has no end. `automatic` when
    it came with the ban of a member.
    """

    TOPIC: ClassVar[str] = "address.banned.1"

    network: str
    reason: Private
    until: datetime | None
    automatic: bool


class AddressUnbanned(Fact, frozen=True):
    """The ban of an address or range was lifted."""

    TOPIC: ClassVar[str] = "address.unbanned.1"

    network: str


FACTS: tuple[type[Fact], ...] = (AddressBanned, AddressUnbanned)


class AddressInvalid(Invalid):
    """The text is no address and no range that may be banned."""

    code = "address_invalid"


class OwnAddressBan(Invalid):
    """The ban would shut out the one who asks for it."""

    code = "own_address_ban"
    message = "ip: that is your own address, so the ban would lock you out"


class BanEndPassed(Invalid):
    """The ban would be over already."""

    code = "ban_end_passed"
    message = "expiresAt: must lie in the future"


class AddressRefused(Forbidden):
    """The caller's address is banned."""

    code = "address_banned"
    message = "Access denied: this address is banned."


class AddressBan(msgspec.Struct, frozen=True, kw_only=True):
    """A ban in force or past its end."""

    reason: str | None
    until: datetime | None
    automatic: bool

    def outlasts(self, other: AddressBan, at: datetime) -> bool:
        """Whether it is in force at `at`, and ends no sooner than the other."""
        if self.until is None:
            return True
        return self.until > at and other.until is not None and self.until >= other.until


class AddressBans(msgspec.Struct, frozen=True, kw_only=True):
    """The bans of one bucket by network."""

    version: int = 0
    bans: Mapping[str, AddressBan] = {}


def read_network(text: str) -> Network:
    """The network a moderator typed: an address, or a range. Raises `AddressInvalid`."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise AddressInvalid(
            "ip: must be an IPv4 or IPv6 address, or a range such as 203.0.113.0/24"
        ) from None
    if isinstance(network, ipaddress.IPv6Network):
        if network.network_address.scope_id is not None:
            raise AddressInvalid("ip: must have no zone behind it")
        if network.subnet_of(_MAPPED):
            bits = int(network.network_address) & 0xFFFF_FFFF
            network = ipaddress.IPv4Network((bits, network.prefixlen - _MAPPED.prefixlen))
        elif network.overlaps(_MAPPED):
            raise AddressInvalid("ip: that range holds all IPv4 addresses")
    if network.prefixlen < WIDEST[network.version]:
        raise AddressInvalid(
            f"ip: a range may not be wider than /{WIDEST[network.version]} for IPv{network.version}"
        )
    _, slash, length = text.partition("/")
    if slash and length.isdigit() and "." not in length:
        _require_no_host_bits(text.strip(), network)
    return network


def _require_no_host_bits(text: str, network: Network) -> None:
    """A range written from its middle may be an address with a typing error."""
    first = ipaddress.ip_address(text.partition("/")[0])
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped is not None:
        first = first.ipv4_mapped
    if first != network.network_address:
        raise AddressInvalid(f"ip: that range is written {network}")


def spell(network: Network) -> str:
    """The one spelling of a network: an address without its prefix, else CIDR form."""
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return str(network)


def bucket_id(network: str) -> UUID:
    """The aggregate of a network's ban, one of 256.

    Ids stand in the log in clear. One made of the whole address could be found by trying all
    of them; a byte of a hash tells next to nothing.
    """
    return uuid5(_BANS, sha256(network.encode()).hexdigest()[:2])


def evolve(state: AddressBans | None, envelope: Envelope) -> AddressBans:
    """The bucket after one more fact."""
    bans = dict(state.bans) if state else {}
    match envelope.fact:
        case AddressBanned(network=network, reason=reason, until=until, automatic=automatic):
            bans[network] = AddressBan(reason=reason.text, until=until, automatic=automatic)
        case AddressUnbanned(network=network):
            bans.pop(network, None)
        case unknown:
            raise TypeError(f"not a fact of address bans: {type(unknown).__name__}")
    return AddressBans(version=envelope.originator_version, bans=bans)


def ban_address(
    bucket: AddressBans, network: Network, ban: AddressBan, *, author: UUID, now: datetime
) -> list[Fact]:
    """Ban a network; nothing when just this ban is in force.

    `author` is whose key seals the reason. Raises `BanEndPassed`.
    """
    if ban.until is not None and ban.until <= now:
        raise BanEndPassed()
    name = spell(network)
    if bucket.bans.get(name) == ban:
        return []
    return [
        AddressBanned(
            network=name,
            reason=Private(author, ban.reason),
            until=ban.until,
            automatic=ban.automatic,
        )
    ]


def unban_address(bucket: AddressBans, network: Network) -> list[Fact]:
    """Lift the ban of a network; nothing when there is none."""
    name = spell(network)
    return [AddressUnbanned(network=name)] if name in bucket.bans else []


def require_not_own(network: Network, own: str | None) -> None:
    """Nobody shuts himself out. Raises `OwnAddressBan`. `own` is the caller's address."""
    if own is None:
        return
    try:
        address = ipaddress.ip_address(own)
    except ValueError:
        return
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address in network:
        raise OwnAddressBan()
