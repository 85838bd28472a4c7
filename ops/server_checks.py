"""Checks of given PostgreSQL and Redis servers: reachable, new enough, strict enough."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.failures import ServerUnfit, ServerUnreachable
from ops.migrations.server import GOOD_DATABASE, PostgresFacts, TrigramFacts, postgres_facts

POSTGRES_OLDEST = 16
REDIS_OLDEST = (7, 2)
CONNECT_SECONDS = 5
# What "answered means durable" rests on: each batch on the disk before its answer, also while the
# file is rewritten, and no key evicted.
DURABLE_REDIS: Mapping[str, str] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


def check_postgres(url: str, name: str = "DATABASE_URL") -> None:
    """Raise ServerUnreachable or ServerUnfit unless the server suits us and we may create in it."""
    try:
        facts = postgres_facts(url)
    except psycopg.ProgrammingError:
        raise ServerUnreachable(f"{name} is not a PostgreSQL URL.") from None
    except psycopg.OperationalError as error:
        raise ServerUnreachable(
            f"{name}: PostgreSQL at {postgres_place(url)} {_reason(error)}."
        ) from None
    fault = postgres_fault(facts)
    if fault:
        raise ServerUnfit(f"{name}: {fault}.")


def postgres_fault(facts: PostgresFacts) -> str | None:
    """Why this PostgreSQL will not do; None when it will."""
    if facts.version < POSTGRES_OLDEST:
        return f"PostgreSQL {facts.version} is too old, {POSTGRES_OLDEST} or newer is needed"
    if not facts.may_create:
        return "this login may not create schemas in the database"
    if facts.encoding != "UTF8":
        return f"the database's encoding is {facts.encoding}, UTF8 is needed"
    return None


def search_fault(facts: TrigramFacts) -> tuple[str, str]:
    """Why searches cannot be, or are slow, and what to do; both empty where all is well."""
    if not facts.available:
        return (
            "this PostgreSQL has no extension pg_trgm, which searches need",
            "install its package of additional modules (postgresql-contrib)",
        )
    if facts.knows_letters is False:
        fault = (
            f"the database's LC_CTYPE is {facts.ctype}, where pg_trgm knows no letters but a to z: "
            "each search for a word in another writing reads all names"
        )
        return fault, f"move the data to a database made with: {GOOD_DATABASE}"
    return "", ""


def check_redis(url: str, *, allow_weak: bool) -> list[str]:
    """Raise ServerUnreachable or ServerUnfit; gives the weaknesses accepted by `allow_weak`."""
    try:
        client = probe_client(url)
    except ValueError:
        raise ServerUnreachable("REDIS_URL is not a Redis URL.") from None
    try:
        found = client.info("server")
        weak = weak_settings(client)
    except redis.RedisError as error:
        raise ServerUnreachable(
            f"REDIS_URL: Redis at {redis_place(url)} {_reason(error)}."
        ) from None
    finally:
        client.close()
    fault = redis_fault(found)
    if fault:
        raise ServerUnfit(f"REDIS_URL: {fault}.")
    if weak and not allow_weak:
        raise ServerUnfit(
            f"REDIS_URL: this Redis may lose acknowledged announces ({', '.join(weak)}); "
            "set it so, or set TRACKARR_ALLOW_WEAK_REDIS=1 to accept the loss."
        )
    return weak


def redis_fault(server: Mapping[str, object]) -> str | None:
    """Why this Redis or Valkey, by its `INFO server`, will not do; None when it will."""
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = str(server.get("valkey_version") or server["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < REDIS_OLDEST:
        return f"{name} {version} is too old, 7.2 or newer is needed"
    return None


def weak_settings(client: redis.Redis) -> list[str]:
    """`name should be value` for each setting that differs, or that the server hides."""
    weak = []
    for name, wanted in DURABLE_REDIS.items():
        try:
            value = client.config_get(name).get(name)
        except redis.ResponseError:
            value = None
        if value != wanted:
            weak.append(f"{name} should be {wanted}")
    return weak


def probe_client(url: str) -> redis.Redis:
    """A client that fails soon instead of trying again for a minute."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=CONNECT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def postgres_place(url: str) -> str:
    """Host and port of a PostgreSQL URL, without its password."""
    parts = conninfo_to_dict(url)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def redis_place(url: str) -> str:
    """Host and port, or the socket, of a Redis URL, without its password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"


def _reason(error: Exception) -> str:
    text = str(error).lower()
    for mark, reason in (
        ("password authentication failed", "refuses the login"),
        ("auth", "refuses the login"),
        ("does not exist", "has no such database or login"),
        ("refused", "refuses the connection"),
        ("name or service not known", "has an unknown host name"),
        ("timeout", "does not answer"),
        ("timed out", "does not answer"),
        ("no such file", "has no such socket"),
    ):
        if mark in text:
            return reason
    return "cannot be reached"
