"""The tracker's part of the benchmarks' page, written from a run."""

from __future__ import annotations

from collections.abc import Sequence

from ops.benchmarks.machine import Machine, machine_table
from ops.benchmarks.rows import Row, table_text

COMMAND = "./ops/bench tracker"
_HEADING = """\
## The tracker

Written by `{command}`. The same figures as JSON are in
`bench-results/tracker.json`. `{short} --help` names the options.

"""
_METHOD = """
### How the tracker is measured

- A private installation in a temporary folder: embedded PostgreSQL and Valkey as shipped (`appendfsync always`), one
  tracker on the first core; load generator, servers and worker on the second. Limits for one address and one member
  are raised by settings, as an operator can; all checks and records are on.
- The installation has 10,000 accepted torrents and 10,000 members, made as facts by `trackarr tracker bench-fixture`;
  each torrent has 50 peers, and the load announces a random one of them. Answers hold at most 50 peers, 256 are
  awaited at a time: with fewer a tracker that waits for the disk idles.
- A figure is the median of three runs; the least and the greatest stand behind it. In each run the trackers are loaded
  in turn, a second at a time, three times each, and a ratio is the median of the ratios run by run.
- `opentracker` and `bittorrent-tracker` hold the same 500,000 peers. They know no members, check no key, and record
  nothing. "By CPU" is the rate a tracker would reach with its whole core. It decides where the load's core, which also
  runs Valkey, was the limit and left a tracker under 85 % of its own; the plain ratio stands in the notes.
- "Core" figures count CPU time of all processes named, until every record is folded and the totals are written.
- What is loaded by the clock (latency, minutes) has an installation of its own, before the others: their millions of
  records are written to the disk for minutes. For latency at half of saturation Valkey is on the tracker's core, as one
  server. The generators send what is due and read what has come every half millisecond, and ask the kernel for short
  slices: woken for every packet they would use their core up, and take what they are late for time of the server. The
  wait for such a beat counts as well. Latency counts from the moment a request was due: a stall is seen by every
  request that it delayed. Each run has a saturation of its own; what its measuring left is folded and on the disk
  before, and the load goes on for a while before it counts.
- Before the tracker is killed the read model it is told from is filled up to the torrents and members the row names,
  by rows instead of facts. Ready is when it says so, counted from the start of its process: it knows who may announce
  what, has every peer back, from its last snapshot and the records behind it, and answers.
- Every row counts refused, broken and unanswered announces; a row with any says so and does not pass.
- The generators are C programs in `ops/benchmarks/generator/`, compiled when they are needed; they go to loopback
  only.
"""


def tracker_part(rows: Sequence[Row], machine: Machine, *, command: str) -> str:
    """What stands on the page of the tracker."""
    heading = _HEADING.format(command=command, short=COMMAND)
    return heading + machine_table(machine) + table_text(rows) + "\n" + _METHOD
