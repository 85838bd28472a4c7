"""Takes presence over from Redis: into the vault, and into the order of the member directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg import Connection

from application.ports import EventLogPort, VaultPut
from application.presence import PRESENCE_ID, PRESENCE_KIND, kept_presence
from application.store.presence import RedisPresence
from projections.member_directory import admit_newcomers, copy_figures, note_last_seen

_PORTION: Final = 1_000


def take_over_presence(
    connection: Callable[[], AbstractContextManager[Connection[Any]]],
    log: EventLogPort,
    store: RedisPresence,
    now: datetime,
) -> int:
    """Keep what was noted since the last time; how many members that were.

    Harmless when done twice: times only move forward. Raises `Unavailable` when Redis is out of
    reach; the directory's figures are copied all the same.
    """
    taken = 0
    with connection() as conn:
        for portion in _portions(admit_newcomers(conn, everyone=True)):
            # A directory made anew knows nobody: the vault does.
            kept = kept_presence(log, set(portion))
            note_last_seen(conn, {account: seen.at for account, seen in kept.items()})
        copy_figures(conn)
        for noted in store.changed():
            log.vault_write(
                puts=[
                    VaultPut(
                        kind=PRESENCE_KIND,
                        owner=account,
                        id=PRESENCE_ID,
                        value=msgspec.json.encode(seen),
                    )
                    for account, seen in noted.items()
                ]
            )
            note_last_seen(conn, {account: seen.at for account, seen in noted.items()})
            taken += len(noted)
    store.forget_before(now)
    return taken


def _portions(accounts: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for at in range(0, len(accounts), _PORTION):
        yield accounts[at : at + _PORTION]
