"""The machine a benchmark ran on, as far as its figures depend on it."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from ops.version import VERSION


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What and when; `load` is how many processes wanted to run as the benchmark began."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    trackarr: str
    date: str
    load: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def this_machine() -> Machine:
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        trackarr=VERSION,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load=os.getloadavg()[0],
    )


def machine_table(machine: Machine, **more: str) -> str:
    """The machine as the first table of a page, `more` rows below; ends with an empty line."""
    shared = "; the machine was shared, so figures are lower bounds" if machine.load > 1 else ""
    rows = {
        "Processor": f"{machine.processor}, {machine.cores} cores for us",
        "Memory": f"{machine.memory_gib:.0f} GiB",
        "System": machine.system,
        "Python, Trackarr": f"{machine.python}, {machine.trackarr}",
        "Date": machine.date,
        "Waiting processes at the start": f"{machine.load:.1f}{shared}",
        **more,
    }
    lines = ["| Machine | |", "|---|---|", *(f"| {name} | {said} |" for name, said in rows.items())]
    return "\n".join(lines) + "\n\n"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
