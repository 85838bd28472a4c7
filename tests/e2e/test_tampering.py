"""An auditor's tools on a whole installation: what was changed behind our back is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.e2e.conftest import Site
from tests.kit.remote import download, eventually, upload
from tests.kit.torrent_maker import make_content, make_torrent

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def torrent(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Info hash of a torrent with one announce in the ledger."""
    content = make_content(tmp_path_factory.mktemp("content"), "film.bin", 100_000)
    uploaded = upload(site.admin, make_torrent(content), name="film", category=site.category)
    info_hash: str = uploaded["infoHash"]
    announce_url = _announce_url(download(site.member, info_hash))
    query = (
        f"info_hash={quote_from_bytes(bytes.fromhex(info_hash))}&peer_id={'-TR3000-123456789012'}"
    )
    numbers = "&port=6881&uploaded=0&downloaded=0&left=100000&event=started&compact=1"
    # A tracker knows a newcomer within a second of his registration.
    eventually(lambda: b"failure" in httpx.get(f"{announce_url}?{query}{numbers}").content, False)
    eventually(lambda: _value(site, "SELECT count(*) > 0 FROM ledger.records"), True)
    return info_hash


@pytest.mark.usefixtures("torrent")
def test_an_untouched_installation_verifies(site: Site) -> None:
    verified = site.installation.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_changed_read_model_row_is_named_by_table_and_key(site: Site, torrent: str) -> None:
    key = _value(site, "SELECT id FROM torrents_4.torrents WHERE info_hash = %s", (torrent,))
    name = "UPDATE torrents_4.torrents SET name = %s WHERE info_hash = %s"
    with _changed(site, (name, ("forged", torrent)), (name, ("film", torrent))):
        said = _refused(site)
    assert "torrents_4.torrents" in said
    assert str(key) in said


@pytest.mark.usefixtures("torrent")
def test_a_changed_balance_is_named_by_table_and_key(site: Site) -> None:
    add = "UPDATE accounting_1.member_totals SET uploaded = uploaded + %s WHERE account = 2"
    with _changed(site, (add, (1,)), (add, (-1,))):
        said = _refused(site)
    assert "accounting_1.member_totals 2" in said


@pytest.mark.usefixtures("torrent")
@pytest.mark.parametrize("column", ["state", "hash", "commit"])
def test_a_changed_byte_in_the_log_is_named_by_position(site: Site, column: str) -> None:
    flip = sql.SQL(
        "UPDATE log.events SET {0} = set_byte({0}, 20, get_byte({0}, 20) # 1)"
        " WHERE notification_id = 4"
    ).format(sql.Identifier(column))
    with _changed(site, (flip, ()), (flip, ())):
        said = _refused(site)
    assert "position 4" in said


@pytest.mark.usefixtures("torrent")
@pytest.mark.parametrize("column", ["peer", "address"])
def test_a_changed_byte_in_the_ledger_is_named_by_batch(site: Site, column: str) -> None:
    flip = sql.SQL(
        "UPDATE ledger.records SET {0} = set_byte({0}, 3, get_byte({0}, 3) # 1) WHERE batch = 1"
    ).format(sql.Identifier(column))
    with _changed(site, (flip, ()), (flip, ())):
        said = _refused(site)
    assert "batch 1" in said


@pytest.mark.usefixtures("torrent")
def test_every_process_connects_with_the_restricted_login(site: Site) -> None:
    with psycopg.connect(site.installation.run_state["urls"]["owner_url"]) as conn:
        rows = conn.execute(
            "SELECT DISTINCT usename FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND usename IS NOT NULL"
        ).fetchall()
    assert {row[0] for row in rows} == {"trackarr_app"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log.events SET topic = 'x'",
        "DELETE FROM log.events",
        "TRUNCATE log.events",
        "INSERT INTO log.events SELECT * FROM log.events",
        "UPDATE log.claims SET value = ''",
        "DELETE FROM log.heads",
        "UPDATE vault.items SET value = ''",
        "DELETE FROM vault.blobs",
        "UPDATE ledger.batches SET records = 0",
        "UPDATE ledger.records SET up = 0",
        "DELETE FROM ledger.records",
        "TRUNCATE ledger.records",
        "DROP TABLE log.events",
        "ALTER TABLE ledger.batches DROP COLUMN hash",
        "CREATE TABLE log.mine (x int)",
    ],
)
@pytest.mark.usefixtures("torrent")
def test_the_login_of_the_processes_cannot_rewrite_history(site: Site, statement: str) -> None:
    with (
        psycopg.connect(site.installation.run_state["urls"]["app_url"]) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute(statement.encode())


def _announce_url(torrent: bytes) -> str:
    length, rest = torrent.split(b"8:announce", 1)[1].split(b":", 1)
    return rest[: int(length)].decode()


def _value(site: Site, query: str, values: tuple[Any, ...] = ()) -> Any:
    with psycopg.connect(site.installation.run_state["urls"]["app_url"]) as conn:
        row = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return row[0]


Statement = tuple[str | sql.Composed, tuple[Any, ...]]


@contextmanager
def _changed(site: Site, change: Statement, back: Statement) -> Iterator[None]:
    """Tamper as the owner of the table could, and undo it afterwards."""
    urls = site.installation.run_state["urls"]
    record = any(name in str(change[0]) for name in ("log", "ledger"))
    # Read models belong to the login of the processes, the permanent record does not.
    login = urls["owner_url"] if record else urls["app_url"]
    with psycopg.connect(login, autocommit=True) as conn:

        def run(statement: Statement) -> None:
            text, values = statement
            query = text.encode() if isinstance(text, str) else text
            assert conn.execute(query, values).rowcount >= 1

        run(change)
        try:
            yield
        finally:
            run(back)


def _refused(site: Site) -> str:
    verified = site.installation.command("audit", "verify")
    assert verified.returncode == 1, verified.stdout + verified.stderr
    return verified.stdout
