"""The scheduler process: signed heads, closed days, and what is old enough to forget."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import structlog

from application.account_bans import EndBan
from application.address_keys import DestroyAddressKeys
from application.bus import Bus
from application.handlers import HANDLERS, TAKEN
from application.invitations import ExpireInvitation
from application.store.heads import sign_head
from application.store.presence import RedisPresence
from domain.site import SITE, UNFOUNDED, evolve
from interfaces.presence import take_over_presence
from interfaces.revocations import Revocations, RevokeAfterCommit
from interfaces.role_rules import apply_role_rules
from interfaces.workers.schedule import Scheduler, Task
from ops.container.foundation import Foundation, dispatch_as_system, foundation
from ops.container.ledger import ledger_checkpoints
from ops.container.process import database_url, stop_on_signals
from ops.readiness import announce_ready
from ops.settings import Settings
from ops.system import system_clock
from projections.invitations import list_overdue
from projections.ledger_days import CompactionBusy, closable_days, compact_day
from projections.ledger_retention import retire_days
from projections.users import list_ended_bans

HEAD_SECONDS = 60
PRUNE_SECONDS = 3600
ADDRESS_KEYS_SECONDS = 6 * 3600
LEDGER_SECONDS = 3600
ROLE_RULES_SECONDS = 1800
BANS_SECONDS = 30
BANS_A_ROUND = 500
PRESENCE_SECONDS = 60
INVITATIONS_SECONDS = 60
INVITATIONS_A_ROUND = 500
COMMANDS_KEPT = timedelta(days=7)


class Stopped(Exception):
    """The process ends; what was begun is taken up by the next one."""


def run(settings: Settings) -> None:
    stop = stop_on_signals()
    with foundation(settings, name="scheduler", connections=2) as base:
        # Minutes of work at a large site: heads must be signed meanwhile.
        beside = threading.Thread(
            target=Scheduler(ledger_tasks(base, stop)).run, args=(stop, lambda: None)
        )
        beside.start()
        try:
            Scheduler(tasks(base)).run(stop, announce_ready)
        finally:
            stop.set()
            beside.join()


def tasks(base: Foundation) -> list[Task]:
    """Everything that is done by the clock."""
    return [
        Task(
            name="heads.sign",
            seconds=HEAD_SECONDS,
            do=lambda: sign_and_tell(base),
            at_stop=True,
        ),
        Task(
            name="commands.prune",
            seconds=PRUNE_SECONDS,
            do=lambda: base.log.prune_commands(system_clock() - COMMANDS_KEPT),
        ),
        Task(
            name="address_keys.destroy",
            seconds=ADDRESS_KEYS_SECONDS,
            do=lambda: dispatch(base, DestroyAddressKeys()),
        ),
        Task(
            name="roles.apply_rules",
            seconds=ROLE_RULES_SECONDS,
            do=lambda: apply_role_rules(
                base.reads.connection, lambda command: bool(dispatch(base, command)), system_clock()
            ),
        ),
        Task(
            name="presence.take_over",
            seconds=PRESENCE_SECONDS,
            do=lambda: take_over_presence(
                base.reads.connection, base.log, RedisPresence(base.redis), system_clock()
            ),
        ),
        Task(name="bans.end", seconds=BANS_SECONDS, do=lambda: end_bans(base)),
        Task(
            name="invitations.expire",
            seconds=INVITATIONS_SECONDS,
            do=lambda: expire_invitations(base),
        ),
    ]


def ledger_tasks(base: Foundation, stop: threading.Event) -> list[Task]:
    """Long work on the peer ledger."""
    return [Task(name="ledger.compact", seconds=LEDGER_SECONDS, do=lambda: tend_ledger(base, stop))]


def tend_ledger(base: Foundation, stop: threading.Event) -> None:
    """Close every day that is over, sign what it came to, and let the oldest go."""
    with (
        suppress(CompactionBusy, Stopped),
        psycopg.connect(
            database_url(base.settings), autocommit=True, application_name="trackarr scheduler"
        ) as conn,
    ):
        now = system_clock()
        for day in closable_days(conn, now):
            _compact(base, conn, day, now, stop)
        signed = ledger_checkpoints(base.log, base.keyring, base.entropy).advance(
            conn, now, lambda _records, _seconds: _go_on(stop)
        )
        if signed is not None:
            structlog.get_logger("scheduler").info(
                "ledger.checkpoint_signed",
                day=signed.day.isoformat(),
                batch=signed.checkpoint.ledger_seq,
                state=signed.checkpoint.state_digest.hex(),
                sums=signed.checkpoint.sums_digest.hex(),
                signature=signed.signature.hex(),
            )
        site = base.log.load(SITE, evolve) or UNFOUNDED
        gone = retire_days(conn, int(site.setting("ledgerKeepDays") or 0), now)
        for day in gone:
            structlog.get_logger("scheduler").info("ledger.day_retired", day=day.isoformat())


def _compact(
    base: Foundation, conn: psycopg.Connection[Any], day: date, now: datetime, stop: threading.Event
) -> None:
    done = compact_day(
        conn,
        base.log.event_sealer,
        day,
        now=now,
        progress=lambda _work, _done, _of: _go_on(stop),
    )
    structlog.get_logger("scheduler").info(
        "ledger.day_compacted" if done.closing else "ledger.day_in_use",
        day=day.isoformat(),
        records=done.records,
        bytes=done.bytes,
    )


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped


def sign_and_tell(base: Foundation) -> None:
    """Sign the newest heads and log them: a log kept elsewhere shows a history cut off later."""
    signed = sign_head(base.log, system_clock())
    if signed is not None:
        structlog.get_logger("scheduler").info(
            "head.signed",
            position=signed.head.position,
            hash=signed.head.hash.hex(),
            batch=signed.head.ledger_seq,
            batch_hash=signed.head.ledger_hash.hex(),
            signature=signed.signature.hex(),
        )


def end_bans(base: Foundation) -> None:
    """Write down which bans are over; until then they hold for trackers only."""
    with base.reads.connection() as connection:
        ended = list_ended_bans(connection, system_clock(), BANS_A_ROUND)
    for account in ended:
        dispatch(base, EndBan(account=account))


def expire_invitations(base: Foundation) -> None:
    """Write down which invitations ran out; those that wait for the next round count as such too."""
    with base.reads.connection() as connection:
        overdue = list_overdue(connection, system_clock(), INVITATIONS_A_ROUND)
    for invitation in overdue:
        dispatch(base, ExpireInvitation(invitation=invitation))


def dispatch(base: Foundation, command: Any) -> Any:
    """Run `command` as the system; the workers step the read models."""
    after_commit = RevokeAfterCommit(lambda _: (), Revocations(base.redis, base.entropy))
    bus = Bus(base.log, HANDLERS, after_commit=after_commit, taken=TAKEN)
    return dispatch_as_system(base, bus, command)
