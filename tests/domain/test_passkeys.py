"""Passkeys: layout, revocation by epoch, one scope never opens another."""

from __future__ import annotations

import hmac
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.passkeys import PasskeyScope, account_of_passkey, make_passkey, passkey_matches

KEY = bytes(range(32))
uint32 = st.integers(0, 2**32 - 1)


def test_the_layout_is_account_number_and_keyed_hash() -> None:
    told = b"\x00\x00\x01\x02" + b"\x01" + b"\x00\x00\x00\x00" + b"\x00\x00\x00\x07"
    expected = b"\x00\x00\x01\x02" + blake2b(told, digest_size=12, key=KEY).digest()
    assert make_passkey(KEY, 0x102, scope=PasskeyScope.ANNOUNCE, epoch=7) == expected.hex()


def test_a_passkey_never_changes_its_form() -> None:
    given_out = make_passkey(KEY, 5, scope=PasskeyScope.TORRENT, epoch=3, torrent=9)
    assert given_out == "00000005" + "81de16d6a219f6f1de74ca89"


@given(account=uint32, epoch=uint32, torrent=st.integers(1, 2**32 - 1))
def test_it_names_its_account_and_proves_it(account: int, epoch: int, torrent: int) -> None:
    passkey = make_passkey(KEY, account, scope=PasskeyScope.TORRENT, epoch=epoch, torrent=torrent)
    assert account_of_passkey(passkey) == account
    assert passkey_matches(
        passkey, KEY, account, scope=PasskeyScope.TORRENT, epoch=epoch, torrent=torrent
    )


def test_another_epoch_scope_torrent_key_or_account_is_another_passkey() -> None:
    announce = make_passkey(KEY, 5, scope=PasskeyScope.ANNOUNCE, epoch=1)
    others = [
        make_passkey(KEY, 5, scope=PasskeyScope.ANNOUNCE, epoch=2),
        make_passkey(KEY, 6, scope=PasskeyScope.ANNOUNCE, epoch=1),
        make_passkey(bytes(32), 5, scope=PasskeyScope.ANNOUNCE, epoch=1),
        make_passkey(KEY, 5, scope=PasskeyScope.TORZNAB, epoch=1),
        make_passkey(KEY, 5, scope=PasskeyScope.FEED, epoch=1),
        make_passkey(KEY, 5, scope=PasskeyScope.API, epoch=1),
        make_passkey(KEY, 5, scope=PasskeyScope.TORRENT, epoch=1, torrent=1),
        make_passkey(KEY, 5, scope=PasskeyScope.TORRENT, epoch=1, torrent=2),
    ]
    assert len({announce, *others}) == 9
    assert not any(
        passkey_matches(other, KEY, 5, scope=PasskeyScope.ANNOUNCE, epoch=1) for other in others
    )


def test_a_proof_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    assert not passkey_matches("x", KEY, 5, scope=PasskeyScope.API, epoch=1)
    assert [pair[1] for pair in compared] == [b"x"]


@pytest.mark.parametrize("text", ["", "00000005", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n"])
def test_what_is_no_passkey_names_nobody(text: str) -> None:
    assert account_of_passkey(text) is None


@pytest.mark.parametrize(
    ("scope", "torrent"), [(PasskeyScope.TORRENT, 0), (PasskeyScope.ANNOUNCE, 4)]
)
def test_a_torrent_belongs_to_the_torrent_scope_only(scope: PasskeyScope, torrent: int) -> None:
    with pytest.raises(ValueError, match="torrent"):
        make_passkey(KEY, 5, scope=scope, epoch=1, torrent=torrent)
