"""`trackarr import`: a community's file goes in once and whole, and says where it can't."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from application.import_names import Names
from application.password_proofs import VERIFIER_ID, VERIFIER_KIND, Verifier
from application.store.log import EventLog
from application.store.topics import registry
from domain.comments import CommentPosted
from domain.favorites import TorrentFavorited
from domain.imports import ImportAdvanced, ImportBegun, ImportEnded
from domain.kernel import Envelope
from domain.moderation import ModerationOpened
from domain.taxonomy import CategoryCreated
from domain.torrents import TorrentUploaded
from domain.users import AccountRegistered, AccountRoleGranted
from ops import catching_up, importing, progress
from ops.cli import import_, run
from ops.keyring_file import KeyringFile
from ops.read_models import install_read_models
from projections.catch_up import catch_up
from tests.kit.import_files import ANNA, FILMS, GRASS, HEADING, SHORT, comment, torrent, write
from tests.kit.servers import APP_PASSWORD, Database, server_folder
from tests.kit.torrents import info_hash_of, torrent_file


@pytest.fixture
def folder(database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of an installation without anything in its log."""
    with server_folder() as made:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(made))
        monkeypatch.setenv("DATABASE_URL", database.owner_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")
        monkeypatch.setenv("TRACKARR_APP_PASSWORD", APP_PASSWORD)
        install_read_models(database.app_url)
        yield made


@pytest.fixture
def log(folder: Path, database: Database) -> Iterator[EventLog]:
    keyring = KeyringFile(folder / "keyring.json").load_or_create()
    opened = EventLog(database.app_url, keyring, registry())
    yield opened
    opened.close()


def facts(log: EventLog) -> list[Envelope]:
    return [recorded.envelope for recorded in log.read(0, 10_000)[0]]


def only(log: EventLog, kind: type) -> Envelope:
    (found,) = [envelope for envelope in facts(log) if isinstance(envelope.fact, kind)]
    return found


def take(path: Path, *options: str) -> int:
    return run(["import", str(path), *options])


def test_lines_become_facts_of_their_own_time(folder: Path, log: EventLog) -> None:
    path = write(folder, HEADING, FILMS, SHORT, ANNA, torrent(), comment())
    assert take(path) == 0
    kinds = [type(envelope.fact) for envelope in facts(log)]
    assert kinds == [
        CategoryCreated,
        CategoryCreated,
        AccountRegistered,
        TorrentUploaded,
        ModerationOpened,
        CommentPosted,
        ImportBegun,
        ImportAdvanced,
        ImportEnded,
    ]
    anna, uploaded = only(log, AccountRegistered), only(log, TorrentUploaded)
    assert anna.meta.at == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert uploaded.meta.at == datetime(2021, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert uploaded.fact.uploader == anna.originator_id
    assert uploaded.fact.uploader_number == anna.fact.number
    assert uploaded.fact.info_hash == info_hash_of(GRASS)
    assert only(log, ModerationOpened).fact.status == "accepted"
    assert only(log, ModerationOpened).fact.bypass == "import"
    posted = only(log, CommentPosted)
    assert posted.fact.torrent == uploaded.originator_id
    assert posted.fact.content.text == "Well seeded."
    assert {envelope.meta.actor for envelope in facts(log)} == {None}
    assert len({envelope.meta.correlation for envelope in facts(log)}) == 1


def test_the_read_models_show_what_came_in(folder: Path, log: EventLog, database: Database) -> None:
    assert take(write(folder, HEADING, FILMS, ANNA, torrent(), comment())) == 0
    assert run(["audit", "verify"]) == 0
    with psycopg.connect(database.app_url) as conn:
        row = conn.execute("SELECT count(*) FROM users_1.accounts").fetchone()
    assert row == (1,)


def test_a_read_model_that_did_not_follow_is_told_and_the_next_start_brings_it_on(
    folder: Path,
    log: EventLog,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catching_up, "catch_up", partial(catch_up, patience=0.3))
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    path = write(folder, HEADING, FILMS, ANNA, torrent())
    with psycopg.connect(database.app_url) as worker:
        worker.execute("SELECT last FROM users_1.position FOR UPDATE")
        assert take(path) == 1
    told = capsys.readouterr()
    assert "old site is imported: 4 facts" in told.out
    assert "Not at the head: users (another worker is folding it)." in told.err
    assert "Everything is recorded" in told.err
    assert "users: waiting for another worker" in told.err
    assert take(path) == 0
    with psycopg.connect(database.app_url) as conn:
        assert conn.execute("SELECT count(*) FROM users_1.accounts").fetchone() == (1,)


def test_a_file_is_imported_once(
    folder: Path, log: EventLog, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(folder, HEADING, ANNA)
    assert take(path) == 0
    before = log.head()
    assert take(path) == 0
    assert "imported already" in capsys.readouterr().out
    assert log.head() == before


def test_a_bad_line_is_named_and_nothing_of_its_batch_is_in(
    folder: Path,
    log: EventLog,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importing, "FACTS", 2)
    bert = {**ANNA, "name": "Bert"}
    bad = {**ANNA, "name": "no such name!"}
    path = write(folder, HEADING, ANNA, bert, {**ANNA, "name": "Cora"}, bad)
    assert take(path) == 1
    assert "Line 5: username: must be 3 to 20" in capsys.readouterr().err
    names = {e.fact.username for e in facts(log) if isinstance(e.fact, AccountRegistered)}
    assert names == {"Anna", "Bert"}

    assert take(path) == 1
    assert "imported up to line 3; give --resume" in capsys.readouterr().err
    write(folder, HEADING, ANNA, bert, {**ANNA, "name": "Cora"}, {**ANNA, "name": "Dora"})
    assert take(path, "--resume") == 0
    names = {e.fact.username for e in facts(log) if isinstance(e.fact, AccountRegistered)}
    assert names == {"Anna", "Bert", "Cora", "Dora"}


def test_going_on_knows_the_names_of_the_lines_before(
    folder: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "FACTS", 1)
    assert take(write(folder, HEADING, FILMS, ANNA, torrent(), comment(author="nobody"))) == 1
    path = write(folder, HEADING, FILMS, ANNA, torrent(), comment(), SHORT)
    assert take(path, "--resume") == 0
    assert only(log, CommentPosted).fact.author == only(log, AccountRegistered).originator_id


def test_lines_that_are_in_may_not_change(
    folder: Path,
    log: EventLog,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importing, "FACTS", 1)
    assert take(write(folder, HEADING, ANNA, "{}")) == 1
    before = log.head()
    path = write(folder, HEADING, {**ANNA, "name": "Ann"}, {**ANNA, "name": "Bert"})
    assert take(path, "--resume") == 1
    assert "The lines up to 2 were imported and have been changed since" in capsys.readouterr().err
    assert take(write(folder, HEADING), "--resume") == 1
    assert "ends before line 2" in capsys.readouterr().err
    assert log.head() == before


def test_lines_can_be_passed_over(
    folder: Path,
    log: EventLog,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importing, "FACTS", 1)
    path = write(folder, HEADING, ANNA, "not json", {**ANNA, "name": "Bert"})
    assert take(path) == 1
    assert "Line 3: it is not JSON" in capsys.readouterr().err
    assert take(path, "--from-line=2") == 1
    assert "Line 2 is in already; the import goes on at 3." in capsys.readouterr().err
    assert take(path, "--from-line=9") == 1
    assert "has no line 9" in capsys.readouterr().err
    assert take(path, "--from-line=4") == 0
    names = {e.fact.username for e in facts(log) if isinstance(e.fact, AccountRegistered)}
    assert names == {"Anna", "Bert"}


def test_a_rehearsal_records_nothing_and_finds_what_is_wrong(
    folder: Path,
    log: EventLog,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importing, "FACTS", 1)
    good = [HEADING, FILMS, SHORT, ANNA, torrent(), comment()]
    assert take(write(folder, *good), "--dry-run") == 0
    assert "they would be 6 facts" in capsys.readouterr().out
    assert take(write(folder, *good, comment(author="nobody")), "--dry-run") == 1
    assert "Line 7: author: there is no member 'nobody'" in capsys.readouterr().err
    assert log.head() == 0
    assert log.next_account_number() == 1, "a rehearsal took a number"


def test_members_keep_their_password_and_credit_and_roles(folder: Path, log: EventLog) -> None:
    salt, verifier = bytes(range(32)), bytes(range(32, 64))
    password = {
        "salt": base64.b64encode(salt).decode(),
        "verifier": base64.b64encode(verifier).decode(),
    }
    line = {**ANNA, "uploaded": 5 << 30, "invites": 3, "roles": ["moderator"], "password": password}
    assert take(write(folder, HEADING, line, {**ANNA, "name": "Bert"})) == 0
    anna = facts(log)[0]
    assert (anna.fact.starter_upload, anna.fact.invites) == (5 << 30, 3)
    assert only(log, AccountRoleGranted).fact.role == "moderator"
    kept = log.vault_get(VERIFIER_KIND, anna.originator_id, VERIFIER_ID)
    assert kept is not None
    assert json.loads(kept) == {
        "salt": password["salt"],
        "verifier": password["verifier"],
        "iterations": Verifier(salt="", verifier="").iterations,
        "changes": 0,
    }
    bert = facts(log)[2]
    assert bert.fact.username == "Bert"
    assert log.vault_get(VERIFIER_KIND, bert.originator_id, VERIFIER_ID) is None


def test_files_are_read_from_the_folder_of_the_file_only(
    folder: Path, log: EventLog, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = folder / "moving"
    inside.mkdir()
    (inside / "grass.torrent").write_bytes(torrent_file("Grass", private=False))
    (inside / "grass.nfo").write_text("made with care")
    (folder / "secret.nfo").write_text("a secret of the host")
    line = torrent()
    del line["content"]
    named = {**line, "file": "grass.torrent", "nfo": "grass.nfo"}
    escaping = {**line, "file": "grass.torrent", "nfo": "../secret.nfo"}
    assert take(write(inside, HEADING, FILMS, ANNA, escaping)) == 1
    assert "Line 4: nfo: must lie in the import file's folder" in capsys.readouterr().err
    assert log.head() == 0
    assert take(write(inside, HEADING, FILMS, ANNA, named)) == 0
    fact = only(log, TorrentUploaded).fact
    assert fact.original_info_hash == info_hash_of(torrent_file("Grass", private=False))
    assert fact.nfo_ref is not None
    assert log.blob(bytes.fromhex(fact.nfo_ref)) == b"made with care"


def test_a_category_the_site_has_is_used(folder: Path, log: EventLog) -> None:
    assert take(write(folder, HEADING, FILMS)) == 0
    films = only(log, CategoryCreated).originator_id
    other = {**HEADING, "name": "second"}
    assert take(write(folder, other, {**FILMS, "name": "films"}, ANNA, torrent())) == 0
    assert only(log, CategoryCreated).originator_id == films
    assert only(log, TorrentUploaded).fact.category == films


REFUSED: list[tuple[str, list[dict[str, Any] | str], str]] = [
    ("no heading", [ANNA], "Line 1: the first line must be of kind"),
    ("a newer format", [{**HEADING, "format": 2}], "Line 1: format: this version reads 1, not 2"),
    ("a bad name", [{**HEADING, "name": "../x"}], "Line 1: name: must have 1 to 100"),
    ("an unknown kind", [HEADING, {"kind": "peer"}], "Line 2: Invalid value 'peer'"),
    ("an unknown field", [HEADING, {**ANNA, "mail": "a@b"}], "Line 2: Object contains unknown"),
    ("a second heading", [HEADING, HEADING], "Line 2: only the first line"),
    ("half a pair", [HEADING, '{"kind":"member","name":"\\ud800"}'], "Line 2: it is not JSON"),
    ("a NUL", [HEADING, FILMS, ANNA, torrent(name="a\0b")], "Line 4: name, description, tags"),
    ("a NUL in a tag", [HEADING, FILMS, ANNA, torrent(tags=["a\0b"])], "Line 4: name, desc"),
    ("a NUL in words", [HEADING, FILMS, ANNA, torrent(), comment("a\0b")], "Line 5: content: "),
    ("a NUL in an icon", [HEADING, {**FILMS, "icon": "a\0b"}], "Line 2: icon: must not contain"),
    ("a NUL in a slug", [HEADING, {**FILMS, "slug": "films\0"}], "Line 2: "),
    ("a NUL in a member", [HEADING, {**ANNA, "name": "an\0na"}], "Line 2: "),
    ("a NUL in an id", [HEADING, FILMS, ANNA, torrent(openlibraryId="OL1W\0")], "Line 4: "),
    ("the same name", [HEADING, ANNA, {**ANNA, "name": "ANNA"}], "Line 3: Username already taken"),
    ("no zone", [HEADING, {**ANNA, "registeredAt": "2020-01-02T03:04:05"}], "Line 2: registeredAt"),
    ("the future", [HEADING, {**ANNA, "registeredAt": "2999-01-02T03:04:05Z"}], "and now"),
    ("downloads", [HEADING, {**ANNA, "downloaded": 1}], "Line 2: downloaded: no fact records"),
    ("negative credit", [HEADING, {**ANNA, "uploaded": -1}], "Line 2: uploaded: must be 0"),
    ("an administrator", [HEADING, {**ANNA, "roles": ["administrator"]}], "nobody administrator"),
    ("an unknown role", [HEADING, {**ANNA, "roles": ["vip"]}], "this site has no role 'vip'"),
    ("no category", [HEADING, ANNA, torrent()], "Line 3: category: there is no category 'films'"),
    ("no parent", [HEADING, SHORT], "Line 2: parent: there is no category 'films'"),
    ("another slug", [HEADING, FILMS, {**SHORT, "slug": "short"}], "slug: must be films-short"),
    ("no uploader", [HEADING, FILMS, torrent()], "Line 3: uploader: there is no member 'anna'"),
    ("no torrent", [HEADING, FILMS, ANNA, torrent(b"d3")], "Line 4: torrent:"),
    ("twice", [HEADING, FILMS, ANNA, torrent(), torrent()], "Line 5: This torrent already exists"),
    ("nothing to store", [HEADING, FILMS, ANNA, torrent(content=None)], "give either file or"),
    ("no file", [HEADING, FILMS, ANNA, torrent(content=None, file="x")], "'x' can't be read"),
    ("no words", [HEADING, FILMS, ANNA, torrent(), comment(" ")], "Line 5: content: must have 1"),
    ("an unknown torrent", [HEADING, ANNA, comment()], "Line 3: torrent: there is no torrent"),
]


@pytest.mark.parametrize(("lines", "told"), [pytest.param(*r[1:], id=r[0]) for r in REFUSED])
def test_what_is_wrong_with_a_line_is_said(
    folder: Path,
    log: EventLog,
    capsys: pytest.CaptureFixture[str],
    lines: list[dict[str, Any] | str],
    told: str,
) -> None:
    assert take(write(folder, *lines)) == 1
    assert told in capsys.readouterr().err
    assert log.head() == 0


def test_a_favourite_is_taken_in_once(
    folder: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    favorite = {
        "kind": "favorite",
        "torrent": info_hash_of(GRASS),
        "member": "Anna",
        "addedAt": "2021-03-02T03:04:05Z",
    }
    lines = [FILMS, ANNA, torrent(), favorite, favorite]
    assert take(write(folder, HEADING, *lines)) == 0
    fact = only(log, TorrentFavorited)
    assert fact.fact.member == only(log, AccountRegistered).originator_id
    assert fact.fact.torrent == only(log, TorrentUploaded).originator_id
    assert fact.meta.at == datetime(2021, 3, 2, 3, 4, 5, tzinfo=UTC)
    again = {**HEADING, "name": "second"}
    assert take(write(folder, again, favorite, comment())) == 0
    assert only(log, TorrentFavorited) == fact
    assert only(log, CommentPosted).fact.content.text == "Well seeded."


def test_names_of_long_ago_are_found_among_new_ones(
    folder: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = partial(Names, most=2)
    monkeypatch.setattr(import_, "Names", few)
    monkeypatch.setattr(importing, "FACTS", 10)
    files = [torrent_file(f"Number {number}") for number in range(8)]
    hashes = [info_hash_of(file) for file in files]
    asked = [hashes[place] for place in (5, 0, 1, 2, 3, 4, 6, 7, 2, 0)]
    lines = [*map(torrent, files), *(comment(torrent=known) for known in asked)]
    assert take(write(folder, HEADING, FILMS, ANNA, *lines)) == 0
    ids = {
        envelope.fact.info_hash: envelope.originator_id
        for envelope in facts(log)
        if isinstance(envelope.fact, TorrentUploaded)
    }
    found = [e.fact.torrent for e in facts(log) if isinstance(e.fact, CommentPosted)]
    assert found == [ids[known] for known in asked]


def test_ids_rise_with_time_and_are_the_lines_own(folder: Path, log: EventLog) -> None:
    later = {"postedAt": "2022-02-02T03:04:05Z"}
    lines = [comment("first"), comment("second"), comment("third", **later)]
    assert take(write(folder, HEADING, FILMS, ANNA, torrent(), *lines)) == 0
    ids = [e.originator_id for e in facts(log) if isinstance(e.fact, CommentPosted)]
    assert ids == sorted(ids)
    assert {made.version for made in ids} == {7}


def test_a_file_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "/nonexistent/file.jsonl"]) == 1
    assert "/nonexistent/file.jsonl can't be read" in capsys.readouterr().err
