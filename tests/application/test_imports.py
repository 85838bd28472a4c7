"""Importing on the real log: one of two that take the same lines wins, and refusals name lines."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from uuid import UUID, uuid4

import pytest

from application.bus import Bus, Context, Unit
from application.handlers import HANDLERS, TAKEN
from application.import_lines import TorrentLine, read_files
from application.imports import (
    ImportedComment,
    ImportedMember,
    ImportedTorrent,
    ImportLineRefused,
    ImportLines,
    Item,
)
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from application.tags import RemoveTag, tags_left
from application.taxonomy import CreateCategory, RemoveCategory
from domain.errors import DomainError
from domain.imports import ImportAdvanced, ImportElsewhere, ImportEnded, import_id
from domain.media_ids import MediaIds
from domain.torrents import TorrentDetails, TorrentUploaded, evolve
from domain.users import AccountRegistered, UsernameTaken
from tests.kit.torrents import torrent_file

AT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
RACERS = 4


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry(), max_overflow=RACERS)
    yield opened
    opened.close()


@pytest.fixture
def bus(log: EventLog) -> Bus:
    return Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)


def member(line: int, name: str) -> ImportedMember:
    return ImportedMember(
        line=line,
        at=AT,
        account=uuid4(),
        number=line,
        name=name,
        roles=(),
        invites=0,
        uploaded=0,
        verifier=None,
    )


def lines(*items: Item, after: int = 0, ends: bool = False) -> ImportLines:
    return ImportLines(
        name="old",
        after=after,
        line=after + len(items),
        digest="d" * 64,
        kid=1,
        items=items,
        ends=ends,
    )


def send(bus: Bus, command: ImportLines | CreateCategory | RemoveCategory | RemoveTag) -> None:
    bus.dispatch(command, Context(at=AT, command=uuid4(), correlation=uuid4()))


def registered(log: EventLog) -> list[str]:
    facts = [recorded.envelope.fact for recorded in log.read(0, 100)[0]]
    return [fact.username for fact in facts if isinstance(fact, AccountRegistered)]


def test_of_several_that_take_the_same_lines_one_wins(log: EventLog, bus: Bus) -> None:
    barrier = Barrier(RACERS)

    def race(number: int) -> str:
        command = lines(member(1, f"racer{number}"))
        barrier.wait()
        try:
            send(bus, command)
        except ImportElsewhere:
            return "elsewhere"
        return f"racer{number}"

    with ThreadPoolExecutor(RACERS) as pool:
        outcomes = list(pool.map(race, range(RACERS)))
    assert outcomes.count("elsewhere") == RACERS - 1
    assert registered(log) == [name for name in outcomes if name != "elsewhere"]


def test_an_import_that_ended_takes_nothing_more(log: EventLog, bus: Bus) -> None:
    send(bus, lines(member(1, "Anna"), ends=True))
    before = log.head()
    with pytest.raises(ImportElsewhere):
        send(bus, lines(member(2, "Bert"), after=1))
    assert log.head() == before
    kinds = [type(recorded.envelope.fact) for recorded in log.read(0, 100)[0]]
    assert kinds[-2:] == [ImportAdvanced, ImportEnded]


def test_a_refused_line_is_named_and_nothing_is_recorded(log: EventLog, bus: Bus) -> None:
    empty = ImportedComment(
        line=2, at=AT, comment=uuid4(), torrent=uuid4(), author=uuid4(), text=" "
    )
    with pytest.raises(ImportLineRefused) as refused:
        send(bus, lines(member(1, "Anna"), empty))
    assert refused.value.data["line"] == 2
    assert log.head() == 0


def test_a_name_taken_since_it_was_looked_up_refuses_the_batch(log: EventLog, bus: Bus) -> None:
    send(bus, lines(member(1, "Anna")))
    other = lines(member(1, "ANNA"))
    with pytest.raises(DomainError) as refused:
        send(bus, ImportLines(**{**fields(other), "name": "another"}))
    assert isinstance(refused.value, UsernameTaken)
    assert registered(log) == ["Anna"]


def torrent(line: int, *, at: datetime = AT, category: UUID | None = None) -> ImportedTorrent:
    content = torrent_file(f"Grass {line}")
    came = TorrentLine(uploader="Anna", uploaded_at=at, content=content)
    return ImportedTorrent(
        line=line,
        at=at,
        torrent=uuid4(),
        number=line,
        uploader=uuid4(),
        uploader_number=1,
        files=read_files(came, Path(), nfo_bytes=0),
        details=TorrentDetails(
            name=f"Grass {line}",
            description="",
            category=category,
            media=MediaIds(),
            tags=("Épic Poetry", "prose"),
        ),
        accepted=True,
    )


def test_a_category_removed_since_it_was_looked_up_refuses_the_batch(
    log: EventLog, bus: Bus
) -> None:
    kept, removed = uuid4(), uuid4()
    for category, name in ((kept, "Kept"), (removed, "Removed")):
        send(bus, CreateCategory(category=category, name=name))
    send(bus, RemoveCategory(category=removed, torrents=0, children=0))
    before = log.head()
    with pytest.raises(ImportLineRefused, match="Category not found") as refused:
        send(bus, lines(torrent(1, category=kept), torrent(2, category=removed)))
    assert refused.value.data["line"] == 2
    assert log.head() == before
    send(bus, lines(torrent(1, category=kept)))
    assert [fact.category for fact in uploaded(log)] == [kept]


def test_a_removed_tag_is_left_out_of_what_happened_before(log: EventLog, bus: Bus) -> None:
    send(bus, RemoveTag(slug="epic-poetry", name="Epic poetry"))
    second = timedelta(seconds=1)
    items = [torrent(1, at=AT - second), torrent(2, at=AT), torrent(3, at=AT + second)]
    send(bus, lines(*items))
    assert [fact.tags for fact in uploaded(log)] == [
        ("prose",),
        ("prose",),
        ("Épic Poetry", "prose"),
    ]
    # Who edits one of them finds the tags that lists show.
    unit = Unit(log, Context(at=AT, command=uuid4(), correlation=uuid4()))
    for item, fact in zip(items, uploaded(log), strict=True):
        found = unit.load(item.torrent, evolve)
        assert found is not None
        assert tags_left(unit, found) == fact.tags


def test_a_removal_behind_the_import_takes_the_tag_from_all_of_it(log: EventLog, bus: Bus) -> None:
    item = torrent(1, at=AT - timedelta(days=9))
    send(bus, lines(item))
    assert [fact.tags for fact in uploaded(log)] == [("Épic Poetry", "prose")]
    send(bus, RemoveTag(slug="epic-poetry", name="Epic poetry"))
    unit = Unit(log, Context(at=AT, command=uuid4(), correlation=uuid4()))
    found = unit.load(item.torrent, evolve)
    assert found is not None
    assert tags_left(unit, found) == ("prose",)


def uploaded(log: EventLog) -> list[TorrentUploaded]:
    facts = [recorded.envelope.fact for recorded in log.read(0, 100)[0]]
    return [fact for fact in facts if isinstance(fact, TorrentUploaded)]


def fields(command: ImportLines) -> dict[str, object]:
    return {name: getattr(command, name) for name in command.__struct_fields__}


def test_an_import_is_known_by_its_name() -> None:
    assert import_id("old") == import_id("old") != import_id("older")
    assert isinstance(import_id("old"), UUID)
