"""The worker process: read models, access feed, peer ledger with credit, and jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from dramatiq import Worker

from application.address_keys import MonthKeys
from interfaces.workers.access import AccessWorker
from interfaces.workers.broker import make_broker
from interfaces.workers.credit import CreditWorker
from interfaces.workers.layouts import RedisLayouts
from interfaces.workers.peer_stream import connect_stream
from interfaces.workers.projections import ProjectionWorker, declare_project
from ops.container.credit import credit_policies
from ops.container.foundation import Foundation, access_publisher, foundation
from ops.container.process import database_url, redis_url, stop_on_signals
from ops.readiness import announce_ready
from ops.scheduling import give_way, let_backend_give_way, let_session_give_way
from ops.settings import Settings
from ops.system import system_clock
from projections.address_hashes import AddressHasher
from projections.credit_fold import CreditFold
from projections.registry import ALL

JOB_THREADS = 4
STOP_SECONDS = 15.0


def run(settings: Settings) -> None:
    """Work until a stop signal. A loop that ends by itself ends the process, to be started anew."""
    stop = stop_on_signals()
    let_session_give_way()
    with foundation(settings, name="worker") as base:
        jobs = Worker(broker := make_broker(redis_url(settings)), worker_threads=JOB_THREADS)
        projections = ProjectionWorker(base.reads, base.log, ALL)
        declare_project(broker, projections)
        loops = {
            "projections": projections.run,
            "access": AccessWorker(access_publisher(base)).run,
            "credit": _giving_way(credit_worker(base).run),
        }
        ended: list[str] = []
        threads = [_started(name, loop, stop, ended) for name, loop in loops.items()]
        jobs.start()
        announce_ready()
        stop.wait()
        jobs.stop(timeout=int(STOP_SECONDS * 1000))
        for thread in threads:
            thread.join(STOP_SECONDS)
        if ended:
            raise SystemExit(1)


def credit_worker(base: Foundation) -> CreditWorker:
    """The archiver and fold of all shards' streams."""
    settings = base.settings
    client = connect_stream(redis_url(settings))

    def seed() -> int:
        return int.from_bytes(base.entropy.token(8))

    return CreditWorker(
        conninfo=database_url(settings),
        layouts=RedisLayouts(client),
        head=base.log.head,
        policies=credit_policies(base.log),
        addresses=AddressHasher(MonthKeys(base.log.vault_create, base.entropy), seed=seed()),
        new_fold=lambda: CreditFold(seed=seed()),
        clock=system_clock,
        sealer=base.log.event_sealer,
        tail_seconds=settings.tracker.peer_life_seconds,
        connected=let_backend_give_way,
    )


def _giving_way(loop: Callable[[threading.Event], None]) -> Callable[[threading.Event], None]:
    """Credit may come a little later, where announces wait for the same cores."""

    def run_after_others(stop: threading.Event) -> None:
        give_way()
        loop(stop)

    return run_after_others


def _started(
    name: str,
    loop: Callable[[threading.Event], None],
    stop: threading.Event,
    ended: list[str],
) -> threading.Thread:
    def watched() -> None:
        try:
            loop(stop)
        except Exception as failure:  # noqa: BLE001 (logged, and the process then ends)
            structlog.get_logger("worker").exception(
                "loop.ended", loop=name, error=type(failure).__name__
            )
        if not stop.is_set():
            ended.append(name)
            stop.set()

    thread = threading.Thread(target=watched, name=name, daemon=True)
    thread.start()
    return thread
