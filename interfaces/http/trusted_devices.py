"""The signed-in member's trusted devices."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from application.trusted_devices import (
    RevokeTrustedDevice,
    SwitchDeviceTrust,
    list_trusted_devices,
)
from domain.errors import NotFound
from interfaces.http.deps import Commands, Services, SignedIn
from interfaces.http.errors import refusals
from interfaces.http.models import Instant, Reply, StrictBody

router = APIRouter(tags=["Two-factor enrolment (logged in)"])


class TrustedDeviceReply(Reply):
    """A browser that needs no second factor; `label` is what it called itself.

    `lastUsedAt` is null while it never stood in for one.
    """

    id: UUID
    label: str
    created_at: Instant
    expires_at: Instant
    last_used_at: Instant | None


class TrustedDevicesReply(Reply):
    """All trusted devices, the newest first."""

    devices: list[TrustedDeviceReply]


class RevokeTrustedDeviceReply(Reply):
    revoked: UUID


class SwitchDeviceTrustBody(StrictBody):
    """Whether browsers become trusted by themselves for 30 days."""

    enabled: bool


class SwitchDeviceTrustReply(Reply):
    enabled: bool


@router.get("/api/me/2fa/sessions")
def show_trusted_devices(caller: SignedIn, services: Services) -> TrustedDevicesReply:
    """List the browsers the caller trusts."""
    devices = list_trusted_devices(services.log, caller.account, services.clock())
    return TrustedDevicesReply(
        devices=[
            TrustedDeviceReply(
                id=each.device,
                label=each.label,
                created_at=each.created_at,
                expires_at=each.expires_at,
                last_used_at=each.last_used_at,
            )
            for each in devices
        ]
    )


@router.delete("/api/me/2fa/sessions/{id}", responses=refusals(NotFound))
def revoke_trusted_device(
    device: Annotated[UUID, Path(alias="id", description="The device's id.")],
    _caller: SignedIn,
    call: Commands,
) -> RevokeTrustedDeviceReply:
    """Let a device need the second factor again."""
    call.dispatch(RevokeTrustedDevice(device=device))
    return RevokeTrustedDeviceReply(revoked=device)


@router.put("/api/me/2fa/trust-devices")
def switch_device_trust(
    body: SwitchDeviceTrustBody, _caller: SignedIn, call: Commands
) -> SwitchDeviceTrustReply:
    """Choose whether browsers become trusted by themselves; off ends the trust there is."""
    call.dispatch(SwitchDeviceTrust(enabled=body.enabled))
    return SwitchDeviceTrustReply(enabled=body.enabled)
