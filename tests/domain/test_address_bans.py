"""Banned addresses: what may be banned, how it is spelled, and what is recorded."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from domain import address_bans
from domain.address_bans import (
    AddressBan,
    AddressBanned,
    AddressBans,
    AddressInvalid,
    AddressUnbanned,
    BanEndPassed,
    OwnAddressBan,
)
from domain.client_lists import client_list_fault, client_prefixes
from domain.kernel import Private
from domain.site_settings import SETTINGS
from tests.kit.domain import A_TIME, folded, refuses_foreign_facts

MONA = UUID(int=7)
BAN = AddressBan(reason="spam", until=None, automatic=False)
BANNED = AddressBanned(
    network="203.0.113.0/24", reason=Private(MONA, "spam"), until=None, automatic=False
)
UNBANNED = AddressUnbanned(network="203.0.113.0/24")


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 203.0.113.9/32 ", "203.0.113.9"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
    ],
)
def test_a_network_has_one_spelling(typed: str, spelled: str) -> None:
    assert address_bans.spell(address_bans.read_network(typed)) == spelled


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "must be an IPv4 or IPv6 address"),
        ("example.org", "must be an IPv4 or IPv6 address"),
        ("203.0.113.256", "must be an IPv4 or IPv6 address"),
        ("203.0.113.9/33", "must be an IPv4 or IPv6 address"),
        ("203.0.113.9/24", "that range is written 203.0.113.0/24"),
        ("2001:db8::1/32", "that range is written 2001:db8::/32"),
        ("0.0.0.0/0", "may not be wider than /8 for IPv4"),
        ("128.0.0.0/7", "may not be wider than /8 for IPv4"),
        ("2001::/15", "may not be wider than /16 for IPv6"),
        ("::/0", "that range holds all IPv4 addresses"),
        ("::/64", "that range holds all IPv4 addresses"),
        ("::ffff:0:0/96", "may not be wider than /8 for IPv4"),
        ("fe80::1%eth0", "must have no zone"),
    ],
)
def test_what_may_not_be_banned(typed: str, words: str) -> None:
    with pytest.raises(AddressInvalid) as refused:
        address_bans.read_network(typed)
    assert words in refused.value.text


def test_ban_address_and_unban_address_record_only_what_changes() -> None:
    network = address_bans.read_network("203.0.113.0/24")
    given = {"author": MONA, "now": A_TIME}
    assert address_bans.ban_address(AddressBans(), network, BAN, **given) == [BANNED]
    assert address_bans.unban_address(AddressBans(), network) == []
    banned = folded(address_bans.evolve, BANNED)
    assert banned is not None
    assert address_bans.ban_address(banned, network, BAN, **given) == []
    other = AddressBan(reason="more spam", until=None, automatic=False)
    (changed,) = address_bans.ban_address(banned, network, other, **given)
    assert isinstance(changed, AddressBanned)
    assert changed.reason.text == "more spam"
    assert address_bans.unban_address(banned, network) == [UNBANNED]
    assert folded(address_bans.evolve, BANNED, UNBANNED) == AddressBans(version=2)


def test_ban_address_refuses_an_end_in_the_past() -> None:
    network = address_bans.read_network("203.0.113.9")
    for ahead in (timedelta(0), timedelta(seconds=-1)):
        over = AddressBan(reason="x", until=A_TIME + ahead, automatic=False)
        with pytest.raises(BanEndPassed):
            address_bans.ban_address(AddressBans(), network, over, author=MONA, now=A_TIME)


@pytest.mark.parametrize("own", ["203.0.113.9", "::ffff:203.0.113.9"])
def test_nobody_bans_his_own_address(own: str) -> None:
    for typed in ("203.0.113.9", "203.0.113.0/24", "203.0.0.0/12"):
        with pytest.raises(OwnAddressBan):
            address_bans.require_not_own(address_bans.read_network(typed), own)
    for other in ("203.0.114.0/24", "2001:db8::/32"):
        address_bans.require_not_own(address_bans.read_network(other), own)


def test_who_has_no_address_can_shut_nobody_out() -> None:
    network = address_bans.read_network("203.0.113.0/24")
    for own in (None, "", "testclient"):
        address_bans.require_not_own(network, own)


def test_the_ids_in_the_log_do_not_tell_the_address() -> None:
    ids = {address_bans.bucket_id(f"203.0.{high}.{low}") for high in range(8) for low in range(250)}
    assert 200 < len(ids) <= 256


def test_address_bans_refuse_foreign_facts() -> None:
    refuses_foreign_facts(address_bans.evolve, BANNED)


def test_client_lists_are_read_with_commas_and_blanks() -> None:
    assert client_prefixes(" -TR3,-qB4\nA2- ,, -TR3") == ("-TR3", "-qB4", "A2-")
    assert client_prefixes("") == ()


@pytest.mark.parametrize("text", ["-", "-TR3, -", "ä-TR", "x" * 21, "-T\x7fR"])
def test_bad_client_lists_are_explained(text: str) -> None:
    fault = client_list_fault(text)
    assert fault is not None
    assert "2 to 20 visible ASCII characters" in fault
    assert SETTINGS["deniedClients"].fault(text) == fault


def test_sensible_client_lists_pass() -> None:
    for text in ("", "-TR, -qB, -lt, -LT, -DE, A2-1-36-0-, -XX0100-, M7-4-2--"):
        assert client_list_fault(text) is None
        assert SETTINGS["allowedClients"].fault(text) is None


@pytest.mark.parametrize(
    ("kept", "new", "stays"),
    [
        (None, None, True),
        (None, 1, True),
        (1, None, False),
        (2, 1, True),
        (1, 1, True),
        (1, 2, False),
        (0, 1, False),
        (-1, -2, False),
    ],
)
def test_a_ban_outlasts_another_while_it_is_in_force(
    kept: int | None, new: int | None, *, stays: bool
) -> None:
    def ending(days: int | None) -> AddressBan:
        until = None if days is None else A_TIME + timedelta(days=days)
        return AddressBan(reason="spam", until=until, automatic=False)

    assert ending(kept).outlasts(ending(new), A_TIME) is stays
