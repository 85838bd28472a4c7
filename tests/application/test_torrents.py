"""Uploads on the real log: one append, claims that decide, and the files behind the facts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from bencodepy import decode

from application.access import AnnounceAddresses, Passkeys
from application.bus import Actor, Bus, Context, Unit
from application.handlers import HANDLERS, TAKEN
from application.ports import Appended
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from application.taxonomy import CategoryCreated, CreateCategory
from application.torrents import FILES_SHOWN, StoredTorrents, TorrentFileLost
from application.uploads import (
    NFO_BYTES,
    CategoryUnknown,
    NfoTooLarge,
    TorrentUploaded,
    UploadTorrent,
    handle_upload_torrent,
    nfo_text,
)
from domain import torrents
from domain.passkeys import PasskeyScope, passkey_matches
from domain.permissions import MODERATOR, Permission
from domain.roles import RoleBook, permissions_of
from domain.taxonomy import CategoryInvalid
from domain.torrents import TorrentExists, hash_claim
from tests.kit.corpus import sample
from tests.kit.torrents import info_hash_of, torrent_file

RACERS = 6
KEYS = {4: b"a" * 32, 9: b"b" * 32}


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry(), max_overflow=RACERS)
    yield opened
    opened.close()


@pytest.fixture
def commits() -> list[Appended]:
    return []


@pytest.fixture
def bus(log: EventLog, commits: list[Appended]) -> Bus:
    def note(appended: Appended) -> tuple[str, ...]:
        commits.append(appended)
        return ()

    return Bus(log, HANDLERS, after_commit=note, taken=TAKEN)


def actor(number: int = 1, permissions: frozenset[str] = frozenset()) -> Actor:
    return Actor(
        account=UUID(int=number), number=number, username=f"m{number}", permissions=permissions
    )


def context(who: Actor) -> Context:
    return Context(at=datetime.now(UTC), command=uuid4(), correlation=uuid4(), actor=who)


def send(bus: Bus, who: Actor | None = None, **command: Any) -> TorrentUploaded:
    upload = UploadTorrent(**{"torrent": uuid4(), "file": torrent_file(), **command})
    result: TorrentUploaded = bus.dispatch(upload, context(who or actor())).result
    return result


def test_upload_torrent_saves_torrent_thread_and_file_in_one_append(
    bus: Bus, log: EventLog, commits: list[Appended]
) -> None:
    uploaded = send(bus, nfo=b"hello", name="Leaves")
    (commit,) = commits
    assert commit.topics == {"torrent.uploaded.1", "moderation.opened.1"}
    assert commit.last - commit.first == 1
    torrent = log.load(uploaded.torrent, torrents.evolve)
    assert torrent is not None
    fact = log.read(commit.first - 1, 1)[0][0].envelope.fact
    assert log.blob(bytes.fromhex(fact.nfo_ref)) == b"hello"
    stored = log.blob(bytes.fromhex(torrent.file_ref))
    assert stored is not None
    assert info_hash_of(stored) == uploaded.info_hash


def test_upload_torrent_claims_each_hash_it_is_known_by(bus: Bus, log: EventLog) -> None:
    uploaded = send(bus, file=sample("hybrid-single"))
    known = [uploaded.info_hash, uploaded.info_hash_v2, uploaded.original_info_hash]
    for info_hash in known:
        assert info_hash is not None
        assert log.claim_owner(hash_claim(info_hash)) == uploaded.torrent


def test_upload_torrent_is_refused_by_any_of_its_hashes(bus: Bus, log: EventLog) -> None:
    original = torrent_file("Open", private=False)
    send(bus, file=original)
    head, number = log.head(), log.next_torrent_number()
    for content in (original, torrent_file("Open", private=True)):
        with pytest.raises(TorrentExists):
            send(bus, actor(2), file=content)
    assert log.head() == head
    # Trackers keep torrents in arrays by number, so an upload that is refused uses none up.
    assert log.next_torrent_number() == number + 1


def test_upload_torrent_is_decided_by_the_claim_not_by_the_question(
    bus: Bus, log: EventLog
) -> None:
    """The question before is only for comfort: with it answered wrongly the append refuses."""
    content = torrent_file("Race")
    ready = Barrier(RACERS)

    class Blind(Unit):
        def claim_owner(self, claim: Any) -> None:
            return None

    def blindly(unit: Unit, command: UploadTorrent) -> TorrentUploaded:
        blind = Blind(unit.log, unit.context)
        blind.__dict__.update({k: v for k, v in unit.__dict__.items() if k.startswith("_")})
        return handle_upload_torrent(blind, command)

    racing = Bus(log, {**HANDLERS, UploadTorrent: blindly}, after_commit=lambda _: (), taken=TAKEN)

    def run(number: int) -> bool:
        ready.wait(20)
        try:
            send(racing, actor(number), file=content)
        except TorrentExists:
            return False
        return True

    with ThreadPoolExecutor(RACERS) as pool:
        assert sorted(pool.map(run, range(1, RACERS + 1))) == [False] * (RACERS - 1) + [True]
    assert log.head() == 2


def test_upload_torrent_passes_moderation_with_the_right_to(bus: Bus) -> None:
    role = frozenset({Permission.CAN_UPLOAD_WITHOUT_MODERATION.value})
    assert send(bus, actor(1), file=torrent_file("1")).status == "pending"
    assert send(bus, actor(2, role), file=torrent_file("2")).status == "accepted"
    staff = permissions_of([MODERATOR], RoleBook())
    assert send(bus, actor(3, staff), file=torrent_file("3")).status == "accepted"


def test_upload_torrent_wants_a_category_that_is_there(bus: Bus, log: EventLog) -> None:
    category = uuid4()
    bus.dispatch(CreateCategory(category=category, name="Books"), context(actor()))
    uploaded = send(bus, category=category)
    head = log.head()
    for other in (uuid4(), uploaded.torrent):
        with pytest.raises(CategoryUnknown):
            send(bus, file=torrent_file("Other"), category=other)
    assert log.head() == head


def test_upload_torrent_refuses_an_nfo_that_is_none(bus: Bus, log: EventLog) -> None:
    with pytest.raises(NfoTooLarge):
        send(bus, nfo=b"x" * (NFO_BYTES + 1))
    assert log.head() == 0
    send(bus, nfo=b"x" * NFO_BYTES)


def test_no_text_that_would_stop_a_read_model_is_recorded(bus: Bus, log: EventLog) -> None:
    for field in ({"name": "a\0b"}, {"description": "a\0b"}, {"tags": ("a\0b",)}):
        with pytest.raises(torrents.TorrentDetailsInvalid):
            send(bus, **field)
    with pytest.raises(CategoryInvalid):
        bus.dispatch(CreateCategory(category=uuid4(), name="a\0b"), context(actor()))
    assert log.head() == 0


def test_upload_torrent_takes_the_name_inside_the_file(bus: Bus) -> None:
    assert send(bus, file=torrent_file("n" * 300)).name == "n" * 256
    assert send(bus, file=torrent_file("Inside"), name="Outside").name == "Outside"


def test_create_category_answers_what_it_created(bus: Bus) -> None:
    category = uuid4()
    created: CategoryCreated = bus.dispatch(
        CreateCategory(category=category, name="E-Books", newznab_id=7020), context(actor())
    ).result
    assert (created.id, created.slug, created.newznab_id) == (category, "e-books", 7020)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain", "plain"),
        ("Ж ★".encode(), "Ж ★"),
        (b"\xdb\xdb\xdb\xdb Release \xdb\xdb\xdb\xdb", "████ Release ████"),
        (b"caf\xe9 x", "caf\ufffd x"),
        (b"a\0b", "a\ufffdb"),
    ],
)
def test_nfo_text_reads_old_and_new_spellings(content: bytes, text: str) -> None:
    assert nfo_text(content) == text


def test_personal_torrent_holds_a_key_for_this_torrent_and_this_member(
    bus: Bus, log: EventLog
) -> None:
    uploaded = send(bus, file=torrent_file("Open", private=False))
    torrent = log.load(uploaded.torrent, torrents.evolve)
    assert torrent is not None
    stored = StoredTorrents(
        log,
        Passkeys(KEYS),
        AnnounceAddresses("https://t.example/", "udp://t.example:6969/announce"),
    )
    for kid, key in ((4, KEYS[4]), (9, KEYS[9])):
        file = stored.personal_torrent(torrent.file_ref, torrent=7, account=3, kid=kid, epoch=2)
        assert info_hash_of(file) == uploaded.info_hash
        read = decode(file)
        (http,), (udp,) = read[b"announce-list"]
        passkey = http.decode().removeprefix("https://t.example/announce/")
        assert udp.decode() == f"udp://t.example:6969/announce/{passkey}"
        assert passkey_matches(passkey, key, 3, scope=PasskeyScope.TORRENT, epoch=2, torrent=7)
    with pytest.raises(TorrentFileLost):
        stored.personal_torrent("00" * 32, torrent=7, account=3, kid=4, epoch=2)


def test_content_files_are_read_from_the_stored_file(bus: Bus, log: EventLog) -> None:
    uploaded = send(bus, file=sample("v1-multi"))
    torrent = log.load(uploaded.torrent, torrents.evolve)
    assert torrent is not None
    stored = StoredTorrents(log, Passkeys(KEYS), AnnounceAddresses("http://t.example"))
    files = stored.content_files(torrent.file_ref)
    assert len(files) == min(uploaded.file_count, FILES_SHOWN)
    assert sum(file.length for file in files) == uploaded.size


@pytest.mark.parametrize(
    ("given", "announce"),
    [
        ("http://localhost:8080", "http://localhost:8080/announce"),
        ("http://localhost:8080/", "http://localhost:8080/announce"),
        ("https://x.example/tracker/announce?a=b", "https://x.example/tracker/announce"),
    ],
)
def test_announce_addresses_have_one_form(given: str, announce: str) -> None:
    assert AnnounceAddresses(given).tiers("k") == ((f"{announce}/k",),)


def test_announce_passkey_is_the_general_one() -> None:
    assert Passkeys(KEYS).newest == 9
    passkey = Passkeys(KEYS).announce_passkey(3, kid=4, epoch=1)
    assert passkey_matches(passkey, KEYS[4], 3, scope=PasskeyScope.ANNOUNCE, epoch=1)
