"""The scheduler process: signed heads, closed days, and what is old enough to forget."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import psycopg
import structlog

from application.address_keys import DestroyAddressKeys
from application.bus import Bus, Context
from application.handlers import HANDLERS, TAKEN
from application.store.heads import sign_head
from interfaces.workers.schedule import Scheduler, Task
from ops.container.foundation import Foundation, foundation
from ops.container.process import database_url, stop_on_signals
from ops.readiness import announce_ready
from ops.settings import Settings
from ops.system import system_clock
from projections.ledger_days import CompactionBusy, closable_days, compact_day

HEAD_SECONDS = 60
PRUNE_SECONDS = 3600
ADDRESS_KEYS_SECONDS = 6 * 3600
LEDGER_SECONDS = 3600
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
    ]


def ledger_tasks(base: Foundation, stop: threading.Event) -> list[Task]:
    """Long work on the peer ledger."""
    return [Task(name="ledger.compact", seconds=LEDGER_SECONDS, do=lambda: compact(base, stop))]


def compact(base: Foundation, stop: threading.Event) -> None:
    """Close every day of the ledger that is over; a busy one is left for the next time."""

    def stop_between(_work: str, _done: int, _of: int) -> None:
        if stop.is_set():
            raise Stopped

    with psycopg.connect(
        database_url(base.settings), autocommit=True, application_name="trackarr scheduler"
    ) as conn:
        now = system_clock()
        for day in closable_days(conn, now):
            try:
                done = compact_day(conn, base.log.event_sealer, day, now=now, progress=stop_between)
            except (CompactionBusy, Stopped):
                return
            structlog.get_logger("scheduler").info(
                "ledger.day_compacted" if done.closing else "ledger.day_in_use",
                day=day.isoformat(),
                records=done.records,
                bytes=done.bytes,
            )


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


def dispatch(base: Foundation, command: Any) -> Any:
    """Run `command` as the system; the workers step the read models."""
    bus = Bus(base.log, HANDLERS, after_commit=lambda _: (), taken=TAKEN)
    entropy = base.entropy
    context = Context(at=system_clock(), command=entropy.uuid(), correlation=entropy.uuid())
    return bus.dispatch(command, context).result
