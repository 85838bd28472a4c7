"""The asking end of forwarding, against shards that do not behave."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.listening import open_shard_link
from tests.tracker.running_shards import hash_of
from tracker.counters import Counters
from tracker.event_loop import EventLoop
from tracker.forwarded_frames import ForwardedScrape
from tracker.forwarding import Forwarder, ShardPlace
from tracker.protocol.refusals import Refusal
from tracker.wire import PROTOCOL_HTTP


class Waiting:
    """Counts what its clients are told."""

    refused = 0

    def relay(self, body: bytes) -> None:
        raise AssertionError("nobody answers here")

    def turn_down(self, refusal: Refusal) -> None:
        self.refused += 1


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def test_questions_to_a_shard_that_takes_none_are_bounded(folder: Path) -> None:
    """It listens and does not read, as one that hangs: clients give up, their bytes stay."""
    loop, waiting = EventLoop(), Waiting()
    forwarder = Forwarder(
        loop,
        ShardPlace(0, 2, folder),
        canonical=lambda info_hash: info_hash,
        pending=100,
        seconds=0.0,
        counters=Counters(),
        log=lambda event, **fields: None,
    )
    question = ForwardedScrape([hash_of(1, 1)] * 74, b"k" * 32, bytes(4), PROTOCOL_HTTP)
    with open_shard_link(folder, 1):
        asked, unheard = 0, 0
        while not unheard and asked < 10_000:
            try:
                for _ in range(100):
                    forwarder.scrape(1, question, waiting)
                    asked += 1
            except Refusal:
                unheard = 1
            while forwarder.waiting:
                loop.run_round()
        assert unheard, "ten thousand questions of 1.5 KB wait for nobody"
        assert waiting.refused == asked > 1_000
        forwarder.close()
    loop.close()
