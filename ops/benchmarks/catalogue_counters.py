"""Live counts and totals of the made-up swarms, written as the credit worker writes them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as PipeEnd
from typing import Final

import numpy as np
import psycopg

from ops.benchmarks.catalogue_set import SEED
from ops.benchmarks.processes import BenchmarkFailed
from ops.scheduling import give_way, let_backend_give_way, let_session_give_way
from projections.accounting import Parts, read_position
from projections.accounting_rows import flush, settle
from projections.credit_fold import CreditFold
from projections.peer_records import Ints, Keys

CHANGES: Final = 10_000
"""Counters that change each second under load."""
_PARTS = Parts(totals=True, live=True)


class Counters:
    """The counts of every torrent, and how they change.

    `accounting_rows.flush` writes what is marked as changed, in the worker's own statements; no
    records stand behind these counts, as no peers do.
    """

    def __init__(self, conn: psycopg.Connection[tuple[object, ...]], *, torrents: int) -> None:
        self._conn = conn
        self._fold = CreditFold(seed=SEED)
        self._random = np.random.default_rng(SEED)
        self._torrents = torrents
        self._numbers = np.arange(1, torrents + 1, dtype=np.uint64)

    def fill(self) -> None:
        """Give every torrent its counts: a few popular ones, many with a seeder or none."""
        popular = self._random.random(self._torrents) ** 6
        self._set(self._numbers, (popular * 5_000).astype(np.int64))
        slots = self._fold.torrents.insert([self._numbers])
        self._fold.torrents["snatches"][slots] = (popular * 50_000).astype(np.int64)
        self._fold.torrents.mark(slots)
        self._flush(_PARTS)

    def change(self, count: int) -> None:
        """Change that many counters, popular torrents more often, in one flush."""
        places = (self._random.random(count) ** 3 * self._torrents).astype(np.int64)
        chosen = np.unique(self._numbers[places])
        seeders = (self._random.random(len(chosen)) ** 6 * 5_000).astype(np.int64)
        self._set(chosen, seeders)
        self._flush(Parts(live=True))

    def _set(self, numbers: Keys, seeders: Ints) -> None:
        slots = self._fold.live.insert([numbers])
        self._fold.live["seeders"][slots] = seeders
        self._fold.live["leechers"][slots] = seeders // 7
        self._fold.live.mark(slots)

    def _flush(self, parts: Parts) -> None:
        with self._conn.transaction():
            flush(self._conn, self._fold, read_position(self._conn), parts=parts)
        settle(self._fold, parts)


@contextmanager
def changing(url: str, *, torrents: int) -> Iterator[list[float]]:
    """Change `CHANGES` counters each second until the block ends.

    A process of its own does it, which gives way to answers as the credit worker does. Gives a
    list that holds the seconds each write took, when the block has ended.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    writer = context.Process(
        target=_keep_changing, args=(url, torrents, there), name="counters", daemon=True
    )
    writer.start()
    there.close()
    took: list[float] = []
    try:
        here.recv()
        yield took
        here.send(None)
        took += here.recv()
    except (EOFError, BrokenPipeError):
        raise BenchmarkFailed("the process that changes counters has ended") from None
    finally:
        here.close()
        writer.join()


def _keep_changing(url: str, torrents: int, told: PipeEnd) -> None:
    os.setsid()
    let_session_give_way()
    give_way()
    took: list[float] = []
    with psycopg.connect(url, autocommit=True) as conn:
        let_backend_give_way(conn)
        counters = Counters(conn, torrents=torrents)
        while not told.poll():
            began = time.monotonic()
            counters.change(CHANGES)
            took.append(time.monotonic() - began)
            if len(took) == 1:
                told.send(None)
            told.poll(max(0.0, 1 - (time.monotonic() - began)))
    told.send(took)
