"""`trackarr audit` and `trackarr projections` on a real installation's data folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from application.ports import Writes
from application.store.log import EventLog
from application.store.topics import registry
from domain.kernel import Envelope, Fact, Meta
from domain.taxonomy import CategoryCreated
from domain.users import AccountRegistered
from ops.cli import run
from ops.keyring_file import KeyringFile
from ops.read_models import install_read_models
from projections import engine
from projections.registry import ALL
from tests.kit.servers import APP_PASSWORD, Database, server_folder

ANNA, FILMS = UUID(int=1), UUID(int=2)
AT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def recorded(who: UUID, fact: Fact, number: int) -> Envelope:
    meta = Meta(at=AT, actor=ANNA, command=UUID(int=number), correlation=UUID(int=number))
    return Envelope(originator_id=who, originator_version=1, meta=meta, fact=fact)


@pytest.fixture
def folder(database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder whose servers hold two facts, folded into every read model."""
    with server_folder() as made:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(made))
        monkeypatch.setenv("DATABASE_URL", database.owner_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")
        monkeypatch.setenv("TRACKARR_APP_PASSWORD", APP_PASSWORD)
        install_read_models(database.app_url)
        log = EventLog(
            database.app_url, KeyringFile(made / "keyring.json").load_or_create(), registry()
        )
        anna = AccountRegistered(number=1, username="Anna", kid=1, starter_upload=0, invites=0)
        films = CategoryCreated(
            name="Films",
            slug="films",
            parent=None,
            newznab_id=None,
            type="movie",
            icon=None,
            is_adult=False,
        )
        log.append(
            Writes(
                command_id=UUID(int=9),
                envelopes=(recorded(ANNA, anna, 1), recorded(FILMS, films, 2)),
            )
        )
        with psycopg.connect(database.app_url, autocommit=True) as conn:
            for projection in ALL:
                engine.step(conn, log, projection)
        log.close()
        yield made


def test_verify_prints_equal_digests(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "verify"]) == 0
    out = capsys.readouterr().out
    assert "Verified to position 2" in out
    assert "everything is equal" in out
    assert all(projection.name in out for projection in ALL)


def test_verify_ends_with_1_and_names_the_row_that_differs(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database.app_url, autocommit=True) as conn:
        conn.execute("UPDATE users_1.accounts SET is_admin = NOT is_admin")
    assert run(["audit", "verify", "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)
    users = next(check for check in verdict["checks"] if check["part"] == "users")
    assert users["findings"] == [f"users_1.accounts {ANNA}: differs"]


def test_verify_ends_with_2_when_it_could_not_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "keyring.kek").unlink()
    assert run(["audit", "verify"]) == 2
    assert capsys.readouterr().err.startswith("trackarr: ")


def test_replay_prints_digests_and_leaves_nothing(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "replay", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["position"] == 2
    assert set(found["digests"]) == {projection.name for projection in ALL}
    assert run(["audit", "verify", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    stored = {check["part"]: check["digest"] for check in verdict["checks"]}
    assert {name: stored[name] for name in found["digests"]} == found["digests"]
    with psycopg.connect(database.app_url) as conn:
        rows = conn.execute("SELECT FROM pg_namespace WHERE nspname LIKE '%shadow%'").fetchall()
    assert rows == []


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        ([], [1, 2]),
        (["--topic", "category."], [2]),
        (["--actor", "anna"], [1, 2]),
        (["--actor", str(ANNA), "--limit", "1"], [2]),
        (["--aggregate", str(ANNA)], [1]),
        (["--search", "FILMS", "--limit", "0"], [2]),
        (["--since", "2026-05-01T12:31"], []),
        (["--until", "2026-05-02"], [1, 2]),
    ],
)
def test_history_gives_the_facts_asked_for_as_json_lines(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], positions: list[int]
) -> None:
    assert run(["audit", "history", "--json", *options]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["position"] for line in lines] == positions


def test_history_is_readable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "history"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert "2026-05-01 12:30:00  account.registered.1" in first
    assert "username=Anna" in first


def test_history_of_nobody_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "history", "--actor", "zoe"]) == 1
    assert capsys.readouterr().err == "trackarr: There is no account named zoe.\n"


def test_projections_are_listed_rebuilt_and_pruned(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["projections", "rebuild", "users"]) == 0
    assert "rebuilt to position 2" in capsys.readouterr().out
    assert run(["projections", "list"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("current") == len(ALL)
    assert run(["projections", "prune"]) == 0
    assert capsys.readouterr().out.splitlines() == ["dropped users_1__old", "1 schemas dropped."]


def test_a_stopped_projection_is_shown_and_resumed(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database.app_url, autocommit=True) as conn:
        conn.execute("INSERT INTO users_1.poison VALUES (2, 'category.created.1', 'KeyError')")
    assert run(["projections", "list"]) == 1
    assert "stopped at position 2 (category.created.1, KeyError)" in capsys.readouterr().out
    assert run(["projections", "resume", "users"]) == 0
    assert run(["projections", "list"]) == 0


def test_an_unknown_projection_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["projections", "rebuild", "nothing"]) == 1
    assert capsys.readouterr().err.startswith("trackarr: There is no read model nothing; there are")
