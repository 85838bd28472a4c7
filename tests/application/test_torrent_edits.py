"""Edits of torrents on the real log, with another transaction between their reading and saving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.bus import Actor, Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.moderation import ApproveTorrent, RejectTorrent
from application.ports import Appended, Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from application.tags import RemoveTag
from application.torrent_edits import EditTorrent
from application.uploads import UploadTorrent
from domain import moderation, torrents
from domain.permissions import Permission
from tests.kit.torrents import torrent_file

UPLOADER = Actor(account=UUID(int=1), number=1, username="uploader")
STAFF, OTHER_STAFF = (
    Actor(
        account=UUID(int=number),
        number=number,
        username=f"staff{number}",
        permissions=frozenset({Permission.CAN_MODERATE.value}),
    )
    for number in (2, 3)
)


class OvertakenLog(EventLog):
    """A log whose next append is overtaken by what `first` commits on another connection."""

    first: Callable[[], object] | None = None

    def append(self, writes: Writes) -> Appended:
        first, self.first = self.first, None
        if first is not None:
            first()
        return super().append(writes)


@pytest.fixture
def log(app_url: str) -> Iterator[OvertakenLog]:
    opened = OvertakenLog(app_url, Keyring.generate(), registry())
    yield opened
    opened.close()


@pytest.fixture
def send(log: OvertakenLog) -> Callable[[Any, Actor], Any]:
    bus = Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)

    def dispatch(command: Any, actor: Actor) -> Any:
        context = Context(at=datetime.now(UTC), command=uuid4(), correlation=uuid4(), actor=actor)
        return bus.dispatch(command, context).result

    return dispatch


def upload(send: Callable[[Any, Actor], Any], *tags: str) -> UUID:
    torrent = uuid4()
    send(UploadTorrent(torrent=torrent, file=torrent_file(), tags=tags), UPLOADER)
    return torrent


def edit(torrent: UUID) -> EditTorrent:
    return EditTorrent(torrent=torrent, message_id=uuid4(), description="Other words.")


def loaded(log: EventLog, torrent: UUID) -> torrents.Torrent:
    found = log.load(torrent, torrents.evolve)
    assert found is not None
    return found


def test_an_edit_that_bypasses_moderation_does_not_pass_a_rejection(
    log: OvertakenLog, send: Callable[[Any, Actor], Any]
) -> None:
    torrent = upload(send)
    rejection = RejectTorrent(torrent=torrent, message_id=uuid4(), message="No.")
    log.first = lambda: send(rejection, STAFF)
    with pytest.raises(moderation.TorrentIsRejected):
        send(edit(torrent), OTHER_STAFF)
    assert loaded(log, torrent).version == 1


@pytest.mark.parametrize("kind", [ApproveTorrent, RejectTorrent])
def test_a_decision_does_not_pass_an_edit_of_what_was_seen(
    log: OvertakenLog, send: Callable[[Any, Actor], Any], kind: Callable[..., Any]
) -> None:
    torrent = upload(send)
    log.first = lambda: send(edit(torrent), OTHER_STAFF)
    decision = kind(torrent=torrent, message_id=uuid4(), message="So.", version=1)
    with pytest.raises(torrents.TorrentEditedMeanwhile) as refusal:
        send(decision, STAFF)
    assert refusal.value.data == {
        "editor": {"id": str(OTHER_STAFF.account), "username": None},
        "version": 2,
    }
    thread = log.load(moderation.thread_id(torrent), moderation.evolve)
    assert thread is not None
    assert thread.status == "pending"


def test_an_edit_does_not_bring_a_tag_back_that_is_removed_meanwhile(
    log: OvertakenLog, send: Callable[[Any, Actor], Any]
) -> None:
    torrent = upload(send, "Poetry", "Prose")
    log.first = lambda: send(RemoveTag(slug="poetry", name="Poetry"), STAFF)
    edited = send(edit(torrent), UPLOADER)
    assert edited.details.tags == loaded(log, torrent).details.tags == ("Prose",)
