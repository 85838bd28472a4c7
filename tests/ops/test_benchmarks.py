"""The tracker's benchmark runs from end to end, small; its verdicts and its page say what is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ops.benchmarks.document import write_part
from ops.benchmarks.load import Generators, Load
from ops.benchmarks.machine import this_machine
from ops.benchmarks.page import tracker_part
from ops.benchmarks.processes import BenchmarkFailed, cores, pinned_to
from ops.benchmarks.rows import Beside, Bound, Row, cells
from ops.benchmarks.tracker_bench import command
from tests.kit.programs import require_program

ROOT = Path(__file__).resolve().parents[2]
KEY = "00000001" + "ab" * 12


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.benchmarks", "tracker", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def refusal(*options: str) -> str:
    """What is said of options nothing is measured with."""
    program = typer.Typer()
    program.command()(command)
    # Wide enough that no line of the message is broken.
    done = CliRunner(env={"COLUMNS": "200"}).invoke(program, options)
    assert done.exit_code == 2, done.output
    return done.output


def fixture(folder: Path) -> Path:
    path = folder / "fixture"
    path.write_text(f"H {'ab' * 20}\nK {KEY}\n")
    return path


def test_a_row_is_measured_on_a_real_installation(tmp_path: Path) -> None:
    require_program("cc", "gcc")
    output = tmp_path / "figures.json"
    done = bench("--quick", "--rows=memory", f"--json={output}")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(output.read_text())["rows"]
    assert row["faults"] == 0
    assert row["value"] > 0
    assert "| Memory of one IPv4 peer, 2,500 peers, 50 in a swarm |" in done.stdout


def test_a_restart_is_measured_with_the_peers_back(tmp_path: Path) -> None:
    require_program("cc", "gcc")
    output = tmp_path / "figures.json"
    done = bench("--quick", "--rows=restart", f"--json={output}")
    assert done.returncode == 0, done.stderr
    ready, pause = json.loads(output.read_text())["rows"]
    assert ready["faults"] == 0
    assert ready["value"] > 0
    assert "2,500 peers, 1,000 torrents, 1,000 members" in ready["note"]
    assert pause["value"] > 0


def test_an_unknown_row_is_refused_by_name() -> None:
    assert "htttp is no row" in refusal("--rows=htttp")


def test_the_page_is_not_written_from_a_part() -> None:
    assert "holds all rows" in refusal("--rows=memory", "--document")
    assert "holds all rows" in refusal("--quick", "--document")


def test_one_minute_of_steady_load_has_nothing_to_be_compared_with() -> None:
    assert "give 2 or more" in refusal("--steady=1")


def test_a_process_pinned_to_the_loads_core_still_knows_the_trackers() -> None:
    if len(os.sched_getaffinity(0)) > 1:
        cores.cache_clear()
        with pinned_to(cores()[1]):
            measured, load = cores()
            assert measured != load
            assert os.sched_getaffinity(0) == {load}


def test_the_generators_load_nobody_but_this_machine(tmp_path: Path) -> None:
    require_program("cc", "gcc")
    Generators(tmp_path, core=0)
    for name in ("http", "udp"):
        options = ["--server=192.0.2.1:80", f"--fixture={fixture(tmp_path)}"]
        command = [str(tmp_path / name), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 2
        assert "own machine only" in done.stderr


def test_a_tracker_that_is_away_gives_no_figure(tmp_path: Path) -> None:
    require_program("cc", "gcc")
    generators = Generators(tmp_path, core=0)
    with pytest.raises(BenchmarkFailed, match="answers nothing"):
        # Nothing listens on port 1, so every connection is refused at once.
        generators.run(Load(protocol="http", seconds=0.2), port=1, fixture=fixture(tmp_path))


def test_announces_that_failed_spoil_a_row() -> None:
    met = Bound(value=9, must=8, aim=10)
    row = Row(name="n", value=1, unit="/s", bounds=(met,))
    assert (row.must_met, row.aim_met) == (True, False)
    failed = Row(name="n", value=1, unit="/s", bounds=(met,), faults=3)
    assert failed.must_met is False
    assert "3 announces failed" in cells(failed)[-1]


def test_a_bound_may_be_a_most() -> None:
    assert Bound(value=1.2, must=1.3, aim=1.1, kind="<=").must_met
    assert not Bound(value=1.2, must=1.3, aim=1.1, kind="<=").aim_met


def test_what_is_not_installed_is_named_and_judged_by_nobody() -> None:
    row = Row(
        name="n", value=1, unit="/s", beside=(Beside(name="opentracker", note="not installed"),)
    )
    assert row.must_met is None
    assert "opentracker: not installed" in cells(row)


def test_the_page_holds_command_machine_and_table() -> None:
    machine = this_machine()
    page = tracker_part(
        [Row(name="HTTP", value=1234, unit="/s")], machine, command="./ops/bench tracker"
    )
    assert "Written by `./ops/bench tracker`" in page
    assert machine.date in page
    assert "| HTTP | 1,234 /s |" in page


def test_each_benchmark_writes_its_own_part_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_part("catalogue", "## The catalogue\n\nfirst\n", page)
    write_part("tracker", "## The tracker\n", page)
    write_part("catalogue", "## The catalogue\n\nsecond\n", page)
    text = page.read_text()
    assert text.startswith("# Benchmarks\n")
    assert text.index("## The tracker") < text.index("## The catalogue")
    assert "first" not in text
    assert text.endswith("<!-- catalogue -->\n## The catalogue\n\nsecond\n")
