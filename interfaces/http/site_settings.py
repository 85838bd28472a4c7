"""Site settings, for administrators."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, create_model

from application.site import ChangeSettings
from domain.site_settings import SETTINGS, Setting, SettingValue
from interfaces.http.deps import Administrator, Commands, Reads, Services
from projections.site import read_site

router = APIRouter(tags=["Settings"])

_TYPES = {bool: "boolean", int: "integer", str: "string"}


def _field(setting: Setting) -> Any:
    kind: Any = setting.kind | None if setting.nullable else setting.kind
    return kind, Field(description=_described(setting))


def _described(setting: Setting) -> str:
    return f"{setting.meaning} In {setting.unit}." if setting.unit else setting.meaning


def _schema(setting: Setting) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": [_TYPES[setting.kind], "null"] if setting.nullable else _TYPES[setting.kind],
        "description": _described(setting),
        "default": setting.default,
    }
    if setting.choices:
        return {**schema, "enum": list(setting.choices)}
    if setting.kind is int:
        return {**schema, "minimum": setting.lowest, "maximum": setting.highest}
    if setting.kind is str:
        return {**schema, "minLength": setting.lowest, "maxLength": setting.highest}
    return schema


# The table of settings is the one source of names, types and bounds, also for the document.
_FIELDS = {key: _field(setting) for key, setting in SETTINGS.items()}
SettingsReply: type[BaseModel] = create_model("SettingsReply", **_FIELDS)
ChangeSettingsReply: type[BaseModel] = create_model(
    "ChangeSettingsReply", success=(bool, True), **_FIELDS
)
_CHANGE_SETTINGS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "title": "ChangeSettingsBody",
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {key: _schema(setting) for key, setting in SETTINGS.items()},
                }
            }
        },
    }
}


@router.get("/api/admin/settings", response_model=SettingsReply)
def show_settings(_caller: Administrator, reads: Reads) -> dict[str, SettingValue]:
    """Show every setting in force."""
    with reads.connection() as connection:
        return dict(read_site(connection).settings)


@router.put(
    "/api/admin/settings", response_model=ChangeSettingsReply, openapi_extra=_CHANGE_SETTINGS
)
def change_settings(
    body: dict[str, Any], _caller: Administrator, services: Services, call: Commands
) -> dict[str, SettingValue]:
    """Change any settings; those not named stay. All faults are named at once."""
    settings: dict[str, SettingValue] = call.dispatch(ChangeSettings(changes=body))
    # Whether a member must have a second factor may have changed.
    services.sessions.forget_all()
    return {"success": True, **settings}
