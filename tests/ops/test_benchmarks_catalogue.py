"""The catalogue's benchmark runs from end to end, small; it reads plans and verdicts as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ops.benchmarks.catalogue_bench import command
from ops.benchmarks.catalogue_page import catalogue_part
from ops.benchmarks.catalogue_plans import large_scans, read_plans
from ops.benchmarks.catalogue_set import Shape, write_set
from ops.benchmarks.catalogue_timing import percentile, require_as_much
from ops.benchmarks.machine import this_machine
from ops.benchmarks.processes import BenchmarkFailed
from ops.benchmarks.rows import Bound, Row, cells

ROOT = Path(__file__).resolve().parents[2]
PLAN = {
    "Query Text": "SELECT 1\nFROM torrents",
    "Plan": {
        "Node Type": "Limit",
        "Actual Rows": 20,
        "Plans": [
            {
                "Node Type": "Seq Scan",
                "Relation Name": "torrents",
                "Actual Rows": 20,
                "Rows Removed by Filter": 19_980,
            },
            {"Node Type": "Index Scan", "Relation Name": "accounts", "Actual Rows": 30_000},
        ],
    },
}


def refusal(*options: str) -> str:
    program = typer.Typer()
    program.command()(command)
    done = CliRunner(env={"COLUMNS": "200"}).invoke(program, options)
    assert done.exit_code == 2, done.output
    return done.output


def test_a_small_community_is_imported_and_asked(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = ["--scale=0.0001", "--quick", "--no-growth", "--kinds=browse,detail"]
    done = subprocess.run(
        [sys.executable, "-m", "ops.benchmarks", "catalogue", *options, f"--json={output}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(output.read_text())["rows"]}
    assert rows["trackarr import"]["value"] > 0
    assert rows["browse by seeders, page 1"]["bounds"][0]["of"] == "plain SQL"
    assert rows["torrent's page"]["value"] > 0
    scans = rows["sequential scans over more than 10,000 rows"]
    assert scans["value"] == 0
    assert "in 0 plans" not in scans["unit"]
    assert [row["note"] for row in rows.values() if row["faults"]] == []
    assert "| browse by recent, page 1 |" in done.stdout


def test_the_page_is_not_written_from_a_part() -> None:
    assert "holds all rows" in refusal("--quick", "--document")
    assert "holds all rows" in refusal("--no-growth", "--document")
    assert "holds all rows" in refusal("--kinds=browse", "--document")
    assert "brows is no kind" in refusal("--kinds=brows")


def test_the_same_community_is_made_each_time(tmp_path: Path) -> None:
    shape = Shape.of(0.0001)
    for name in ("one", "two"):
        write_set(tmp_path / name, shape, name="again", progress=lambda _: None)
    text = (tmp_path / "one").read_text()
    assert text == (tmp_path / "two").read_text()
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert kinds.count("torrent") == shape.torrents == 100
    assert kinds.count("member") == shape.members == 10
    assert kinds.count("comment") == shape.comments == 500
    assert kinds.count("category") == 28


def test_plans_are_found_in_a_servers_log() -> None:
    entry = json.dumps(PLAN, indent=2).replace("\n", "\n\t")
    text = f"LOG:  duration: 0.1 ms  plan:\n\t{entry}\nLOG:  something else\n"
    assert list(read_plans(text + text)) == [PLAN, PLAN]
    assert list(read_plans(text[:80])) == []


@pytest.mark.parametrize(("most", "found"), [(10_000, ["torrents"]), (20_000, [])])
def test_only_sequential_scans_over_many_rows_count(most: int, found: list[str]) -> None:
    scans = list(large_scans(PLAN, most=most))
    assert [scan.table for scan in scans] == found
    assert all(scan.rows == 20_000 and scan.query == "SELECT 1 FROM torrents" for scan in scans)


def test_percentiles_are_of_what_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 95), percentile(values, 99)) == (51, 96, 100)
    assert percentile([7.0], 99) == 7.0


def test_an_emptier_answer_is_no_figure() -> None:
    require_as_much("browse", b'{"data": [1, 2, 3]}', 2)
    with pytest.raises(BenchmarkFailed, match="browse: the API shows 3 rows, plain SQL finds 4"):
        require_as_much("browse", b'{"data": [1, 2, 3]}', 4)


def test_the_page_names_its_community_and_command() -> None:
    bound = Bound(value=3, must=2, aim=1, kind="<=", of="plain SQL")
    row = Row(name="browse", value=1.5, unit="ms", bounds=(bound,), faults=2, load="requests")
    page = catalogue_part([row], this_machine(), Shape.of(1), scale=1)
    assert "Written by `./ops/bench catalogue --document`" in page
    assert "1,000,000 torrents, 100,000 members, 5,000,000 comments, 3,000,000 favourites" in page
    assert "| browse | 1.50 ms |" in page
    assert "2 requests failed" in cells(row)[-1]
    assert row.must_met is False
