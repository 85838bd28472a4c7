"""Findings: their level, what they say, and that the worst is the exit code."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ops import doctor
from ops.doctor import (
    Finding,
    Level,
    _memory,
    examine_folder,
    examine_kernel,
    examine_ledger,
    examine_log,
    examine_postgres,
    examine_redis,
    examine_search,
    examine_setup,
    report,
)
from ops.migrations.server import TrigramFacts
from ops.run_state import Urls
from ops.settings import load_settings
from ops.setup_code import setup_code
from projections.ledger_days import compact_day
from tests.kit.accounts import administrator
from tests.kit.api import Api, running_api
from tests.kit.servers import Database, TestServers
from tests.projections.ledger_kit import MONDAY, NOW, keep, make_sealer, spread_records


def worst(findings: Iterable[Finding]) -> Level:
    return max((finding.level for finding in findings), default=Level.OK)


def urls_of(database: Database) -> Urls:
    return Urls(database.owner_url, database.app_url, "unused")


@pytest.fixture
def api(database: Database, redis_url: str) -> Iterator[Api]:
    with running_api(database.app_url, redis_url) as running:
        yield running


def test_the_worst_finding_is_the_exit_code() -> None:
    lines: list[str] = []
    findings = [Finding(Level.OK, "one", "good"), Finding(Level.WARN, "two", "hm", "do that")]
    assert report(findings, lines.append) == 1
    assert lines[0].split() == ["ok", "one", "good"]
    assert lines[2].split() == ["->", "do", "that"]
    assert report([*findings, Finding(Level.FAIL, "three", "bad")], lines.append) == 2


def test_a_readable_secret_fails(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.json"
    keyring.touch(0o600)
    assert worst(examine_folder(tmp_path, keyring)) is Level.OK
    keyring.chmod(0o640)
    found = [f for f in examine_folder(tmp_path, keyring) if f.level is Level.FAIL]
    assert [f.advice for f in found] == [f"run: chmod 600 {keyring}"]


def test_a_missing_keyring_warns(tmp_path: Path) -> None:
    assert worst(examine_folder(tmp_path, tmp_path / "keyring.json")) is Level.WARN


def test_a_migrated_and_protected_log_is_fine(database: Database) -> None:
    assert worst(examine_log(urls_of(database))) is Level.OK


def test_a_log_its_login_could_rewrite_warns(database: Database) -> None:
    as_owner = Urls(database.owner_url, database.owner_url, "unused")
    assert worst(examine_log(as_owner)) is Level.WARN


def test_an_index_of_words_in_every_writing_is_fine(database: Database) -> None:
    (found,) = examine_search(urls_of(database))
    assert found.level is Level.OK


def test_a_database_that_knows_latin_letters_alone_warns(empty_database_url: str) -> None:
    """As `initdb` without a locale makes it: searches would be right, and slow."""
    name = f"latin_{secrets.token_hex(8)}"
    latin = make_conninfo(empty_database_url, dbname=name)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc"
                " LOCALE 'C'"
            ).format(sql.Identifier(name))
        )
        try:
            urls = Urls(latin, latin, "unused")
            assert list(examine_search(urls)) == []
            with psycopg.connect(latin, autocommit=True) as inside:
                inside.execute("CREATE SCHEMA words")
                inside.execute("CREATE EXTENSION pg_trgm WITH SCHEMA words")
            (found,) = examine_search(urls)
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    assert found.level is Level.WARN
    assert "LC_CTYPE is C," in found.text
    assert "LOCALE 'C.UTF-8'" in found.advice


def test_a_server_without_the_extension_of_searches_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = TrigramFacts(available=False, ctype="C.UTF-8", knows_letters=None)
    monkeypatch.setattr(doctor, "trigram_facts", lambda url: lacking)
    (found,) = examine_search(urls_of(database))
    assert (found.level, "pg_trgm" in found.text) == (Level.FAIL, True)


def test_an_empty_database_wants_a_migration(empty_database_url: str) -> None:
    empty = Urls(empty_database_url, empty_database_url, "unused")
    assert any(f.advice == "run: trackarr migrate" for f in examine_log(empty))


def test_days_of_the_ledger_that_nobody_closes_warn(database: Database) -> None:
    urls = urls_of(database)
    with psycopg.connect(database.app_url, autocommit=True) as conn:
        keep(conn, spread_records(50, seed=1), [50])
        (soon,) = examine_ledger(urls, NOW - timedelta(days=6))
        (late,) = examine_ledger(urls, NOW)
        assert (soon.level, late.level) == (Level.OK, Level.WARN)
        assert f"{MONDAY} is not compacted" in late.text
        compact_day(conn, make_sealer(), MONDAY, now=NOW)
    (closed,) = examine_ledger(urls, NOW)
    assert closed.level is Level.OK
    assert "blocks of 1 days, since 2024-03-04" in closed.text


def test_unsafe_durability_fails(database: Database, servers: TestServers) -> None:
    """The servers of the tests run without fsync, which an installation must not."""
    texts = [f.text for f in examine_postgres(urls_of(database)) if f.level is Level.FAIL]
    assert "PostgreSQL runs with fsync off" in texts


def test_a_server_that_does_not_answer_fails() -> None:
    nowhere = "postgresql://someone:hidden-word@127.0.0.1:1/none"
    findings = [
        *examine_postgres(Urls(nowhere, nowhere, "")),
        *examine_redis("redis://:hidden-word@127.0.0.1:1/0"),
    ]
    assert [f.level for f in findings] == [Level.FAIL, Level.FAIL]
    assert not any("hidden-word" in f.text + f.advice for f in findings)


def test_a_strict_redis_is_fine(servers: TestServers) -> None:
    assert worst(examine_redis(servers.redis_url)) is Level.OK


def test_a_kernel_that_refuses_forks_warns(tmp_path: Path) -> None:
    setting = tmp_path / "overcommit_memory"
    setting.write_text("0\n")
    assert worst(examine_kernel(setting)) is Level.WARN
    setting.write_text("1\n")
    assert worst(examine_kernel(setting)) is Level.OK


@pytest.mark.parametrize(
    ("used", "limit", "host", "level", "words"),
    [
        (79, 100, 1000, Level.OK, "79 % of its 100 MiB"),
        (80, 100, 1000, Level.WARN, "80 % of its 100 MiB"),
        (80, 0, 1000, Level.OK, "8 % of its host's 1000 MiB"),
        (900, 2000, 1000, Level.WARN, "90 % of its host's 1000 MiB"),
        (900, 0, 0, Level.OK, "900 MiB, without a limit"),
    ],
)
def test_memory_is_told_of_before_it_is_full(
    used: int, limit: int, host: int, level: Level, words: str
) -> None:
    finding = _memory(used=used << 20, limit=limit << 20, host=host << 20)
    assert (finding.level, words in finding.text) == (level, True)


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts this machine's clock forward by so many seconds, as the doctor reads it."""
    true = time.time

    def shift(seconds: float) -> None:
        monkeypatch.setattr(doctor.time, "time", lambda: true() + seconds)

    return shift


def clocks(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.subject == "clock"]


@pytest.mark.parametrize(("shift", "side"), [(3600, "behind"), (-3600, "ahead of")])
def test_a_clock_an_hour_off_is_explained(
    database: Database,
    servers: TestServers,
    shifted: Callable[[float], None],
    shift: float,
    side: str,
) -> None:
    shifted(shift)
    found = [
        *clocks(examine_postgres(urls_of(database))),
        *clocks(examine_redis(servers.redis_url)),
    ]
    assert [finding.level for finding in found] == [Level.FAIL, Level.FAIL]
    for finding, server in zip(found, ("PostgreSQL", "Redis"), strict=True):
        assert finding.text.startswith(f"{server}'s clock is 3")
        assert f"s {side} ours" in finding.text
        assert "authenticator apps are refused" in finding.text
        assert "NTP" in finding.advice
        assert "local time that was set as UTC" in finding.advice


@pytest.mark.parametrize(
    ("shift", "level", "cause"),
    [
        (0, Level.OK, False),
        (10, Level.WARN, False),
        (400, Level.FAIL, False),
        (5400, Level.FAIL, True),
        (4000, Level.FAIL, False),
    ],
)
def test_how_far_a_clock_is_off_decides_what_is_said(
    database: Database,
    shifted: Callable[[float], None],
    shift: float,
    level: Level,
    cause: bool,
) -> None:
    shifted(shift)
    (found,) = clocks(examine_postgres(urls_of(database)))
    assert found.level is level
    assert ("local time" in found.advice) is cause
    assert ("authenticator" in found.text) is (level is Level.FAIL)


def test_a_log_signed_in_the_future_tells_that_the_clock_went_back(
    database: Database, shifted: Callable[[float], None]
) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO log.heads VALUES (1, '\\x00', 0, '\\x00',"
            " (extract(epoch FROM now()) * 1000000)::bigint, 1, '\\x00')"
        )
    assert [finding.level for finding in clocks(examine_postgres(urls_of(database)))] == [Level.OK]
    shifted(-3600)
    _, head = clocks(examine_postgres(urls_of(database)))
    assert head.level is Level.FAIL
    assert "in the future of this clock" in head.text


@pytest.mark.parametrize(
    ("environment", "level", "advice"),
    [
        ({}, Level.OK, ""),
        (
            {"TRACKARR_BIND": "0.0.0.0"},
            Level.OK,
            "once Trackarr has started, run: trackarr setup-code",
        ),
        ({"TRACKARR_SETUP_CODE": "abc"}, Level.OK, "to see it, run: trackarr setup-code"),
        (
            {"TRACKARR_PUBLIC_URL": "https://tracker.example"},
            Level.WARN,
            "set TRACKARR_SETUP_CODE until you have made it",
        ),
    ],
)
def test_who_may_make_the_first_account_is_said(
    database: Database, tmp_path: Path, environment: dict[str, str], level: Level, advice: str
) -> None:
    settings = load_settings({"TRACKARR_DATA_DIR": str(tmp_path), **environment})
    (found,) = examine_setup(settings, urls_of(database))
    assert (found.level, found.advice) == (level, advice)
    assert "abc" not in found.text
    # It looks, and makes nothing: whoever serves makes the code.
    assert list(tmp_path.iterdir()) == []


def test_where_a_set_up_code_was_made_it_is_said_how_to_see_it(
    database: Database, tmp_path: Path
) -> None:
    settings = load_settings({"TRACKARR_DATA_DIR": str(tmp_path), "TRACKARR_BIND": "0.0.0.0"})
    code = setup_code(settings)
    assert code is not None
    (found,) = examine_setup(settings, urls_of(database))
    assert (found.level, found.advice) == (Level.OK, "to see it, run: trackarr setup-code")
    assert code not in found.text


def test_nothing_is_said_of_set_up_once_the_site_has_begun(api: Api, tmp_path: Path) -> None:
    administrator(api)
    settings = load_settings({"TRACKARR_DATA_DIR": str(tmp_path), "TRACKARR_BIND": "0.0.0.0"})
    assert list(examine_setup(settings, Urls(api.app_url, api.app_url, "unused"))) == []
