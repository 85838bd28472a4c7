"""The fixtures themselves: fresh databases, both logins, an empty Redis."""

from __future__ import annotations

import psycopg
import redis

from tests.kit.servers import TestServers


def test_two_databases_share_nothing(servers: TestServers) -> None:
    with (
        servers.database(migrated=False) as first,
        servers.database(migrated=False) as second,
        psycopg.connect(first.owner_url) as one,
        psycopg.connect(second.owner_url) as two,
    ):
        one.execute("CREATE TABLE marks (id int)")
        one.commit()
        found = two.execute("SELECT to_regclass('marks') AS found").fetchone()
    assert found == (None,)


def test_redis_is_empty_at_the_start_of_a_test(servers: TestServers, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.set("left-over", 1)
    client.close()


def test_redis_is_empty_again_after_another_test(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.set("left-over", 1)
    client.close()


def test_owner_is_no_superuser(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False,)
