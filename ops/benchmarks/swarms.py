"""What swarms cost: memory a peer, and an announce in a swarm of 50,000 beside one of 50."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from ops.benchmarks.chain import fill
from ops.benchmarks.load import Load
from ops.benchmarks.processes import cpu_seconds, resident_bytes
from ops.benchmarks.rows import Bound, Row
from ops.benchmarks.stage import Stage

Say = Callable[[str], None]
MEMBERS = 12_500
"""Four clients of each may be in one torrent, so 50,000 peers are the most of one swarm."""
PEERS = 50


def measure_memory(stage: Stage, *, torrents: int, say: Say) -> Row:
    """Growth of the tracker's resident memory from no peers to all; it knows all torrents before."""
    # What the first announces load and allocate for good is no cost of a peer.
    faults = stage.run(Load(protocol="udp", count=1000, torrents=10)).faults
    before = resident_bytes(stage.tracker_pid)
    faults += fill(stage, torrents=torrents, peers=PEERS, say=say)
    grown = resident_bytes(stage.tracker_pid) - before
    value = grown / (torrents * PEERS)
    return Row(
        name=f"Memory of one IPv4 peer, {torrents * PEERS:,} peers, {PEERS} in a swarm",
        value=value,
        unit="bytes",
        bounds=(Bound(value=value, must=200, aim=150, kind="<="),),
        note=f"{before / 2**20:.0f} MiB before, {(before + grown) / 2**20:.0f} MiB after",
        faults=faults,
    )


def measure_swarm_size(stage: Stage, *, runs: int, seconds: float, large: int, say: Say) -> Row:
    """The tracker's CPU time of an announce, as many peers in one swarm as in swarms of 50.

    All peers leech, so that every answer holds the same number of peers.
    """
    swarms = large // PEERS
    loads = {
        large: Load(protocol="udp", seconds=seconds, torrents=1, peers=large, leech=True),
        PEERS: Load(protocol="udp", seconds=seconds, torrents=swarms, peers=PEERS, leech=True),
    }
    say(f"filling a swarm of {large:,} and {swarms:,} of {PEERS}")
    faults = 0
    for load in loads.values():
        filling = Load(
            protocol="udp", torrents=load.torrents, peers=load.peers, leech=True, fill=True
        )
        faults += stage.run(filling).faults
    costs: dict[int, list[float]] = {size: [] for size in loads}
    for run in range(runs):
        for size, load in loads.items():
            say(f"swarms of {size:,}, run {run + 1} of {runs}")
            before = cpu_seconds(stage.tracker_pid)
            measured = stage.run(load)
            faults += measured.faults
            cost = (cpu_seconds(stage.tracker_pid) - before) / max(1, measured.done)
            costs[size].append(cost * 1e6)
    ratios = [one / many for one, many in zip(costs[large], costs[PEERS], strict=True)]
    value = statistics.median(ratios)
    small, big = (statistics.median(costs[size]) for size in (PEERS, large))
    return Row(
        name=f"Cost of an announce in a swarm of {large:,} against swarms of {PEERS}",
        value=value,
        unit="×",
        runs=tuple(ratios),
        bounds=(Bound(value=value, must=1.3, aim=1.1, kind="<="),),
        note=f"{big:.1f} µs CPU of the tracker against {small:.1f} µs, over UDP",
        faults=faults,
    )
