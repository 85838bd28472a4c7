"""Browsers a member trusts: listed, and ended by him."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.factors import DEVICE_KIND, KeptDevice, load_factors, record_factors
from application.ports import EventLogPort
from domain import factor_rules


class TrustedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that needs no second factor until `expires_at`."""

    device: UUID
    label: str
    created_at: datetime
    expires_at: datetime


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
    kept = (
        msgspec.json.decode(value, type=KeptDevice)
        for value in log.vault_list(DEVICE_KIND, account).values()
    )
    live = [
        TrustedDevice(
            device=each.device,
            label=each.label,
            created_at=each.created_at,
            expires_at=state.devices[each.device],
        )
        for each in kept
        if state.trusts(each.device, now)
    ]
    return sorted(live, key=lambda device: device.created_at, reverse=True)


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
