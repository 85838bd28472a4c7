"""The snapshot's bytes: what comes back is what was written, and nothing damaged is used."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracker.snapshot import SnapshotHead, SnapshotKeys, UnusableSnapshot
from tracker.snapshot_folder import SnapshotFolder, SnapshotPlace
from tracker.snapshot_writer import highest_descriptor
from tracker.swarms import Swarms

KEYS = SnapshotKeys(7, {6: bytes(32), 7: bytes(range(32))})
HEAD = SnapshotHead(
    layout=2, shard=1, history=b"h" * 16, epoch=4, number=900, at=1_800_000_000_000_000
)
NOW = 1_800_000_000
V4, V6 = 6, 18


def swarms_of(counts: Iterable[int]) -> Swarms:
    """Swarms with so many peers each, of both sides and families."""
    swarms = Swarms(3_900)
    for torrent, count in enumerate(counts, start=1):
        for number in range(count):
            peer = torrent.to_bytes(4, "big") + number.to_bytes(16, "big")
            swarm, slot = swarms.join(
                torrent,
                number + 1,
                peer,
                NOW - number % 3_000,
                endpoint=bytes([number % 251]) * V4,
                seeding=number % 3 == 0,
            )
            for width in (V4, V6)[: 1 + number % 2]:
                slot = swarm.update(
                    slot,
                    bytes([number % 251]) * width,
                    NOW - number % 3_000,
                    key=number,
                    up=number * 3,
                    down=number * 5,
                    left=number % 3,
                    interval=1_800,
                    by_udp=bool(number % 2),
                )
    return swarms


def dump(swarms: Swarms) -> dict[int, list[tuple[object, ...]]]:
    """Every swarm's peers with their endpoints, in an order of their own."""
    return {
        swarm.torrent: sorted(
            (swarm.peer(slot), tuple(swarm.endpoints(slot))) for slot in range(swarm.size)
        )
        for swarm in swarms.by_torrent.values()
        if swarm.size
    }


def loaded(folder: SnapshotFolder, path: Path) -> Swarms:
    swarms = Swarms(3_900)
    folder.load(path, lambda chunk: swarms.load_chunk(chunk, NOW))
    return swarms


def written(root: Path, swarms: Swarms, head: SnapshotHead = HEAD) -> SnapshotFolder:
    folder = SnapshotFolder(SnapshotPlace(root, KEYS), HEAD.layout, HEAD.shard)
    folder.write(head, swarms)
    folder.keep(rotate=True)
    return folder


@pytest.mark.parametrize("counts", [[], [1], [0, 3, 1], [600, 40, 2], [20] * 1_500])
def test_snapshot_gives_the_same_swarms_back(tmp_path: Path, counts: list[int]) -> None:
    swarms = swarms_of(counts)
    folder = written(tmp_path, swarms)
    assert folder.head(folder.newest) == HEAD
    again = loaded(folder, folder.newest)
    assert dump(again) == dump(swarms)
    assert again.peers == swarms.peers
    assert [again.peers_of(account) for account in range(1, 700)] == [
        swarms.peers_of(account) for account in range(1, 700)
    ]


def test_file_is_ours_alone_and_tells_nothing(tmp_path: Path) -> None:
    root = tmp_path / "snapshots"
    folder = written(root, swarms_of([50]))
    assert stat.S_IMODE(folder.newest.stat().st_mode) == 0o600
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    raw = folder.newest.read_bytes()
    assert (1).to_bytes(4, "big") + bytes(12) not in raw, "a peer id stands there in the clear"
    assert HEAD.history not in raw


@given(
    place=st.floats(min_value=0, max_value=1, exclude_max=True),
    flip=st.integers(1, 255),
    cut=st.booleans(),
)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damaged_byte_and_any_cut_is_noticed(
    tmp_path: Path, place: float, flip: int, cut: bool
) -> None:
    folder = written(tmp_path, swarms_of([30, 4]))
    raw = bytearray(folder.newest.read_bytes())
    at = int(place * len(raw))
    if cut:
        del raw[at:]
    else:
        raw[at] ^= flip
    folder.newest.write_bytes(raw)
    with pytest.raises(UnusableSnapshot):
        loaded(folder, folder.newest)


@pytest.mark.parametrize("at", range(52))
def test_each_byte_of_opening_and_first_frame_counts(tmp_path: Path, at: int) -> None:
    folder = written(tmp_path, swarms_of([3]))
    raw = bytearray(folder.newest.read_bytes())
    raw[at] ^= 1
    folder.newest.write_bytes(raw)
    with pytest.raises(UnusableSnapshot):
        loaded(folder, folder.newest)


def test_snapshot_cut_between_frames_or_with_more_behind_is_noticed(tmp_path: Path) -> None:
    folder = written(tmp_path, swarms_of([20] * 1_500))
    raw = folder.newest.read_bytes()
    ends, at = [], 44
    while at < len(raw):
        at += 4 + int.from_bytes(raw[at : at + 4], "little")
        ends.append(at)
    assert len(ends) >= 4, "the head, two chunks or more, the end"
    without_a_chunk = raw[: ends[0]] + raw[ends[1] :]
    for damaged in (*[raw[:end] for end in ends[:-1]], raw + b"\0", without_a_chunk):
        folder.newest.write_bytes(damaged)
        with pytest.raises(UnusableSnapshot):
            loaded(folder, folder.newest)


def test_snapshot_under_another_key_is_not_used(tmp_path: Path) -> None:
    written(tmp_path, swarms_of([3]))
    for materials in ({7: bytes(32)}, {8: bytes(range(32))}):
        other = SnapshotFolder(
            SnapshotPlace(tmp_path, SnapshotKeys(max(materials), materials)), 2, 1
        )
        with pytest.raises(UnusableSnapshot):
            other.head(other.newest)


def test_snapshot_opens_with_a_retired_key(tmp_path: Path) -> None:
    written(tmp_path, swarms_of([3]))
    rotated = SnapshotFolder(
        SnapshotPlace(tmp_path, SnapshotKeys(9, {**KEYS.materials, 9: b"k" * 32})), 2, 1
    )
    assert rotated.head(rotated.newest) == HEAD


def test_renamed_snapshot_of_another_shard_is_not_used(tmp_path: Path) -> None:
    folder = written(tmp_path, swarms_of([3]))
    other = SnapshotFolder(SnapshotPlace(tmp_path, KEYS), 2, 0)
    folder.newest.rename(other.newest)
    with pytest.raises(UnusableSnapshot, match="another shard"):
        other.head(other.newest)


def test_two_generations_stay_and_a_bad_one_pushes_no_good_one_out(tmp_path: Path) -> None:
    folder = written(tmp_path, swarms_of([1]), HEAD._replace(number=1))
    written(tmp_path, swarms_of([2]), HEAD._replace(number=2))
    written(tmp_path, swarms_of([3]), HEAD._replace(number=3))
    assert [folder.head(path).number for path in (folder.newest, folder.previous)] == [3, 2]
    folder.write(HEAD._replace(number=4), swarms_of([4]))
    folder.keep(rotate=False)
    assert [folder.head(path).number for path in (folder.newest, folder.previous)] == [4, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_unwritable_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = written(tmp_path, swarms_of([1]))

    class Failing(Swarms):
        def dump_chunks(self):  # type: ignore[no-untyped-def]
            yield b"begun"
            raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space"):
        folder.write(HEAD, Failing(3_900))
    assert [path.name for path in tmp_path.iterdir()] == [folder.newest.name]


def test_tidy_removes_what_nobody_finishes_and_old_layouts(tmp_path: Path) -> None:
    folder = SnapshotFolder(SnapshotPlace(tmp_path, KEYS), 2, 1)
    gone = ["2.1.00112233445566aa.tmp", "1.0.newest", "1.3.previous"]
    kept = ["2.0.00112233445566aa.tmp", "2.1.newest", "3.0.newest", "notes.txt", "1.1.newest"]
    for name in (*gone, *kept):
        path = tmp_path / name
        path.write_bytes(b"x")
        age = 10 if name == "1.1.newest" else 1_000
        os.utime(path, (NOW - age, NOW - age))
    folder.tidy(NOW - 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    SnapshotFolder(SnapshotPlace(tmp_path / "missing", KEYS), 2, 1).tidy(NOW)


def test_a_fork_closes_what_is_open_and_not_all_there_could_be() -> None:
    """Where the system closes no range at once, a range of 2^30 takes longer than a fork may."""
    before = highest_descriptor()
    with socket.socket() as one:
        copy = fcntl.fcntl(one, fcntl.F_DUPFD, before + 100)
        try:
            assert highest_descriptor() == copy == before + 100
        finally:
            os.close(copy)
    assert highest_descriptor() < copy
