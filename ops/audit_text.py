"""How the auditing commands print facts and verdicts."""

from __future__ import annotations

import msgspec

from ops.biography import printable
from projections.history_search import Entry
from projections.ledger_days import Compaction
from projections.ledger_lookup import Announce
from projections.verify import EQUAL, Check, Verdict

CONTENTS_WIDTH = 100


def entry_line(entry: Entry) -> str:
    """One fact as a JSON object on one line."""
    return msgspec.json.encode(entry).decode()


def entry_row(entry: Entry) -> str:
    """One fact as a line for people; long contents are cut off."""
    contents = " ".join(f"{name}={_short(value)}" for name, value in entry.fact.items())
    if len(contents) > CONTENTS_WIDTH:
        contents = contents[: CONTENTS_WIDTH - 1] + "…"
    at = entry.at.strftime("%Y-%m-%d %H:%M:%S")
    actor = str(entry.actor) if entry.actor else "-"
    return (
        f"{entry.position:>8}  {at}  {entry.topic:<34} {entry.aggregate} v{entry.version:<4}"
        f" by {actor:<36}  {contents}"
    )


def _short(value: object) -> str:
    return printable(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def announce_row(announce: Announce) -> str:
    """One announce of the ledger as a line for people."""
    place = announce.place
    left = "?" if announce.left is None else announce.left
    return (
        f"{announce.at:%Y-%m-%d %H:%M:%S}  {place.day}/{place.batch}/{place.ordinal:<6}"
        f" account {announce.account:<8} torrent {announce.torrent:<8} {announce.event:<9}"
        f" up {announce.uploaded} down {announce.downloaded} left {left}"
        f"  {announce.protocol} port {announce.port} peer {announce.peer}"
        f" address {announce.address}{' late' if announce.late else ''}"
    )


def compaction_row(done: Compaction) -> str:
    """What became of one day of the ledger."""
    each = done.bytes / done.records if done.records else 0.0
    size = f"{done.records} records, {done.bytes} bytes ({each:.1f} each)"
    if done.closing is None:
        return f"{done.day}  {size}; its rows are being read and stay, run this again later"
    return f"{done.day}  {size}; its rows are dropped"


def verdict_text(verdict: Verdict) -> str:
    """The verdict with one line a part, findings below it, and a sentence at the end."""
    lines = [line for check in verdict.checks for line in _check_lines(check)]
    bad = [check.part for check in verdict.checks if check.outcome != EQUAL]
    end = "everything is equal" if not bad else "see " + ", ".join(bad)
    place = f"position {verdict.position}"
    return "\n".join([*lines, f"Verified to {place} in {verdict.seconds:.1f} s: {end}."])


def _check_lines(check: Check) -> list[str]:
    outcome = check.outcome if check.outcome == EQUAL else check.outcome.upper()
    line = f"{check.part:<14} {outcome:<10} {check.reached:>10}  {check.digest}".rstrip()
    return [line, *(f"    {finding}" for finding in check.findings)]
