"""Authenticator codes and recovery codes, against the vectors of their standards."""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from datetime import UTC, datetime
from hmac import digest
from urllib.parse import parse_qs, urlsplit

import pytest

from application.totp import (
    hash_recovery_code,
    new_recovery_codes,
    new_secret,
    step_of,
    totp_uri,
)
from domain.factors import RECOVERY_CODES, STEP_SECONDS
from tests.kit.api import SystemEntropy

RFC_SECRET = b32encode(b"12345678901234567890").decode()
"""RFC 6238, appendix B: the secret of the SHA-1 vectors."""


@pytest.mark.parametrize(
    ("seconds", "code"),
    # The last six of the eight digits the appendix gives.
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_step_of_matches_the_vectors_of_rfc_6238(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert step_of(RFC_SECRET, code, at) == seconds // STEP_SECONDS
    assert step_of(RFC_SECRET, code[1:] + code[0], at) is None
    assert step_of(RFC_SECRET, code[:5], at) is None


@pytest.mark.parametrize(
    ("late", "right"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
)
@pytest.mark.parametrize("within", [0, STEP_SECONDS - 1])
def test_step_of_allows_one_step_to_either_side_at_either_end_of_a_step(
    late: int, right: bool, within: int
) -> None:
    step = 59 // STEP_SECONDS + 10
    at = datetime.fromtimestamp(STEP_SECONDS * (step + late) + within, UTC)
    code = _code_of(step)
    assert step_of(RFC_SECRET, code, at) == (step if right else None)


def _code_of(step: int) -> str:
    """RFC 4226, section 5.3, written out: the code without the library that is tested."""
    mac = digest(b32decode(RFC_SECRET), step.to_bytes(8, "big"), "sha1")
    start = mac[-1] & 15
    return f"{(int.from_bytes(mac[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def test_new_secret_is_160_bits_in_base32() -> None:
    first, second = new_secret(SystemEntropy()), new_secret(SystemEntropy())
    assert first != second
    assert len(b32decode(first)) == 20


def test_new_recovery_codes_have_the_form_and_letters_of_the_sheet() -> None:
    codes = [code for _ in range(50) for code in new_recovery_codes(SystemEntropy())]
    assert len(codes) == 50 * RECOVERY_CODES
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{6}", code) for code in codes)
    # Each of the 32 letters comes up: none is lost by the way bytes become letters.
    assert len(set("".join(codes)) - {"-"}) == 32


def test_hash_recovery_code_knows_neither_case_nor_hyphen() -> None:
    salt = b"s" * 16
    whole = hash_recovery_code("ABCD-EFGHJK", salt)
    assert hash_recovery_code("abcdefghjk", salt) == whole
    assert hash_recovery_code("ABCD-EFGHJL", salt) != whole
    assert hash_recovery_code("ABCD-EFGHJK", b"t" * 16) != whole


def test_hash_recovery_code_is_not_the_fast_hash_of_the_reference() -> None:
    """The sheet's SHA-256 of 50 bits could be tried out in hours; ours is salted and slow."""
    fast = bytes.fromhex("f57cbf1e3e471b25db4b8ad0844df41b2dae9c7d1944944d128e49294d412f66")
    assert hash_recovery_code("ABCD-EFGHJK", b"") != fast


def test_totp_uri_is_what_authenticator_apps_read() -> None:
    parts = urlsplit(totp_uri(RFC_SECRET, username="alice", issuer="A Site"))
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/A%20Site:alice")
    query = parse_qs(parts.query)
    assert (query["secret"], query["issuer"]) == ([RFC_SECRET], ["A Site"])
    # Left out they are SHA-1, six digits and 30 seconds, as the sheet wants them.
    assert not query.keys() & {"algorithm", "digits"}
    assert query.get("period", ["30"]) == ["30"]
