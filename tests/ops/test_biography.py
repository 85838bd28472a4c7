"""`trackarr audit history --about` a torrent reads like its biography."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from application import moderation, reports
from application.account_bans import BanAccount
from application.bus import Actor, Bus, Context
from application.comments import DeleteComment, PostComment
from application.favorites import FavoriteTorrent, UnfavoriteTorrent
from application.handlers import HANDLERS, TAKEN
from application.site import ChangeSettings
from application.store.log import EventLog
from application.store.topics import registry
from application.taxonomy import CreateCategory
from application.torrent_edits import EditTorrent, WithdrawTorrent
from application.uploads import UploadTorrent
from domain.kernel import Fact
from domain.permissions import Permission
from domain.tags import TagRemoved
from ops.audit_text import entry_row
from ops.biography import SENTENCES, Biography, ids_in, printable
from ops.cli import run
from ops.keyring_file import KeyringFile
from ops.read_models import install_read_models
from projections.history_search import ERASED, Entry, plain_fact
from tests.application.test_users import register
from tests.kit.servers import APP_PASSWORD, Database, server_folder
from tests.kit.torrents import torrent_file

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
GOLDEN = Path(__file__).parent.parent / "fixtures" / "torrent_biography.txt"
TORRENT, BOOKS, COMMENT, REMARK = (UUID(int=number) for number in range(1, 5))
REPORT, VAIN, GIVEN_UP = (UUID(int=number) for number in range(5, 8))


class Site:
    """Commands of members, an hour apart, on a log of their own."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.bus = Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)
        self.hours = 0
        self.members: dict[str, Actor] = {}

    def join(self, name: str, *permissions: Permission) -> None:
        command = register(name)
        self.send(None, command)
        self.members[name] = Actor(
            account=command.account,
            number=len(self.members) + 1,
            username=name,
            permissions=frozenset(each.value for each in permissions),
        )

    def send(self, name: str | None, command: Any) -> None:
        self.hours += 1
        context = Context(
            at=START + timedelta(hours=self.hours),
            command=UUID(int=1000 + self.hours),
            correlation=UUID(int=1000 + self.hours),
            actor=self.members[name] if name else None,
        )
        self.bus.dispatch(command, context)


def live(site: Site) -> None:
    """What may happen to a torrent."""
    site.join("root")
    site.send(None, ChangeSettings(changes={"registrationOpen": True}))
    for name in ("anna", "bert", "cleo"):
        site.join(name)
    site.join("mona", Permission.CAN_MODERATE)
    site.send(None, CreateCategory(category=BOOKS, name="Books"))
    upload = UploadTorrent(
        torrent=TORRENT,
        file=torrent_file("Leaves of Gras", private=False),
        category=BOOKS,
        tags=("poetry",),
    )
    site.send("anna", upload)
    said: Mapping[str, Any] = {"torrent": TORRENT, "message_id": UUID(int=900)}

    def words(number: int, text: str) -> dict[str, Any]:
        return {"torrent": TORRENT, "message_id": UUID(int=900 + number), "message": text}

    site.send("mona", moderation.RequestTorrentChanges(**words(1, "The name lacks an s.")))
    site.send("anna", moderation.PostModerationMessage(**words(2, "So it does!\nThank you.")))
    site.send(
        "anna",
        EditTorrent(
            **{**said, "message_id": UUID(int=903)}, name="Leaves of Grass", tags=("poetry", "1855")
        ),
    )
    site.send("mona", moderation.ApproveTorrent(torrent=TORRENT, message_id=UUID(int=904)))
    site.send("bert", FavoriteTorrent(torrent=TORRENT))
    site.send("bert", PostComment(comment=COMMENT, torrent=TORRENT, content="I hear it sing."))
    site.send("cleo", PostComment(comment=REMARK, torrent=TORRENT, content="Tear it up \x1b[31m"))
    site.send("mona", DeleteComment(comment=REMARK))
    remark = reports.FileReport(
        report=VAIN, target_type="comment", target=COMMENT, reason="He calls it an it."
    )
    site.send("cleo", remark)
    site.send("mona", reports.DecideReport(report=VAIN, verdict="dismissed"))
    given_up = reports.FileReport(
        report=GIVEN_UP, target_type="torrent", target=TORRENT, reason="Nobody may read this."
    )
    site.send("cleo", given_up)
    site.send("cleo", reports.WithdrawReport(report=GIVEN_UP))
    fake = reports.FileReport(
        report=REPORT,
        target_type="torrent",
        target=TORRENT,
        reason="Half of the pages are missing.",
        details="From page 96 on.",
    )
    site.send("bert", fake)
    decided = reports.DecideReport(report=REPORT, verdict="resolved", resolution="True, alas.")
    site.send("mona", decided)
    site.send(
        "mona", moderation.ResetTorrent(**words(5, "Complete it first."), to="changes_requested")
    )
    site.send("bert", UnfavoriteTorrent(torrent=TORRENT))
    until = datetime(2026, 6, 1, tzinfo=UTC)
    ban = BanAccount(account=site.members["cleo"].account, reason="Quarrels.", until=until)
    site.send("mona", ban)
    site.send("anna", WithdrawTorrent(torrent=TORRENT))


@pytest.fixture
def folder(database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder whose servers hold the life of one torrent."""
    with server_folder() as made:
        monkeypatch.setenv("TRACKARR_DATA_DIR", str(made))
        monkeypatch.setenv("DATABASE_URL", database.owner_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("TRACKARR_ALLOW_WEAK_REDIS", "1")
        monkeypatch.setenv("TRACKARR_APP_PASSWORD", APP_PASSWORD)
        install_read_models(database.app_url)
        keyring = KeyringFile(made / "keyring.json").load_or_create()
        log = EventLog(database.app_url, keyring, registry())
        try:
            live(Site(log))
        finally:
            log.close()
        yield made


def about(meant: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert run(["audit", "history", "--about", meant, "--limit", "0", *options]) == 0
    return capsys.readouterr().out


def test_a_torrent_has_a_biography(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = about(str(TORRENT), capsys)
    assert told == GOLDEN.read_text()
    info_hash = told.split("info hash ")[1][:40]
    # A withdrawn torrent is still found by the hash it had.
    assert about(info_hash, capsys) == told
    assert about(info_hash.upper(), capsys) == told
    assert "\x1b" not in told
    assert "Nobody may read this" not in told
    assert len(about(info_hash, capsys, "--json").splitlines()) == len(told.splitlines())
    assert run(["audit", "history", "--about", info_hash, "--limit", "1"]) == 0
    assert capsys.readouterr().out == told.splitlines(keepends=True)[-1]


def test_a_member_has_one_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line[21:] for line in about("Cleo", capsys).splitlines()]
    assert "cleo registered as cleo" in lines
    assert 'cleo reported a comment of bert: "He calls it an it."' in lines
    assert 'mona banned cleo until 2026-06-01T00:00:00Z, saying "Quarrels."' in lines
    assert not any(line.startswith("anna uploaded") for line in lines)


def test_nothing_is_told_of_nobody(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "history", "--about", "zoe"]) == 1
    assert capsys.readouterr().err == "trackarr: There is no torrent or member called zoe.\n"
    assert run(["audit", "history", "--about", "0" * 40]) == 1
    assert about(str(UUID(int=77)), capsys) == ""


def entry_of(fact: Fact, *, actor: UUID | None = None, aggregate: UUID = TORRENT) -> Entry:
    return Entry(
        position=1,
        at=START,
        topic=type(fact).TOPIC,
        actor=actor,
        aggregate=aggregate,
        version=1,
        command=TORRENT,
        correlation=TORRENT,
        fact=plain_fact(fact),
    )


def test_the_rows_of_the_history_hold_nothing_that_steers_a_terminal() -> None:
    row = entry_row(entry_of(TagRemoved(slug="a", name="red \x1b[31m\n alert")))
    assert row.endswith("slug=a name=red [31m alert")


def test_every_fact_about_a_torrent_has_a_sentence() -> None:
    for topic, kind in registry().types.items():
        named = {field.name for field in msgspec.structs.fields(kind)}
        if topic.startswith("torrent.") or "torrent" in named:
            assert topic in SENTENCES, topic
    assert SENTENCES.keys() <= registry().types.keys()


def test_every_other_fact_is_told_plainly() -> None:
    biography = Biography(registry().types)
    someone = UUID(int=5)
    biography.know({someone: "anna"})

    kind = registry().types["device.distrusted.1"]
    fact = kind(account=someone, device=UUID(int=0xAB << 120), reason="gone")
    entry = entry_of(fact, aggregate=someone)
    assert someone in set(ids_in([entry]))
    line = biography.line(entry)
    assert line.startswith("2026-05-01 12:00:00  the system – ")
    assert "account anna" in line
    assert "device #ab0000000000" in line


def test_words_stay_on_their_line() -> None:
    assert printable("a\nb\tc\x1b[2J \u202egpj.exe") == "a b c [2J gpj.exe"
    assert ERASED.isprintable()
