"""The base of the settings classes, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


def _split(value: object) -> object:
    """Accept a comma-separated list, as an environment variable holds it."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


# Ports at or above 32768 belong to outgoing connections on most systems and may be taken any time.
Port = Annotated[int, Field(ge=1, lt=32768)]
Addresses = Annotated[tuple[str, ...], BeforeValidator(_split)]
Secret = SecretStr | None


class SettingsGroup(BaseSettings):
    """Settings of one concern; the environment name is the prefix and the field's upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")
    title: ClassVar[str]

    @classmethod
    def settings_customise_sources(  # takes only what `load_settings` passes, see `_read`
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def keys(cls) -> dict[str, str]:
        """Environment name by field name."""
        prefix = cls.model_config.get("env_prefix", "")
        return {field: f"{prefix}{field}".upper() for field in cls.model_fields}

    @classmethod
    def is_secret(cls, field: str) -> bool:
        return cls.model_fields[field].annotation == Secret


def checked_url(value: str, schemes: tuple[str, ...]) -> str:
    """`value` without a trailing slash; ValueError unless empty or a URL of these schemes."""
    if value:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"should be a URL beginning with {' or '.join(schemes)}")
    return value.rstrip("/")
