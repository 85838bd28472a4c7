"""The stream is trimmed by what is archived and in two snapshots, and never further."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from domain.credit import MICROSECONDS
from interfaces.workers.peer_stream import trim_point
from projections.peer_records import Records
from tests.projections.credit_site import ENTRY, Site, assert_settled, drain_all
from tests.projections.peer_sets import T0, hostile_records
from tests.projections.run_credit_worker import STREAM
from tracker import wire

SNAPSHOTS = wire.snapshots_name(1, 0)
TRIMMED = wire.trimmed_name(1, 0)


@pytest.fixture
def site(app_url: str, redis_url: str) -> Iterator[Site]:
    site = Site(app_url, redis_url)
    yield site
    site.close()


def point(number: int, at: int = T0, epoch: int = 1) -> wire.StreamPoint:
    return wire.StreamPoint(f"{epoch}-{number}", at)


def recent(count: int, seed: int) -> Records:
    """Records of one minute: the peers of all of them may still live."""
    records = hostile_records(count, seed=seed)
    records["at"] = T0 + np.arange(count) * (60 * MICROSECONDS // count)
    return records


def noted(site: Site) -> list[wire.StreamPoint]:
    packed = site.client.get(TRIMMED)
    assert isinstance(packed, bytes)
    return wire.unpack_points(packed)


def first_entry(site: Site) -> str:
    found: Any = site.client.xrange(STREAM, count=1)
    return str(found[0][0].decode())


def test_what_two_snapshots_contain_and_is_archived_goes(site: Site) -> None:
    records = recent(2_000, seed=51)
    site.send(records)
    worker = site.worker()
    drain_all(worker)
    assert first_entry(site) == "1-1"
    site.client.set(SNAPSHOTS, wire.pack_points(point(20), point(40)))
    worker.step()
    assert first_entry(site) == "1-20"
    assert noted(site) == [point(20)]
    site.client.set(SNAPSHOTS, wire.pack_points(point(40), point(48)))
    worker.step()
    assert first_entry(site) == "1-40"
    assert_settled(site, records)


def test_a_lagging_archiver_loses_nothing_to_snapshots(site: Site) -> None:
    records = recent(1_000, seed=52)
    site.send(records)
    site.client.set(SNAPSHOTS, wire.pack_points(point(20), point(25)))
    worker = site.worker()
    assert worker.step() == 12 * ENTRY
    assert first_entry(site) == "1-12"
    drain_all(worker)
    assert first_entry(site) == "1-20"
    assert_settled(site, records)


@pytest.mark.parametrize(
    "stated",
    [b"", b"1-20 5", b"1-20 5 1-40", b"1-20 5 x 7", b"1-20 5 1-40 -7", b"\xff\xfe 1 1-1 1"],
)
def test_half_a_statement_is_none(site: Site, stated: bytes) -> None:
    site.send(recent(2_000, seed=51))
    site.client.set(SNAPSHOTS, stated)
    drain_all(site.worker())
    assert first_entry(site) == "1-1"


def test_without_a_statement_a_peers_life_counts(site: Site) -> None:
    """A shard that is gone for days does not hold its stream for ever."""
    records = recent(2_000, seed=54)
    site.send(records)
    site.client.set(SNAPSHOTS, wire.pack_points(point(20), point(40)), px=1)
    worker = site.worker()
    drain_all(worker)
    site.client.delete(SNAPSHOTS)
    site.now += timedelta(seconds=10_000)
    worker.step()
    assert first_entry(site) == "1-50"
    newest = int(records["at"].max())
    assert noted(site) == [point(50, newest)]


def test_the_note_of_what_was_trimmed_never_falls(site: Site) -> None:
    site.send(recent(2_000, seed=55))
    worker = site.worker()
    drain_all(worker)
    for older in (30, 20):
        site.client.set(SNAPSHOTS, wire.pack_points(point(older), point(40)))
        worker.step()
        assert noted(site) == [point(30)]
    assert first_entry(site) == "1-30"


def test_the_later_of_both_rules_counts() -> None:
    two = [point(20), point(40)]
    assert trim_point(None, [], "1-9") is None
    assert trim_point(point(7), [point(20)], "1-50") == point(7)
    assert trim_point(None, two, "1-50") == point(20)
    assert trim_point(None, two, "1-9") == point(9)
    assert trim_point(point(30), two, "1-50") == point(30)
    assert trim_point(point(7, T0 - MICROSECONDS), two, "1-50") == point(20)
    assert trim_point(None, [point(4, epoch=12), point(900, epoch=3)], "12-4") == point(
        900, epoch=3
    )
