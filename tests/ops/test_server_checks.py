"""Which servers will do, and what their weaknesses are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from ops.failures import ServerUnreachable
from ops.migrations.server import log_facts, postgres_facts
from ops.server_checks import check_postgres, postgres_fault, redis_fault, weak_settings
from tests.kit.servers import Database, TestServers


def test_the_embedded_postgres_will_do(database_url: str) -> None:
    assert postgres_fault(postgres_facts(database_url)) is None


def test_an_old_or_closed_or_odd_postgres_will_not_do(database_url: str) -> None:
    facts = postgres_facts(database_url)
    assert "15 is too old" in (postgres_fault(replace(facts, version=15)) or "")
    assert "may not create" in (postgres_fault(replace(facts, may_create=False)) or "")
    assert "SQL_ASCII" in (postgres_fault(replace(facts, encoding="SQL_ASCII")) or "")


def test_a_wrong_password_is_told_without_it(database_url: str) -> None:
    wrong = database_url.replace(
        database_url.split(":")[2].split("@", maxsplit=1)[0], "hidden-word"
    )
    with pytest.raises(ServerUnreachable, match="refuses the login") as refused:
        check_postgres(wrong)
    assert "hidden-word" not in refused.value.sentence


@pytest.mark.parametrize(
    ("server", "fault"),
    [
        ({"redis_version": "7.2.4"}, None),
        ({"redis_version": "6.2.14"}, "Redis 6.2.14 is too old, 7.2 or newer is needed"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, None),
        ({"redis_version": "7.10.0"}, None),
    ],
)
def test_the_version_of_redis_decides(server: dict[str, object], fault: str | None) -> None:
    assert redis_fault(server) == fault


def test_the_embedded_valkey_has_no_weakness(servers: TestServers) -> None:
    client = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    assert weak_settings(client) == []
    client.close()


def test_the_login_of_the_processes_cannot_rewrite_the_log_and_the_owner_can(
    database: Database,
) -> None:
    app = log_facts(database.app_url)
    owner = log_facts(database.owner_url)
    assert app is not None
    assert owner is not None
    assert not app.rewritable
    assert owner.rewritable
    assert app.migrated_to == app.newest > 0
    assert not app.begun


def test_a_database_without_a_log_is_known_as_such(empty_database_url: str) -> None:
    assert log_facts(empty_database_url) is None
