"""Security keys (WebAuthn): registered, removed, and proving their member."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from uuid import UUID

import msgspec

from application.bus import Handler, TakenErrors, Unit
from application.factors import is_demanded_of_caller, load_factors, record_factors
from application.ports import EventLogPort
from application.second_factor import NewDevice, record_trust
from application.sessions import OpenSession, handle_open_session
from domain import factor_rules, users
from domain.factors import SecurityKeyKnown, SecurityKeyRefused, SecurityKeySuspected

KEY_KIND = "security_key"


class KeptKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the vault keeps of a key, under its credential id (base64url)."""

    key: UUID
    name: str
    public_key: bytes
    created_at: datetime
    last_used_at: datetime | None = None


class KeyProof(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that was checked: by which key of whom, with which signature counter."""

    account: UUID
    key: UUID
    credential: str
    counter: int


class RegisterSecurityKey(msgspec.Struct, frozen=True, kw_only=True):
    """Add a checked security key to the caller's factors."""

    key: UUID
    credential: str
    public_key: bytes
    name: str


class RemoveSecurityKey(msgspec.Struct, frozen=True, kw_only=True):
    """Remove one of the caller's security keys."""

    key: UUID


class PassBySecurityKey(msgspec.Struct, frozen=True, kw_only=True):
    """Open a session by a checked security key, as the second factor or the only one."""

    opening: OpenSession
    proof: KeyProof
    device: NewDevice | None = None


def find_key(log: EventLogPort, credential: str) -> tuple[UUID, KeptKey] | None:
    """Whose key has this credential id, and what is kept of it."""
    found = log.vault_find(KEY_KIND, credential)
    return (found[0], msgspec.json.decode(found[1], type=KeptKey)) if found else None


def list_keys(log: EventLogPort, account: UUID) -> dict[str, KeptKey]:
    """The account's keys by credential id."""
    return {
        credential: msgspec.json.decode(value, type=KeptKey)
        for credential, value in log.vault_list(KEY_KIND, account).items()
    }


def handle_register_security_key(unit: Unit, command: RegisterSecurityKey) -> None:
    """Add it. Raises `TooManySecurityKeys`, `SecurityKeyKnown`."""
    state = load_factors(unit, unit.actor.account)
    fingerprint = sha256(command.credential.encode()).hexdigest()
    facts = factor_rules.register_security_key(state, command.key, fingerprint)
    record_factors(unit, state, facts)
    kept = KeptKey(
        key=command.key, name=command.name, public_key=command.public_key, created_at=unit.at
    )
    unit.put(KEY_KIND, state.account, command.credential, msgspec.json.encode(kept))


def handle_remove_security_key(unit: Unit, command: RemoveSecurityKey) -> None:
    """Remove it. Raises `SecurityKeyNotFound`, `LastFactor`."""
    state = load_factors(unit, unit.actor.account)
    required = is_demanded_of_caller(unit)
    facts = factor_rules.remove_security_key(state, command.key, is_required=required)
    record_factors(unit, state, facts)
    for credential, kept in list_keys(unit.log, state.account).items():
        if kept.key == command.key:
            unit.erase(KEY_KIND, state.account, credential)


def handle_pass_by_security_key(unit: Unit, command: PassBySecurityKey) -> users.Account | None:
    """Open the session; whose it is. None when the key's counter did not rise: then only the
    suspicion is recorded. Raises `SecurityKeyRefused`, and what opening a session raises.
    """
    proof = command.proof
    state = load_factors(unit, proof.account)
    kept = list_keys(unit.log, proof.account).get(proof.credential)
    if kept is None or proof.account != command.opening.account:
        raise SecurityKeyRefused()
    facts = factor_rules.use_security_key(state, proof.key, proof.counter)
    record_factors(unit, state, facts)
    if any(isinstance(fact, SecurityKeySuspected) for fact in facts):
        return None
    account = handle_open_session(unit, command.opening)
    used = msgspec.structs.replace(kept, last_used_at=unit.at)
    unit.put(KEY_KIND, state.account, proof.credential, msgspec.json.encode(used))
    if command.device is not None:
        after = msgspec.structs.replace(state, version=state.version + len(facts))
        record_trust(unit, after, command.device)
    return account


HANDLERS: dict[type, Handler] = {
    RegisterSecurityKey: handle_register_security_key,
    RemoveSecurityKey: handle_remove_security_key,
    PassBySecurityKey: handle_pass_by_security_key,
}
TAKEN: TakenErrors = {"security_key.credential": SecurityKeyKnown}
