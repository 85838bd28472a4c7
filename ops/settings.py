"""Settings from the environment: one frozen class per concern, unknown keys refused."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from ops.failures import SettingsRefused
from ops.settings_group import Addresses, Port, Secret, SettingsGroup, checked_url

LOOPBACK = ("127.0.0.1", "::1")
G = TypeVar("G", bound=SettingsGroup)
# Read by the launcher, the tests or a child of `up`; no setting of an installation.
INTERNAL_KEYS = frozenset(
    {"TRACKARR_READY_FD", "TRACKARR_LISTEN_FDS", "TRACKARR_TEST_SERVERS", "TRACKARR_NIGHTLY"}
)


class ServerSettings(SettingsGroup):
    """Where PostgreSQL and Redis are; absent means embedded servers in the data folder."""

    title: ClassVar[str] = "Servers"

    database_url: Secret = Field(
        default=None, description="PostgreSQL 16 or newer, `postgresql://user:password@host/name`."
    )
    read_database_url: Secret = Field(
        default=None, description="A streaming replica for reads; absent means DATABASE_URL."
    )
    redis_url: Secret = Field(
        default=None,
        description="Redis or Valkey 7.2 or newer, `redis://`, `rediss://` or `unix://`.",
    )


class StorageSettings(SettingsGroup):
    """What this host keeps on its disk, and how strict the servers are checked."""

    model_config = SettingsConfigDict(env_prefix="TRACKARR_")
    title: ClassVar[str] = "Storage"

    data_dir: Path = Field(
        default=Path("var"),
        description="Folder of secrets, keyring, embedded servers and `run.json`.",
    )
    keyring_file: Path | None = Field(
        default=None, description="The keyring; absent means `keyring.json` in the data folder."
    )
    app_password: Secret = Field(
        default=None,
        description="Password of login trackarr_app; absent means one made at first start.",
    )
    allow_weak_redis: bool = Field(
        default=False, description="Accept a Redis that may lose acknowledged announces in a crash."
    )

    @property
    def keyring_path(self) -> Path:
        return self.keyring_file or self.data_dir / "keyring.json"

    @property
    def run_dir(self) -> Path:
        """Where the shards of this host meet: unix sockets, good for one run."""
        return self.data_dir.absolute() / "run"

    @property
    def snapshot_dir(self) -> Path:
        """Where the tracker shards of this host keep their snapshots."""
        return self.data_dir.absolute() / "snapshots"


class NetworkSettings(SettingsGroup):
    """Addresses and ports we listen on, and the URLs others reach us by."""

    model_config = SettingsConfigDict(env_prefix="TRACKARR_")
    title: ClassVar[str] = "Network"

    bind: Addresses = Field(
        default=LOOPBACK,
        description="Comma-separated addresses to listen on, `0.0.0.0,::` for all.",
    )
    api_port: Port = Field(default=8000, description="TCP port of the REST API, below 32768.")
    tracker_port: Port = Field(default=8080, description="TCP port of HTTP announces, below 32768.")
    udp_port: Port = Field(default=6969, description="UDP port of announces, below 32768.")
    tracker_address: str = Field(
        default="",
        description="Host or address the API asks for the tracker's health; absent means here.",
    )
    public_url: str = Field(
        default="",
        description="URL of the web client and API; absent means `http://localhost:API_PORT`.",
    )
    announce_url: str = Field(
        default="",
        description="HTTP announce URL without the key; absent means the public host with "
        "TRACKER_PORT and `/announce`.",
    )
    udp_announce_url: str = Field(
        default="", description="UDP announce URL without the key; absent means the public host."
    )
    trusted_proxies: Addresses = Field(
        default=(), description="Comma-separated networks whose X-Forwarded-For is believed."
    )
    webauthn_rp_id: str = Field(
        default="", description="Relying party of passkeys; absent means the public URL's host."
    )
    webauthn_origin: str = Field(
        default="", description="Origin of passkey proofs; absent means the public URL's origin."
    )

    @field_validator("bind")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            ipaddress.ip_address(address)
        if not value:
            raise ValueError("at least one address is needed")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(network)) for network in value)

    @field_validator("public_url", "announce_url", "webauthn_origin")
    @classmethod
    def _web_url(cls, value: str) -> str:
        return checked_url(value, ("http", "https"))

    @field_validator("udp_announce_url")
    @classmethod
    def _udp_url(cls, value: str) -> str:
        return checked_url(value, ("udp",))

    @model_validator(mode="after")
    def _distinct_ports(self) -> Self:
        if self.api_port == self.tracker_port:
            raise ValueError("TRACKARR_API_PORT and TRACKARR_TRACKER_PORT are the same")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach us."""
        return all(ipaddress.ip_address(address).is_loopback for address in self.bind)

    @property
    def tracker_host(self) -> str:
        """Where the tracker's ports answer, as seen from a process of this host."""
        bound = ipaddress.ip_address(self.bind[0])
        # Whoever listens on all addresses answers on the loopback one of the same family.
        anywhere = ("127.0.0.1", "::1")[bound.version == 6]
        return self.tracker_address or (anywhere if bound.is_unspecified else str(bound))

    @property
    def web_url(self) -> str:
        return self.public_url or f"http://localhost:{self.api_port}"

    @property
    def http_announce_url(self) -> str:
        """To be followed by `/` and a key."""
        return self.announce_url or f"http://{self._public_host}:{self.tracker_port}/announce"

    @property
    def udp_tracker_url(self) -> str:
        """To be followed by `/announce/` and a key (BEP 15, BEP 41)."""
        return self.udp_announce_url or f"udp://{self._public_host}:{self.udp_port}"

    @property
    def rp_id(self) -> str:
        return self.webauthn_rp_id or self._public_host

    @property
    def rp_origin(self) -> str:
        parts = urlsplit(self.web_url)
        return self.webauthn_origin or f"{parts.scheme}://{parts.netloc}"

    @property
    def _public_host(self) -> str:
        host = urlsplit(self.web_url).hostname or "localhost"
        return f"[{host}]" if ":" in host else host


class ProcessSettings(SettingsGroup):
    """How many processes this host runs, and how they speak."""

    model_config = SettingsConfigDict(env_prefix="TRACKARR_")
    title: ClassVar[str] = "Processes"

    api_workers: int = Field(default=1, ge=1, le=64, description="Processes that serve the API.")
    tracker_shards: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Tracker processes of this host; another number is another stream layout.",
    )
    tracker_shard: int = Field(
        default=0,
        ge=0,
        le=63,
        description="Which shard this tracker process is; `trackarr up` sets it for its own.",
    )
    worker_processes: int = Field(
        default=1, ge=1, le=64, description="Processes that run jobs and folds."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` for one object a line."
    )

    @model_validator(mode="after")
    def _known_shard(self) -> Self:
        if self.tracker_shard >= self.tracker_shards:
            raise ValueError("TRACKARR_TRACKER_SHARD must be below TRACKARR_TRACKER_SHARDS")
        return self


class ProtectionSettings(SettingsGroup):
    """Guards against floods and strangers."""

    model_config = SettingsConfigDict(env_prefix="TRACKARR_")
    title: ClassVar[str] = "Protection"

    rate_limits: bool = Field(
        default=True, description="`on` or `off`: how often one caller may ask the API."
    )
    pow_difficulty: int = Field(
        default=5, ge=1, le=8, description="Leading zero hex digits of a proof of work."
    )
    operator_token: Secret = Field(
        default=None,
        description="What the operator's own commands show so that they are not counted by the "
        "rate limits; absent means one made by `trackarr up`.",
    )
    setup_code: Secret = Field(
        default=None,
        description="Code the first registration must give where we listen beyond loopback; "
        "absent means one made by `trackarr up`, which prints it.",
    )


class TrackerSettings(SettingsGroup):
    """Numbers of the announce path."""

    model_config = SettingsConfigDict(env_prefix="TRACKARR_TRACKER_")
    title: ClassVar[str] = "Tracker"

    # With the widest spread this still fits the 16 bits the peer record has for it.
    interval: int = Field(default=1800, ge=60, le=43200, description="Seconds between announces.")
    interval_spread_percent: int = Field(
        default=10, ge=0, le=50, description="Percent by which each answer varies the interval."
    )
    min_interval: int = Field(
        default=900, ge=30, le=86400, description="Least seconds between announces."
    )
    numwant_default: int = Field(
        default=50, ge=0, le=500, description="Peers where none is asked for."
    )
    numwant_max: int = Field(default=100, ge=1, le=500, description="Most peers in one answer.")
    seats: int = Field(default=4, ge=1, le=8, description="Clients of one member in one torrent.")
    request_bytes: int = Field(
        default=4096, ge=512, le=65536, description="Longest request head, bytes."
    )
    header_seconds: float = Field(
        default=5.0, gt=0, le=60, description="Seconds to send a request head."
    )
    idle_seconds: float = Field(
        default=60.0, gt=0, le=600, description="Seconds a connection may idle."
    )
    connections: int = Field(
        default=4096, ge=16, le=65536, description="Open connections of one shard."
    )
    connections_per_address: int = Field(
        default=64, ge=1, le=65536, description="Open connections of one address."
    )
    announces_per_minute: int = Field(
        default=200,
        ge=0,
        le=100_000,
        description="Announces of one member from one address a minute; 0 for no limit.",
    )
    pending_answers: int = Field(
        default=8192, ge=64, le=65536, description="Answers that may wait for Redis."
    )
    pending_seconds: float = Field(
        default=2.0, gt=0, le=30, description="Seconds an answer may wait for Redis."
    )
    socket: Path | None = Field(
        default=None,
        description="Unix socket for HTTP announces through a reverse proxy on this host, which "
        "must set X-Forwarded-For; absent means none.",
    )
    metrics_token: Secret = Field(
        default=None,
        description="What readers of the tracker's /metrics send as `Authorization: Bearer`; "
        "absent means only this host and trusted proxies may read.",
    )
    snapshot_seconds: int = Field(
        default=60, ge=5, le=3600, description="Seconds between snapshots of the swarms."
    )

    @property
    def peer_life_seconds(self) -> int:
        """After this silence a peer leaves its swarm: two intervals and five minutes."""
        return 2 * self.interval + 300


class Settings(SettingsGroup):
    """All settings of an installation."""

    title: ClassVar[str] = "Trackarr"

    servers: ServerSettings
    storage: StorageSettings
    network: NetworkSettings
    processes: ProcessSettings
    protection: ProtectionSettings
    tracker: TrackerSettings


GROUPS: tuple[type[SettingsGroup], ...] = (
    ServerSettings,
    StorageSettings,
    NetworkSettings,
    ProcessSettings,
    ProtectionSettings,
    TrackerSettings,
)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings; raises SettingsRefused with one sentence naming the key.

    An empty value counts as absent. A secret may stand in a file named by its key and `_FILE`.
    """
    given = os.environ if environ is None else environ
    _refuse_unknown(given)
    return Settings(
        servers=_read(ServerSettings, given),
        storage=_read(StorageSettings, given),
        network=_read(NetworkSettings, given),
        processes=_read(ProcessSettings, given),
        protection=_read(ProtectionSettings, given),
        tracker=_read(TrackerSettings, given),
    )


def _read(group: type[G], environ: Mapping[str, str]) -> G:
    values: dict[str, Any] = {}
    for field, key in group.keys().items():
        value = environ.get(key, "")
        if group.is_secret(field) and environ.get(f"{key}_FILE"):
            if value:
                raise SettingsRefused(f"Give {key} or {key}_FILE, not both.")
            value = _secret_file(f"{key}_FILE", Path(environ[f"{key}_FILE"]))
        if value:
            values[field] = value
    try:
        return group(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise SettingsRefused(f"{text}.") from None
        key = group.keys()[str(first["loc"][0])]
        raise SettingsRefused(f"{key}: {text[:1].lower()}{text[1:]}.") from None


def _secret_file(key: str, path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise SettingsRefused(f"{key}: cannot read {path}: {error.strerror}.") from None


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = set(INTERNAL_KEYS)
    for group in GROUPS:
        for field, key in group.keys().items():
            known.add(key)
            if group.is_secret(field):
                known.add(f"{key}_FILE")
    for key in sorted(environ):
        if key.startswith("TRACKARR_") and key not in known:
            raise SettingsRefused(f"{key} is not a setting; `trackarr settings` lists them all.")
