"""A stolen copy of everything an installation writes opens nothing: secrets are planted, driven
through every way of signing in and failing, and hunted for in all that is left behind.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID

import httpx
import msgspec
import psycopg
import pytest
from psycopg import sql
from redis import Redis

from application.invitations import CODE_KIND
from application.password_proofs import VERIFIER_ID, VERIFIER_KIND
from application.presence import PRESENCE_ID, PRESENCE_KIND
from application.store.log import EventLog
from application.store.topics import registry
from application.totp import CURRENT, TOTP_KIND
from ops.keyring_file import KeyringFile
from tests.e2e.canary_story import ADDRESS_MAY_STAND, PASSWORD, Story, tell
from tests.e2e.conftest import found_site, open_folder
from tests.kit.browser import salt_of, verifier_of
from tests.kit.canaries import found, redis_dumped
from tests.kit.installation import Installation

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with open_folder() as folder:
        installation = Installation(
            folder / "data", TRACKARR_LOG_LEVEL="debug", TRACKARR_TRUSTED_PROXIES="127.0.0.1,::1"
        ).start()
        try:
            with found_site(installation) as site, closing(Story(site)) as begun:
                tell(begun, folder)
                yield begun
        finally:
            assert installation.stop() == 0, installation.log[-4000:]


# The hunt


@pytest.fixture(scope="module")
def log(story: Story) -> Iterator[EventLog]:
    """The installation's log, opened with its keys as an auditor opens it."""
    keyring = KeyringFile(story.installation.folder / "keyring.json").load()
    opened = EventLog(story.urls["app_url"], keyring, registry())
    yield opened
    opened.close()


def test_what_is_hunted_for_is_what_the_site_keeps(story: Story, log: EventLog) -> None:
    """Opened with the keys the vault holds them: the hunt is for the right things."""
    kept = b"\n".join(
        value
        for kind, entry in (
            (VERIFIER_KIND, VERIFIER_ID),
            (TOTP_KIND, CURRENT),
            (PRESENCE_KIND, PRESENCE_ID),
        )
        if (value := log.vault_get(kind, story.account, entry))
    )
    admin = UUID(story.site.admin.get("/api/me").json()["id"])
    kept += b"\n".join(log.vault_list(CODE_KIND, admin).values())
    assert found(story.canaries, kept) >= {
        "verifier",
        "authenticator secret",
        "address",
        "unused invitation code",
    }


def test_no_log_line_holds_a_secret(story: Story) -> None:
    """Of the api, the tracker, the workers and the supervisor, and of both embedded servers."""
    told = story.installation.log
    for process in ("api", "tracker", "worker", "scheduler"):
        assert process in told
    assert found(story.canaries, told.encode()) == set()


def test_no_event_holds_a_secret(story: Story, log: EventLog) -> None:
    facts = [recorded.envelope for recorded in log.read(0, 100_000)[0]]
    assert {"account.registered.1", "totp.enabled.1"} <= {each.fact.TOPIC for each in facts}
    told = b"\n".join(repr(each).encode() + msgspec.json.encode(each.fact) for each in facts)
    assert found(story.canaries, told) == set()


def test_no_error_holds_a_secret(story: Story) -> None:
    assert len(story.errors) > 50
    told = "\n".join(story.errors).encode()
    assert found(story.canaries, told) == set()


def test_no_metric_and_no_example_holds_a_secret(story: Story) -> None:
    tracker = f"http://127.0.0.1:{story.installation.tracker_port}"
    for url in (
        f"{tracker}/metrics",
        f"{tracker}/health",
        f"{story.installation.url}/openapi.json",
    ):
        page = httpx.get(url, timeout=60)
        assert page.status_code == 200, url
        assert found(story.canaries, page.content) == set(), url


def test_no_table_holds_a_secret(story: Story) -> None:
    tables = story.tables()
    for full in ("log.events", "log.commands", "vault.items", "users_1.accounts"):
        assert any(name.startswith(full.partition(".")[0]) for name in tables), full
    assert {
        name: hit for name, rows in tables.items() if (hit := found(story.canaries, rows))
    } == {}


def test_redis_holds_no_secret(story: Story) -> None:
    """But addresses, where they wait to be sealed or hashed."""
    redis = Redis.from_url(story.urls["redis_url"])
    hits = {}
    for key, value in redis_dumped(redis):
        hit = found(story.canaries, value)
        if key.startswith(ADDRESS_MAY_STAND):
            hit.discard("address")
        if hit:
            hits[key] = hit
    redis.close()
    assert hits == {}


def test_no_file_of_the_servers_holds_a_secret(story: Story) -> None:
    """Not even one that was deleted since: data files, write-ahead log, Redis' own file."""
    assert story.bytes_of_files > 10_000_000
    assert story.files == {}


# The hunt finds what is there


def test_the_hunt_finds_an_unsealed_secret_wherever_it_stands(story: Story) -> None:
    """Each secret, deliberately written in clear into a table, a Redis key and a log line."""
    names = {each.name for each in story.canaries}
    plants = [(each.name, form) for each in story.canaries for form in each.forms]
    redis = Redis.from_url(story.urls["redis_url"])
    with psycopg.connect(story.urls["owner_url"], autocommit=True) as conn:
        conn.execute("CREATE SCHEMA scratch")
        try:
            conn.execute("CREATE TABLE scratch.plants (whose text, value bytea)")
            rows = conn.cursor()
            rows.executemany(
                "INSERT INTO scratch.plants VALUES (%s, %s)",
                [(str(at), b"before " + form + b" after") for at, (_, form) in enumerate(plants)],
            )
            (table,) = (rows for name, rows in story.tables().items() if "scratch" in name)
            assert found(story.canaries, table) == names
        finally:
            conn.execute("DROP SCHEMA scratch CASCADE")
    for name, form in plants:
        line = story.installation.log + "request.failed value=" + form.decode("latin-1")
        assert name in found(story.canaries, line.encode("latin-1", errors="replace"))
    verifier = verifier_of(PASSWORD, salt_of("vera"), 600_000)
    try:
        redis.hset("scratch:plant", "field", f'{{"verifier": "{verifier}"}}')
        redis.xadd("scratch:stream", {"batch": b64decode(verifier)})
        hits = {key: found(story.canaries, value) for key, value in redis_dumped(redis)}
        assert hits["scratch:plant"] == hits["scratch:stream"] == {"verifier"}
    finally:
        redis.delete("scratch:plant", "scratch:stream")
        redis.close()


def test_the_hunt_finds_a_verifier_stored_unsealed_where_verifiers_are_kept(story: Story) -> None:
    """As if sealing were left out: the very row of the vault, put back afterwards."""
    verifier = verifier_of(PASSWORD, salt_of("vera"), 600_000)
    plain = msgspec.json.encode({"salt": salt_of("vera"), "verifier": verifier})
    where = sql.SQL("WHERE kind = %s AND owner = %s")
    key = (VERIFIER_KIND, story.account)
    with psycopg.connect(story.urls["owner_url"], autocommit=True) as conn:
        row = conn.execute(
            sql.SQL("SELECT value FROM vault.items {}").format(where), key
        ).fetchone()
        assert row is not None
        change = sql.SQL("UPDATE vault.items SET value = %s {}").format(where)
        conn.execute(change, (plain, *key))
        try:
            tables = story.tables()
            assert found(story.canaries, tables["vault.items"]) == {"verifier"}
        finally:
            conn.execute(change, (row[0], *key))
