"""Profiles and sign-ins: the last fact counts, whatever the batches were."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application.ports import Writes
from application.store.keyring import Keyring
from application.store.log import EventLog
from application.store.topics import registry
from domain.kernel import Envelope, Fact, Meta, Private
from domain.profiles import ProfileEdited, profile_id
from domain.sessions import SessionOpened
from projections import engine
from projections.engine import Connection, schema_of
from projections.profiles import ProfilesProjection, find_profile
from projections.rebuild import rebuild
from tests.projections.catalogue_story import START, named

ALICE, BERT, NOBODY = named(1, 1), named(1, 2), named(1, 3)
PROFILES = ProfilesProjection()


@pytest.fixture
def log(app_url: str) -> Iterator[EventLog]:
    opened = EventLog(app_url, Keyring.generate(), registry())
    yield opened
    opened.close()


def edited(account: UUID, bio: str | None) -> ProfileEdited:
    return ProfileEdited(
        account=account,
        display_name=Private(account, f"Name of {bio}"),
        bio=Private(account, bio) if bio else None,
        show_last_seen=bio != "third",
        show_adult_content=False,
        theme="light",
        language="fr",
    )


def record(log: EventLog, id: UUID, version: int, fact: Fact, hours: int) -> None:
    meta = Meta(at=START + timedelta(hours=hours), actor=None, command=uuid4(), correlation=uuid4())
    envelope = Envelope(originator_id=id, originator_version=version, meta=meta, fact=fact)
    log.append(Writes(command_id=meta.command, envelopes=(envelope,)))


def tell(log: EventLog) -> None:
    for hours, account in enumerate((ALICE, BERT, ALICE)):
        record(log, uuid4(), 1, SessionOpened(account=account, method="password"), hours)
    for version, bio in enumerate(("first", "second", "third"), 1):
        record(log, profile_id(ALICE), version, edited(ALICE, bio), version)
    record(log, profile_id(BERT), 1, edited(BERT, None), 9)


def rows(conn: Connection) -> list[object]:
    found: list[object] = []
    found += conn.execute("SELECT p::text FROM profiles_1.profiles p ORDER BY 1").fetchall()
    found += conn.execute("SELECT s::text FROM profiles_1.sign_ins s ORDER BY 1").fetchall()
    return found


def catch_up(conn: Connection, log: EventLog, limit: int) -> None:
    engine.install(conn, PROFILES)
    while isinstance(engine.step(conn, log, PROFILES, limit=limit), int):
        pass


def test_a_rebuild_equals_what_was_folded_in_any_batches(conn: Connection, log: EventLog) -> None:
    tell(log)
    seen = []
    for limit in (1, 2, 500):
        engine.drop(conn, schema_of(PROFILES))
        catch_up(conn, log, limit)
        seen.append(rows(conn))
    rebuild(conn, log, PROFILES)
    seen.append(rows(conn))
    assert len(seen[0]) == 4
    assert all(each == seen[0] for each in seen)


def test_find_profile_gives_the_last_state_and_the_last_sign_in(
    conn: Connection, log: EventLog
) -> None:
    tell(log)
    catch_up(conn, log, 500)
    alice = find_profile(conn, ALICE)
    assert (alice.display_name, alice.bio) == ("Name of third", "third")
    assert (alice.show_last_seen, alice.theme, alice.language) == (False, "light", "fr")
    assert alice.last_sign_in == START + timedelta(hours=2)


def test_find_profile_of_one_who_never_edited_his(conn: Connection, log: EventLog) -> None:
    catch_up(conn, log, 500)
    nobody = find_profile(conn, NOBODY)
    assert (nobody.display_name, nobody.bio, nobody.last_sign_in) == (None, None, None)
    assert (nobody.show_last_seen, nobody.show_adult_content) == (True, False)
    assert (nobody.theme, nobody.language) == ("dark", "en")
