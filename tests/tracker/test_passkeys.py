"""The check side of passkeys against the write side of the domain."""

from __future__ import annotations

import hashlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from domain.passkeys import PasskeyScope, make_passkey
from tracker.protocol.passkeys import PasskeyCheck, account_number, read_passkey

KEYS = {1: bytes(range(32)), 2: bytes(range(32, 64))}
NUMBER = st.integers(1, 2**32 - 1)


@given(NUMBER, NUMBER, st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
def test_both_sides_agree(account: int, torrent: int, epoch: int, kid: int) -> None:
    check = PasskeyCheck(KEYS)
    general = make_passkey(KEYS[kid], account, scope=PasskeyScope.ANNOUNCE, epoch=epoch)
    scoped = make_passkey(
        KEYS[kid], account, scope=PasskeyScope.TORRENT, epoch=epoch, torrent=torrent
    )
    for passkey in (general, scoped):
        read = read_passkey(passkey.encode())
        assert read is not None
        assert account_number(read) == account
        assert check.opens(read, kid, epoch, torrent)
        assert not check.opens(read, 3 - kid, epoch, torrent)
        assert not check.opens(read, 9, epoch, torrent)
        assert not check.opens(read, kid, (epoch + 1) % 2**32, torrent)
        other = torrent % (2**32 - 1) + 1
        assert check.opens(read, kid, epoch, other) is (passkey == general)
        assert check.opens(read, kid, epoch, 0) is (passkey == general)


@given(NUMBER, st.sampled_from([PasskeyScope.TORZNAB, PasskeyScope.FEED, PasskeyScope.API]))
def test_keys_of_other_surfaces_open_nothing(account: int, scope: PasskeyScope) -> None:
    read = read_passkey(make_passkey(KEYS[1], account, scope=scope, epoch=0).encode())
    assert read is not None
    assert not PasskeyCheck(KEYS).opens(read, 1, 0, 7)


@given(st.binary(max_size=40))
def test_only_32_lower_case_hex_digits_are_read(raw: bytes) -> None:
    read = read_passkey(raw)
    if read is None:
        assert len(raw) != 32 or any(byte not in b"0123456789abcdef" for byte in raw)
    else:
        assert read.hex().encode() == raw


def test_upper_case_is_another_text() -> None:
    assert read_passkey(b"AB" * 16) is None
    assert read_passkey(b"ab" * 16) == b"\xab" * 16


def test_key_of_torrent_zero_opens_nothing() -> None:
    told = struct.pack(">IBII", 7, 2, 0, 0)
    forged = struct.pack(">I", 7) + hashlib.blake2b(told, key=KEYS[1], digest_size=12).digest()
    assert not PasskeyCheck(KEYS).opens(forged, 1, 0, 0)
