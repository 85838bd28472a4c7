"""Sealing everything anew under the active keys, so that retired keys may be destroyed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

from application.store.keyring import Keyring
from application.store.ledger_places import block_place, checkpoint_place
from application.store.mapper import event_place
from application.store.sealing import Reserve, Sealer
from application.store.vault_places import answer_place, blob_place, item_place

PAGE: Final = 500

Progress = Callable[[str, int], None]
"""Told the kind of value and how many were sealed anew, once a page."""

_EVENTS = """
SELECT notification_id, originator_id, originator_version, topic, state FROM log.events
WHERE notification_id > %s ORDER BY notification_id LIMIT 500
"""
_ITEMS = """
SELECT kind, owner, id, value FROM vault.items
WHERE (kind, owner, id) > (%s, %s, %s) ORDER BY kind, owner, id LIMIT 500
"""
_BLOBS = "SELECT ref, value FROM vault.blobs WHERE ref > %s ORDER BY ref LIMIT 20"
_ANSWERS = """
SELECT id, answer FROM log.commands WHERE answer IS NOT NULL AND id > %s ORDER BY id LIMIT 500
"""
_BLOCKS_OF_DAYS = """
SELECT day, segment, kind, number, body FROM ledger.blocks
WHERE (day, segment, kind, number) > (%s, %s, %s, %s)
ORDER BY day, segment, kind, number LIMIT 20
"""
_CHECKPOINTS = """
SELECT closing, sums, state FROM ledger.checkpoints WHERE closing > %s ORDER BY closing LIMIT 1
"""
# A value that changed meanwhile was sealed under the active key by whoever changed it.
_UPDATES: Final = {
    "events": "UPDATE log.events SET state = %s WHERE notification_id = %s AND state = %s",
    "items": (
        "UPDATE vault.items SET value = %s"
        " WHERE kind = %s AND owner = %s AND id = %s AND value = %s"
    ),
    "blobs": "UPDATE vault.blobs SET value = %s WHERE ref = %s AND value = %s",
    "days": (
        "UPDATE ledger.blocks SET body = %s"
        " WHERE day = %s AND segment = %s AND kind = %s AND number = %s AND body = %s"
    ),
    "sums": "UPDATE ledger.checkpoints SET sums = %s WHERE closing = %s AND sums = %s",
    "states": "UPDATE ledger.checkpoints SET state = %s WHERE closing = %s AND state = %s",
    "answers": "UPDATE log.commands SET answer = %s WHERE id = %s AND answer = %s",
}


def reseal(owner: Connection[Any], keyring: Keyring, progress: Progress = lambda *_: None) -> int:
    """Seal every fact, vault value, blob, answer and closed day under a retired key anew.

    Needs the owner's connection (autocommit): the application's login can't change facts.
    Commits and hashes stay as they are. Run it after every process uses the rotated ring;
    it may be stopped and started again. The answer is the number of values sealed anew.
    """

    def reserve(key_id: int, amount: int) -> int:
        row = owner.execute("SELECT log.reserve_seals(%s, %s)", (key_id, amount)).fetchone()
        return int(row[0]) if row else 0

    return sum(
        (
            _events(owner, keyring, reserve, progress),
            _items(owner, keyring, reserve, progress),
            _blobs(owner, keyring, reserve, progress),
            _answers(owner, keyring, reserve, progress),
            _days(owner, keyring, reserve, progress),
            _checkpoints(owner, keyring, reserve, progress),
        )
    )


def _events(owner: Connection[Any], keyring: Keyring, reserve: Reserve, progress: Progress) -> int:
    sealer, after, done = Sealer(keyring, "events", reserve), 0, 0
    while rows := owner.execute(_EVENTS, (after,)).fetchall():
        updates = [
            (_again(sealer, state, event_place(originator, version, topic)), position, state)
            for position, originator, version, topic, state in rows
            if not sealer.current(state)
        ]
        after, done = rows[-1][0], done + _update(owner, "events", updates)
        progress("events", done)
    return done


def _items(owner: Connection[Any], keyring: Keyring, reserve: Reserve, progress: Progress) -> int:
    sealer, done = Sealer(keyring, "vault", reserve), 0
    after: tuple[Any, ...] = ("", UUID(int=0), "")
    while rows := owner.execute(_ITEMS, after).fetchall():
        updates = [
            (_again(sealer, value, item_place(kind, holder, id)), kind, holder, id, value)
            for kind, holder, id, value in rows  # noqa: A001 (its name in the vault)
            if not sealer.current(value)
        ]
        after, done = rows[-1][:3], done + _update(owner, "items", updates)
        progress("items", done)
    return done


def _blobs(owner: Connection[Any], keyring: Keyring, reserve: Reserve, progress: Progress) -> int:
    sealer, after, done = Sealer(keyring, "vault", reserve), b"", 0
    while rows := owner.execute(_BLOBS, (after,)).fetchall():
        updates = [
            (_again(sealer, value, blob_place(ref)), ref, value)
            for ref, value in rows
            if not sealer.current(value)
        ]
        after, done = rows[-1][0], done + _update(owner, "blobs", updates)
        progress("blobs", done)
    return done


def _answers(owner: Connection[Any], keyring: Keyring, reserve: Reserve, progress: Progress) -> int:
    sealer, after, done = Sealer(keyring, "vault", reserve), UUID(int=0), 0
    while rows := owner.execute(_ANSWERS, (after,)).fetchall():
        updates = [
            (_again(sealer, answer, answer_place(command)), command, answer)
            for command, answer in rows
            if not sealer.current(answer)
        ]
        after, done = rows[-1][0], done + _update(owner, "answers", updates)
        progress("answers", done)
    return done


def _days(owner: Connection[Any], keyring: Keyring, reserve: Reserve, progress: Progress) -> int:
    sealer, done = Sealer(keyring, "events", reserve), 0
    after: tuple[Any, ...] = (date(1, 1, 1), 0, "", 0)
    while rows := owner.execute(_BLOCKS_OF_DAYS, after).fetchall():
        updates = [
            (_again(sealer, body, block_place(*place)), *place, body)
            for *place, body in rows
            if not sealer.current(body)
        ]
        after, done = rows[-1][:4], done + _update(owner, "days", updates)
        progress("days", done)
    return done


def _checkpoints(
    owner: Connection[Any], keyring: Keyring, reserve: Reserve, progress: Progress
) -> int:
    sealer, after, done = Sealer(keyring, "events", reserve), 0, 0
    while rows := owner.execute(_CHECKPOINTS, (after,)).fetchall():
        after = rows[0][0]
        for kind, value in zip(("sums", "states"), rows[0][1:], strict=True):
            if value is not None and not sealer.current(value):
                again = _again(sealer, value, checkpoint_place(after, kind))
                done += _update(owner, kind, [(again, after, value)])
        progress("checkpoints", done)
    return done


def _again(sealer: Sealer, sealed: bytes, place: bytes) -> bytes:
    return sealer.seal(sealer.open(sealed, place), place)


def _update(owner: Connection[Any], kind: str, updates: list[tuple[Any, ...]]) -> int:
    if not updates:
        return 0
    with owner.transaction(), owner.cursor() as cursor:
        cursor.executemany(_UPDATES[kind].encode(), updates)
        return cursor.rowcount
