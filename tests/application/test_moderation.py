"""Moderation on the real log: what is recorded, and what the loser of a race is told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from application import moderation as commands
from application.bus import Actor, Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.password_proofs import Verifier
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from application.uploads import UploadTorrent
from application.users import RegisterAccount
from domain import moderation
from domain.errors import Conflict, DomainError
from domain.permissions import MODERATOR
from domain.roles import RoleBook, permissions_of
from tests.kit.torrents import torrent_file

RACERS = 4


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry(), max_overflow=RACERS)
    yield opened
    opened.close()


@pytest.fixture
def bus(log: EventLog) -> Bus:
    return Bus(log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)


def context(actor: Actor | None = None) -> Context:
    return Context(at=datetime.now(UTC), command=uuid4(), correlation=uuid4(), actor=actor)


UPLOADER = Actor(account=UUID(int=1), number=1, username="uploader")


def make_moderator(bus: Bus, username: str) -> Actor:
    """An account whose name the log knows, with the rights of a moderator."""
    account = uuid4()
    bus.dispatch(
        RegisterAccount(
            account=account,
            username=username,
            kid=1,
            verifier=Verifier(salt="s" * 44, verifier="v" * 44),
            invite=None,
            may_found=True,
            session=uuid4(),
            token_hash=uuid4().hex,
        ),
        context(),
    )
    return Actor(
        account=account,
        number=2,
        username=username,
        permissions=permissions_of([MODERATOR], RoleBook()),
    )


def upload(bus: Bus) -> UUID:
    torrent = uuid4()
    bus.dispatch(UploadTorrent(torrent=torrent, file=torrent_file()), context(UPLOADER))
    return torrent


def send(bus: Bus, actor: Actor, command: Any) -> Any:
    return bus.dispatch(command, context(actor)).result


def test_approve_torrent_records_who_and_what_was_before(bus: Bus, log: EventLog) -> None:
    mona = make_moderator(bus, "mona")
    torrent, message = upload(bus), uuid4()
    moderated = send(
        bus, mona, commands.ApproveTorrent(torrent=torrent, message_id=message, message="Nice.")
    )
    assert (moderated.status, moderated.moderator_name) == ("accepted", "mona")
    fact = log.read(log.head() - 1, 1)[0][0].envelope.fact
    assert isinstance(fact, moderation.TorrentApproved)
    assert (fact.previous, fact.moderator, fact.message_id) == ("pending", mona.account, message)
    assert fact.message is not None
    assert (fact.message.subject, fact.message.text) == (mona.account, "Nice.")


def test_of_many_decisions_at_once_one_counts_and_the_others_learn_whose(
    bus: Bus, log: EventLog
) -> None:
    mona = make_moderator(bus, "mona")
    torrent = upload(bus)
    head = log.head()
    ready = Barrier(RACERS)

    def decide(place: int) -> DomainError | None:
        kind = (commands.ApproveTorrent, commands.RejectTorrent)[place % 2]
        ready.wait(20)
        try:
            send(
                bus,
                mona,
                kind(torrent=torrent, message_id=uuid4(), message="So be it.", seen="pending"),
            )
        except DomainError as refusal:
            return refusal
        return None

    with ThreadPoolExecutor(RACERS) as pool:
        refusals = list(pool.map(decide, range(RACERS)))
    assert refusals.count(None) == 1
    assert log.head() == head + 1
    thread = log.load(moderation.thread_id(torrent), moderation.evolve)
    assert thread is not None
    for refusal in refusals:
        if refusal is not None:
            assert isinstance(refusal, Conflict)
            assert refusal.data["moderator"] == {"id": str(mona.account), "username": "mona"}
            assert refusal.data["status"] == thread.status


def test_after_a_bypass_nobody_is_named(bus: Bus) -> None:
    mona = make_moderator(bus, "mona")
    torrent = uuid4()
    send(bus, mona, UploadTorrent(torrent=torrent, file=torrent_file()))
    with pytest.raises(moderation.TorrentAlreadyAccepted) as refusal:
        send(bus, mona, commands.ApproveTorrent(torrent=torrent, message_id=uuid4()))
    assert refusal.value.data["moderator"] is None


def test_moderation_of_nothing_is_not_found(bus: Bus, log: EventLog) -> None:
    mona = make_moderator(bus, "mona")
    head = log.head()
    words = {"torrent": uuid4(), "message_id": uuid4(), "message": "Hello."}
    for kind in (
        commands.ApproveTorrent,
        commands.RequestTorrentChanges,
        commands.RejectTorrent,
        commands.ResetTorrent,
        commands.PostModerationMessage,
    ):
        with pytest.raises(moderation.ModerationThreadNotFound):
            send(bus, mona, kind(**words))
    assert log.head() == head


def test_post_moderation_message_is_for_the_uploader_and_staff(bus: Bus) -> None:
    mona = make_moderator(bus, "mona")
    torrent = upload(bus)
    words = {"torrent": torrent, "message": " Hello. "}
    for who in (UPLOADER, mona):
        posted = send(bus, who, commands.PostModerationMessage(message_id=uuid4(), **words))
        assert (posted.body, posted.author) == ("Hello.", who.account)
    stranger = Actor(account=UUID(int=9), number=9, username="stranger")
    with pytest.raises(moderation.ModerationThreadNotFound):
        send(bus, stranger, commands.PostModerationMessage(message_id=uuid4(), **words))


def test_no_words_that_would_stop_a_read_model_are_recorded(bus: Bus, log: EventLog) -> None:
    torrent = upload(bus)
    head = log.head()
    with pytest.raises(moderation.ModerationMessageInvalid):
        send(
            bus,
            UPLOADER,
            commands.PostModerationMessage(torrent=torrent, message_id=uuid4(), message="a\0b"),
        )
    assert log.head() == head


def test_reset_torrent_leads_where_it_is_told(bus: Bus) -> None:
    mona = make_moderator(bus, "mona")
    torrent = upload(bus)
    send(bus, mona, commands.RejectTorrent(torrent=torrent, message_id=uuid4(), message="No."))
    reset = send(
        bus,
        mona,
        commands.ResetTorrent(
            torrent=torrent, message_id=uuid4(), message="Yes.", to="changes_requested"
        ),
    )
    assert reset.status == "changes_requested"
