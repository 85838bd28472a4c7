"""Authenticator codes and recovery codes: set up, confirmed, given up, each taken once."""

from __future__ import annotations

import hmac
from base64 import b32encode
from datetime import datetime
from hashlib import scrypt
from uuid import UUID

import msgspec
import pyotp

from application.bus import Handler, Unit
from application.factors import is_demanded_of_caller, load_factors, record_factors
from application.ports import Entropy
from domain import factor_rules
from domain.factors import RECOVERY_CODES, STEP_SECONDS, Factors
from domain.kernel import Fact

SECRET_SIZE = 20
"""Random bytes of a secret (RFC 4226, section 4, recommends 160 bits)."""
TOTP_KIND = "totp"
PENDING, CURRENT = "pending", "current"
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_CODE_LENGTH = 10
# 25 ms of work for each guess at a sealed set of 50-bit codes.
_SCRYPT = {"n": 2**13, "r": 8, "p": 1}


class KeptTotp(msgspec.Struct, frozen=True, kw_only=True):
    """What the vault keeps: the secret (base32), and the recovery codes as salted slow hashes."""

    secret: str
    salt: bytes
    codes: tuple[bytes, ...]


class SetUpTotp(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a secret and recovery codes for the caller; they count once he enables them."""

    kept: KeptTotp


class EnableTotp(msgspec.Struct, frozen=True, kw_only=True):
    """Confirm the secret by a code, and ask for one at each sign-in from now on."""

    code: str


class DisableTotp(msgspec.Struct, frozen=True, kw_only=True):
    """Give up authenticator and recovery codes, by a code or recovery code not used before."""

    code: str | None = None
    recovery_code: str | None = None


class RegenerateRecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Replace the recovery codes, by a code of the authenticator."""

    code: str
    salt: bytes
    codes: tuple[bytes, ...]


def new_secret(entropy: Entropy) -> str:
    """A secret as authenticator apps read it: base32."""
    return b32encode(entropy.token(SECRET_SIZE)).decode()


def new_recovery_codes(entropy: Entropy) -> list[str]:
    """Codes as shown to the member: `XXXX-XXXXXX`, 50 random bits each."""
    codes = []
    for _ in range(RECOVERY_CODES):
        # 256 is a multiple of 32, so that every letter is as likely.
        letters = "".join(_ALPHABET[byte % 32] for byte in entropy.token(_CODE_LENGTH))
        codes.append(f"{letters[:4]}-{letters[4:]}")
    return codes


def hash_recovery_code(code: str, salt: bytes) -> bytes:
    """What is kept of a code; case and hyphen do not matter."""
    plain = code.upper().replace("-", "").encode()
    return scrypt(plain, salt=salt, dklen=32, **_SCRYPT)


def totp_uri(secret: str, *, username: str, issuer: str) -> str:
    """What an authenticator app reads from a QR code (`otpauth://totp/…`)."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


def step_of(secret: str, code: str, at: datetime) -> int | None:
    """The time step `code` belongs to, one earlier and one later allowed; None for none.

    Every step is compared in constant time, whichever fits (RFC 6238, section 5.2).
    """
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    now = int(at.timestamp()) // STEP_SECONDS
    found = None
    for step in (now - 1, now, now + 1):
        right = hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
        found = step if right else found
    return found


def record_totp_code(unit: Unit, state: Factors, code: str) -> Factors:
    """Take the code, once. Raises `TotpNotEnabled`, `TotpCodeInvalid`.

    The facts are part of what `unit` saves: of two that show one code at once, one wins.
    """
    return _recorded(unit, state, factor_rules.accept_totp_code(state, _step(unit, state, code)))


def record_recovery_code(unit: Unit, state: Factors, code: str) -> Factors:
    """Use the code up. Raises `TotpNotEnabled`, `RecoveryCodeInvalid`."""
    kept = _kept(unit, state.account, CURRENT)
    hashed = _known_hash(kept, code)
    facts = factor_rules.use_recovery_code(state, is_known=hashed is not None)
    if kept is not None:
        left = tuple(each for each in kept.codes if each != hashed)
        _put(unit, state.account, msgspec.structs.replace(kept, codes=left))
    return _recorded(unit, state, facts)


def _known_hash(kept: KeptTotp | None, code: str) -> bytes | None:
    """The hash of a code that is among the kept ones; every one is compared."""
    if kept is None:
        return None
    hashed = hash_recovery_code(code, kept.salt)
    found = sum(hmac.compare_digest(hashed, each) for each in kept.codes)
    return hashed if found else None


def handle_set_up_totp(unit: Unit, command: SetUpTotp) -> None:
    """Keep them. Raises `TotpAlreadyEnabled`."""
    state = load_factors(unit, unit.actor.account)
    record_factors(unit, state, factor_rules.prepare_totp(state))
    unit.put(TOTP_KIND, state.account, PENDING, msgspec.json.encode(command.kept))


def handle_enable_totp(unit: Unit, command: EnableTotp) -> None:
    """Enable it. Raises `TotpAlreadyEnabled`, `TotpNotPrepared`, `TotpCodeInvalid`."""
    state = load_factors(unit, unit.actor.account)
    factor_rules.require_prepared(state)
    kept = _kept(unit, state.account, PENDING)
    step = step_of(kept.secret, command.code, unit.at) if kept else None
    record_factors(unit, state, factor_rules.enable_totp(state, step))
    if kept is not None:
        _put(unit, state.account, kept)
    unit.erase(TOTP_KIND, state.account, PENDING)


def handle_disable_totp(unit: Unit, command: DisableTotp) -> None:
    """Give it up. Raises `TotpNotEnabled`, `LastFactor`, `TotpCodeInvalid`,
    `RecoveryCodeInvalid`.
    """
    state = load_factors(unit, unit.actor.account)
    facts = factor_rules.disable_totp(state, is_required=is_demanded_of_caller(unit))
    if command.recovery_code is not None:
        hashed = _known_hash(_kept(unit, state.account, CURRENT), command.recovery_code)
        used = factor_rules.use_recovery_code(state, is_known=hashed is not None)
        state = _recorded(unit, state, used)
    else:
        state = record_totp_code(unit, state, command.code or "")
    record_factors(unit, state, facts)
    unit.erase(TOTP_KIND, state.account, CURRENT)


def handle_regenerate_recovery_codes(unit: Unit, command: RegenerateRecoveryCodes) -> None:
    """Replace them. Raises `TotpNotEnabled`, `TotpCodeInvalid`."""
    state = load_factors(unit, unit.actor.account)
    facts = factor_rules.replace_recovery_codes(state)
    state = record_totp_code(unit, state, command.code)
    record_factors(unit, state, facts)
    kept = _kept(unit, state.account, CURRENT)
    if kept is not None:
        _put(
            unit,
            state.account,
            msgspec.structs.replace(kept, salt=command.salt, codes=command.codes),
        )


HANDLERS: dict[type, Handler] = {
    SetUpTotp: handle_set_up_totp,
    EnableTotp: handle_enable_totp,
    DisableTotp: handle_disable_totp,
    RegenerateRecoveryCodes: handle_regenerate_recovery_codes,
}


def _recorded(unit: Unit, state: Factors, facts: list[Fact]) -> Factors:
    """Record, and give the version after it, as more may follow in the same unit."""
    record_factors(unit, state, facts)
    return msgspec.structs.replace(state, version=state.version + len(facts))


def _step(unit: Unit, state: Factors, code: str) -> int | None:
    kept = _kept(unit, state.account, CURRENT)
    return step_of(kept.secret, code, unit.at) if kept else None


def _kept(unit: Unit, account: UUID, id: str) -> KeptTotp | None:
    value = unit.log.vault_get(TOTP_KIND, account, id)
    return msgspec.json.decode(value, type=KeptTotp) if value else None


def _put(unit: Unit, account: UUID, kept: KeptTotp) -> None:
    unit.put(TOTP_KIND, account, CURRENT, msgspec.json.encode(kept))
