"""Findings: their level, what they say, and that the worst is the exit code."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

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
    report,
)
from ops.run_state import Urls
from projections.ledger_days import compact_day
from tests.kit.servers import Database, TestServers
from tests.projections.ledger_kit import MONDAY, NOW, keep, make_sealer, spread_records


def worst(findings: Iterable[Finding]) -> Level:
    return max((finding.level for finding in findings), default=Level.OK)


def urls_of(database: Database) -> Urls:
    return Urls(database.owner_url, database.app_url, "unused")


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
