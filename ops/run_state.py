"""What `trackarr up` wrote about itself, and how any command finds the running servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
from pydantic import SecretStr

from ops.data_folder import is_locked, kept_secret, prepare_folder, write_private
from ops.embedded import EmbeddedServers
from ops.failures import ServerUnfit
from ops.migrations.migrate import Migrated, MigrationError, migrate
from ops.migrations.roles import app_conninfo, login_works
from ops.read_models import install_read_models
from ops.server_checks import check_postgres, check_redis
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
    )


def secret_value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def embedded_servers(settings: Settings) -> EmbeddedServers:
    """The servers of the data folder, except those whose URL is given."""
    return EmbeddedServers(
        settings.storage.data_dir,
        given_database_url=secret_value(settings.servers.database_url),
        given_redis_url=secret_value(settings.servers.redis_url),
    )


def check_given_servers(settings: Settings) -> list[str]:
    """Check what the operator named; gives accepted weaknesses of its Redis."""
    database_url = secret_value(settings.servers.database_url)
    replica_url = secret_value(settings.servers.read_database_url)
    redis_url = secret_value(settings.servers.redis_url)
    if database_url:
        check_postgres(database_url)
    if replica_url:
        check_postgres(replica_url, "READ_DATABASE_URL")
    if redis_url:
        return check_redis(redis_url, allow_weak=settings.storage.allow_weak_redis)
    return []


def app_password(settings: Settings) -> str:
    """The password of login trackarr_app: given, or made once in the data folder."""
    given = secret_value(settings.storage.app_password)
    return given or kept_secret(settings.storage.data_dir / "app-password.secret")


def migrate_to(owner_url: str, settings: Settings) -> Migrated:
    """Bring the database to this version; a refusal becomes one sentence for the operator."""
    try:
        migrated = migrate(owner_url, app_password=app_password(settings))
        install_read_models(migrated.app_conninfo)
    except MigrationError as error:
        text = str(error)
        raise ServerUnfit(f"{text[:1].upper()}{text[1:]}.") from None
    except psycopg.errors.InsufficientPrivilege:
        raise ServerUnfit(
            "The login of DATABASE_URL may not change the log's tables; give the owner's login."
        ) from None
    except psycopg.OperationalError:
        raise ServerUnfit("The database went away during the migration; start again.") from None
    return migrated


@contextmanager
def connected(settings: Settings) -> Iterator[Urls]:
    """The URLs of the running servers; where nothing runs, start them for this block.

    In that order: given ones; the servers of a running `up`; embedded ones, migrated. A given
    database is not migrated: its login may be the restricted one, and several hosts may use it.
    """
    data_dir = settings.storage.data_dir
    database_url = secret_value(settings.servers.database_url)
    redis_url = secret_value(settings.servers.redis_url)
    if database_url and redis_url:
        # No lock: the processes of a host share the data folder.
        check_given_servers(settings)
        prepare_folder(data_dir)
        yield Urls(database_url, _restricted(database_url, settings), redis_url)
        return
    running = read_run_state(data_dir)
    if running:
        yield running.urls
        return
    check_given_servers(settings)
    servers = embedded_servers(settings)
    started = servers.start()
    try:
        if database_url:
            app_url = _restricted(database_url, settings)
        else:
            app_url = migrate_to(started.database_url, settings).app_conninfo
        yield Urls(started.database_url, app_url, started.redis_url)
    finally:
        servers.stop()


def _restricted(database_url: str, settings: Settings) -> str:
    """The restricted login where there is one, else the login we were given."""
    restricted = app_conninfo(database_url, app_password(settings))
    return restricted if login_works(restricted) else database_url


def settings_at(settings: Settings, urls: Urls) -> Settings:
    """The same settings with the servers filled in, as our processes read them."""
    servers = settings.servers.model_copy(
        update={
            "database_url": SecretStr(urls.app_url),
            "redis_url": SecretStr(urls.redis_url),
        }
    )
    return settings.model_copy(update={"servers": servers})
