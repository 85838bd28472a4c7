"""The credit worker: what it archives, accounts, keeps in the stream and refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
import redis

from domain.credit import MICROSECONDS, CreditPolicy
from interfaces.workers.peer_stream import Tail
from projections import accounting, ledger_reader, peer_ledger
from projections.accounting_replay import replay
from projections.credit_fold import CreditFold
from projections.credit_policy import StandingPolicy
from projections.digest import digest_tables
from projections.peer_records import Records, UnreadableRecords, as_kept
from tests.projections.credit_site import (
    AT,
    ENTRY,
    Site,
    add_entry,
    assert_settled,
    drain_all,
    expected_bytes,
)
from tests.projections.peer_sets import T0, hostile_records
from tests.projections.run_credit_worker import POLICY, STREAM
from tracker import wire

EPOCH = wire.epoch_name(1, 0)


@pytest.fixture
def site(app_url: str, redis_url: str) -> Iterator[Site]:
    made = Site(app_url, redis_url)
    yield made
    made.close()


def test_a_drained_stream_is_archived_and_accounted(site: Site) -> None:
    records = hostile_records(2_000, seed=31)
    site.send(records)
    assert drain_all(site.worker()) == 2_000
    assert_settled(site, records)
    with site.connect() as conn:
        batches = peer_ledger.list_batches(conn, 0)
        assert [batch.records for batch in batches] == [480, 480, 480, 480, 80]
        assert {batch.log_position for batch in batches} == {3}
        assert (batches[0].first_id, batches[-1].last_id) == ("1-1", "1-50")


def test_after_any_step_the_tables_equal_a_replay_to_their_position(site: Site) -> None:
    records = hostile_records(1_200, seed=46)
    # Silence of more than six hours in the middle of the third batch closes sessions.
    records["at"][1_000:] += 7 * 3600 * MICROSECONDS
    site.send(records)
    worker = site.worker(batch_records=400)
    kind = accounting.Accounting()
    with site.connect() as conn:
        for step in range(1, 4):
            assert worker.step() == 400
            position = accounting.read_position(conn)
            assert position.ledger_seq == step
            schema = f"beside_{step}"
            replay(conn, schema, CreditFold(seed=9), StandingPolicy(POLICY), upto_seq=step)
            live = digest_tables(conn, kind, "accounting_1")
            assert live == digest_tables(conn, kind, schema)


def test_an_entry_larger_than_a_batch_is_taken_whole(site: Site) -> None:
    records = hostile_records(300, seed=32)
    site.send(records)
    worker = site.worker(batch_records=10)
    assert worker.step() == ENTRY
    drain_all(worker)
    assert_settled(site, records)


def test_policy_means_as_known_when_the_batch_was_archived(site: Site) -> None:
    class Growing:
        """Windows become known at log position 10."""

        topics: frozenset[str] = frozenset()

        def upto(self, position: int) -> CreditPolicy:
            return POLICY if position >= 10 else CreditPolicy()

    records = hostile_records(2_000, seed=33)
    site.send(records[:1_000])
    worker = site.worker(policies=Growing())
    drain_all(worker)
    site.head = 10
    site.send(records[1_000:], first=26)
    drain_all(worker)
    with site.connect() as conn:
        replay(conn, "beside", CreditFold(seed=9), Growing())
        kind = accounting.Accounting()
        assert digest_tables(conn, kind, "accounting_1") == digest_tables(conn, kind, "beside")
        replay(conn, "late", CreditFold(seed=9), StandingPolicy(POLICY))
        assert digest_tables(conn, kind, "accounting_1") != digest_tables(conn, kind, "late")


def test_a_busy_shard_gathers_rows_and_writes_them_when_idle(site: Site) -> None:
    count = 12_000
    records = np.zeros(count, hostile_records(1, seed=1).dtype)
    records["at"] = T0
    records["account"] = np.arange(count) % 6_000 + 1
    records["torrent"] = 1
    records["left"] = 1
    records["event"] = wire.EVENT_STARTED
    for start in range(0, count, 6_000):
        add_entry(site.client, records[start : start + 6_000], f"1-{start + 1}")
    worker = site.worker(batch_records=6_000)
    worker.step()
    with site.connect() as conn:
        first = accounting.read_position(conn).ledger_seq
        worker.step()
        assert first == accounting.read_position(conn).ledger_seq == 1
        # Interrupted here, the next worker marks what lies behind the tables' position.
        worker.close()
        site.worker().step()
        assert accounting.read_position(conn).ledger_seq == 2
        row = conn.execute("SELECT leechers FROM accounting_1.torrent_live").fetchone()
    assert row == (6_000,)


def test_what_a_tracker_may_need_stays_in_the_stream(site: Site) -> None:
    records = hostile_records(2_000, seed=34)
    records["at"] = T0 + np.arange(2_000) * 4 * MICROSECONDS
    site.send(records)
    site.now = AT + timedelta(seconds=2_000 * 4)
    worker = site.worker()
    drain_all(worker)
    # 480 records a batch, 12 entries, 1920 s; the tail of 3900 s begins inside the third.
    ids = [entry_id.decode() for entry_id, _ in site.client.xrange(STREAM)]
    assert (ids[0], ids[-1]) == ("1-24", "1-50")
    site.now += timedelta(seconds=10_000)
    worker.close()
    # A new worker knows from the ledger what it may remove.
    site.worker().step()
    assert [entry_id for entry_id, _ in site.client.xrange(STREAM)] == [b"1-50"]
    assert_settled(site, records)


def test_nothing_is_trimmed_before_it_is_archived(site: Site) -> None:
    records = hostile_records(1_000, seed=35)
    site.send(records)
    site.now = AT + timedelta(days=30)
    worker = site.worker()
    worker.step()
    remaining = [entry_id.decode() for entry_id, _ in site.client.xrange(STREAM)]
    assert remaining[:2] == ["1-12", "1-13"]
    drain_all(worker)
    assert_settled(site, records)


def test_unknown_versions_stop_the_worker_after_what_came_before(site: Site) -> None:
    records = hostile_records(400, seed=36)
    following = site.send(records)
    site.client.xadd(STREAM, {b"v": b"2", b"b": b"x" * 96}, id=f"1-{following}")
    worker = site.worker()
    assert worker.step() == 400
    for _ in range(2):
        with pytest.raises(UnreadableRecords, match="version b'2'"):
            worker.step()
    with pytest.raises(UnreadableRecords):
        worker.run(threading.Event())
    assert_settled(site, records)


def _later(records: Records, than: Records) -> Records:
    """`records` moved behind the newest of `than`."""
    records["at"] += than["at"].max() - records["at"].min() + 1
    return records


@pytest.mark.parametrize("restarted", [True, False], ids=["worker-restarts", "worker-goes-on"])
@pytest.mark.parametrize("entries", [2, 12], ids=["behind", "overtaken"])
def test_nothing_is_lost_when_a_stream_starts_anew(
    site: Site,
    entries: int,
    restarted: bool,
) -> None:
    records = hostile_records(200, seed=37)
    site.send(records, epoch=4)
    worker = site.worker()
    drain_all(worker)
    if restarted:
        worker.close()
    # Redis lost all it held; the shard counts its epochs and entries from the start again.
    site.client.delete(STREAM, EPOCH)
    again = _later(hostile_records(entries * ENTRY, seed=38), records)
    site.send(again, epoch=4)
    worker = site.worker() if restarted else worker
    drain_all(worker)
    assert_settled(site, np.concatenate([records, again]))
    # A tracker that still writes under the old numbers is refused, and its next epoch is above.
    with pytest.raises(redis.ResponseError, match="equal or smaller"):
        add_entry(site.client, again[:1], f"4-{entries + 1}")
    assert int(site.client.get(EPOCH) or 0) == 5
    third = _later(hostile_records(200, seed=39), again)
    site.send(third, epoch=6)
    drain_all(worker)
    assert_settled(site, np.concatenate([records, again, third]))


def test_what_survived_in_a_stream_is_not_counted_twice(site: Site) -> None:
    records = hostile_records(400, seed=37)
    site.send(records, epoch=4)
    worker = site.worker()
    drain_all(worker)
    # The end of the append-only file was lost, and the epoch with it.
    site.client.delete(STREAM, EPOCH)
    site.send(records[: 5 * ENTRY], epoch=4)
    again = _later(hostile_records(120, seed=38), records)
    site.send(again, epoch=4, first=6)
    drain_all(worker)
    assert_settled(site, np.concatenate([records, again]))


def test_an_idle_worker_raises_the_epoch_of_an_empty_redis(site: Site) -> None:
    records = hostile_records(200, seed=37)
    site.send(records, epoch=4)
    worker = site.worker()
    drain_all(worker)
    site.client.delete(STREAM, EPOCH)
    assert worker.step() == 0
    assert site.client.get(EPOCH) == b"4"
    site.client.set(EPOCH, 9)
    worker.step()
    assert site.client.get(EPOCH) == b"9"


def test_one_worker_at_a_time(site: Site) -> None:
    records = hostile_records(1_000, seed=39)
    site.send(records)
    first, second = site.worker(), site.worker()
    assert first.step() == 480
    assert second.step() == 0
    first.close()
    assert drain_all(second) == 520
    assert first.step() == 0
    assert_settled(site, records)


def test_shards_are_folded_into_one_account(site: Site) -> None:
    records = hostile_records(2_000, seed=45)
    names = [wire.stream_name(2, shard) for shard in range(2)]
    for shard, name in enumerate(names):
        site.send(records[records["torrent"] % 2 == shard], stream=name)
    site.add_layout(2, shards=2)
    worker = site.worker()
    assert 0 < worker.step() <= 960
    worker.close()
    drain_all(site.worker())
    with site.connect() as conn:
        parts = dict.fromkeys(names, b"")
        for batch, kept in ledger_reader.read_batches(conn):
            parts[batch.stream] += kept.tobytes()
        totals: dict[int, int] = dict(
            conn.execute("SELECT account, uploaded FROM accounting_1.member_totals").fetchall()
        )
    for shard, name in enumerate(names):
        assert parts[name] == expected_bytes(records[records["torrent"] % 2 == shard])
    assert totals == totals_of(records)


def totals_of(records: Records) -> dict[int, int]:
    """Uploaded bytes of each member by one fold of all records in their order."""
    whole = CreditFold(seed=1)
    whole.fold(as_kept(records), POLICY, batch=1)
    uploaded = whole.members["uploaded"][: len(whole.members)]
    return dict(zip(whole.members.keys(0).tolist(), uploaded.tolist(), strict=True))


def test_older_layouts_are_folded_to_their_end_before_newer_ones(site: Site) -> None:
    """One shard, two, one again: totals go on growing where a torrent's stream changes."""
    records = hostile_records(3_000, seed=47)
    first, second, third = records[:900], records[900:2_100], records[2_100:]
    site.send(first)
    for shard in range(2):
        own = second[second["torrent"] % 2 == shard]
        site.send(own, stream=wire.stream_name(2, shard))
    site.send(third, stream=wire.stream_name(3, 0))
    site.add_layout(2, shards=2)
    site.add_layout(3, shards=1)
    assert drain_all(site.worker(batch_records=150)) == 3_000
    with site.connect() as conn:
        order = [batch.stream for batch, _ in ledger_reader.read_batches(conn)]
        totals: dict[int, int] = dict(
            conn.execute("SELECT account, uploaded FROM accounting_1.member_totals").fetchall()
        )
    layouts = [name.partition("{")[2].partition(".")[0] for name in order]
    assert layouts == sorted(layouts)
    assert totals == totals_of(records)


def test_an_older_layout_is_kept_while_a_tracker_may_start_from_it(site: Site) -> None:
    records = hostile_records(200, seed=48)
    site.send(records)
    worker = site.worker()
    drain_all(worker)
    site.add_layout(2, shards=2)
    assert worker.step() == 0
    assert set(site.client.hgetall(wire.LAYOUTS)) == {b"1", b"2"}
    site.now += timedelta(days=2)
    worker.step()
    worker.step()
    assert set(site.client.hgetall(wire.LAYOUTS)) == {b"2"}
    assert not site.client.exists(STREAM, EPOCH)


def test_reading_back_a_long_ledger_keeps_only_its_end() -> None:
    tail = Tail(seconds=100)
    for number in range(1_000):
        tail.add(T0 + number * 10 * MICROSECONDS, f"1-{number}")
    assert len(tail) == 11
    assert tail.pass_over(0) == wire.StreamPoint("1-988", T0 + 9_880 * MICROSECONDS)
