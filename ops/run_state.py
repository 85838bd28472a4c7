"""What `trackarr up` wrote about itself, and the URLs our processes connect to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import SecretStr

from ops.data_folder import is_locked, write_private
from ops.settings import Settings

RUN_FILE = "run.json"
UP_LOCK = "up.lock"


@dataclass(frozen=True)
class Urls:
    """Where a command connects. All may hold passwords and must not be logged.

    `owner_url` is the login that migrates, `app_url` the one processes use; they are the same
    where the given server would not let us make the restricted login.
    """

    owner_url: str
    app_url: str
    redis_url: str

    @property
    def protected(self) -> bool:
        """Whether the log is protected from the login processes use."""
        return self.app_url != self.owner_url


@dataclass(frozen=True)
class RunState:
    """The content of `run.json`: process ids and ports by name, and the URLs."""

    urls: Urls
    pids: Mapping[str, int] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    public_url: str = ""
    supervisor: int = 0
    """Process id of `trackarr up` itself; 0 where it is not known."""


def write_run_state(data_dir: Path, state: RunState) -> None:
    """Write `run.json`, readable by this user only, as the URLs hold passwords."""
    write_private(data_dir / RUN_FILE, json.dumps(asdict(state), indent=2) + "\n")


def remove_run_state(data_dir: Path) -> None:
    (data_dir / RUN_FILE).unlink(missing_ok=True)


def read_run_state(data_dir: Path) -> RunState | None:
    """The state of the `up` that runs on this folder; None when none does."""
    path = data_dir / RUN_FILE
    if not is_locked(data_dir / UP_LOCK) or not path.exists():
        return None
    found = json.loads(path.read_text())
    return RunState(
        urls=Urls(**found["urls"]),
        pids=found["pids"],
        ports=found["ports"],
        public_url=found["public_url"],
        supervisor=found.get("supervisor", 0),
    )


def secret_value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def settings_at(settings: Settings, urls: Urls) -> Settings:
    """The same settings with the servers filled in, as our processes read them."""
    servers = settings.servers.model_copy(
        update={
            "database_url": SecretStr(urls.app_url),
            "redis_url": SecretStr(urls.redis_url),
        }
    )
    return settings.model_copy(update={"servers": servers})
