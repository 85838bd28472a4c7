"""How any command finds its servers: given, those of a running `up`, or embedded for its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ops.data_folder import kept_secret, prepare_folder
from ops.embedded import EmbeddedServers
from ops.failures import ServerUnfit
from ops.migrations.migrate import Migrated, MigrationError, migrate
from ops.migrations.roles import app_conninfo, login_works
from ops.run_state import Urls, read_run_state, secret_value
from ops.settings import Settings


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
    if not (database_url or replica_url or redis_url):
        return []
    # Loaded here: a start on embedded servers has nothing to check.
    from ops.server_checks import check_postgres, check_redis  # noqa: PLC0415

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
    # Loaded here: it brings numpy, which a process that only connects can do without.
    from ops.read_models import install_read_models  # noqa: PLC0415

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
