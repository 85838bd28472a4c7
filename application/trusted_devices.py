"""Browsers a member trusts: listed, and ended by him."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.factors import (
    DEVICE_KIND,
    DEVICE_USED_KIND,
    KeptDevice,
    load_factors,
    record_factors,
)
from application.ports import EventLogPort, VaultPut
from domain import factor_rules


class TrustedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that needs no second factor until `expires_at`.

    `last_used_at` is when it last stood in for one, None when it never did.
    """

    device: UUID
    label: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None


class RevokeTrustedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """Let one of the caller's trusted devices need the second factor again."""

    device: UUID


class SwitchDeviceTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Choose whether browsers that pass the second factor become trusted by themselves.

    Off also ends the trust of those there are.
    """

    enabled: bool


def list_trusted_devices(log: EventLogPort, account: UUID, now: datetime) -> list[TrustedDevice]:
    """The account's trusted devices, the newest first."""
    state = load_factors(log, account)
    kept = {
        hashed: msgspec.json.decode(value, type=KeptDevice)
        for hashed, value in log.vault_list(DEVICE_KIND, account).items()
    }
    used = log.vault_list(DEVICE_USED_KIND, account)
    live = [
        TrustedDevice(
            device=each.device,
            label=each.label,
            created_at=each.created_at,
            expires_at=state.devices[each.device],
            last_used_at=(
                datetime.fromisoformat(used[hashed].decode()) if hashed in used else None
            ),
        )
        for hashed, each in kept.items()
        if state.trusts(each.device, now)
    ]
    return sorted(live, key=lambda device: device.created_at, reverse=True)


def note_device_use(log: EventLogPort, account: UUID, token_hash: str, at: datetime) -> None:
    """Note that the device stood in for a second factor: telemetry, no fact."""
    used = at.isoformat().encode()
    log.vault_write(
        puts=[VaultPut(kind=DEVICE_USED_KIND, owner=account, id=token_hash, value=used)]
    )


def handle_revoke_trusted_device(unit: Unit, command: RevokeTrustedDevice) -> None:
    """End it. Raises `DeviceNotFound`, also for another member's."""
    state = load_factors(unit, unit.actor.account)
    record_factors(unit, state, factor_rules.distrust_device(state, command.device))


def handle_switch_device_trust(unit: Unit, command: SwitchDeviceTrust) -> None:
    """Switch it."""
    state = load_factors(unit, unit.actor.account)
    facts = factor_rules.switch_device_trust(state, enabled=command.enabled)
    record_factors(unit, state, facts)


HANDLERS: dict[type, Handler] = {
    RevokeTrustedDevice: handle_revoke_trusted_device,
    SwitchDeviceTrust: handle_switch_device_trust,
}
