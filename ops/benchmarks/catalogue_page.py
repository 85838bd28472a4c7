"""The catalogue's part of the benchmarks' page, written from a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ops.benchmarks.catalogue_set import Shape
from ops.benchmarks.machine import Machine, machine_table
from ops.benchmarks.rows import Row, table_text

COMMAND: Final = "./ops/bench catalogue"
_HEADING = """\
## The catalogue

Written by `{command}`. The same figures as JSON are in
`bench-results/catalogue.json`. `{short} --help` names the options.

"""
_METHOD = """
### How the catalogue is measured

- A private installation in a temporary folder: embedded PostgreSQL and Valkey as shipped, one `api` process on the
  first core; PostgreSQL and the asking program on the second. Rate limits are off, all else is on.
- The community is made up by a seeded generator: tags by Zipf's law, 28 categories in 5 roots, 7 % of names in
  Cyrillic or CJK and 3 % with accents, popularity by rank. `trackarr import` takes it in.
- Live counts and totals are written through `projections/accounting_rows.py` as the credit worker writes them; no
  peers stand behind them.
- A figure is the median of whole HTTP requests of a signed-in member on one kept-alive connection: request line to
  last byte. Plain SQL is the obvious one for the same answer (`ops/benchmarks/catalogue_plain.py`): one statement for
  the page as this member sees it, one for the total; by psycopg, twenty requests and twenty runs in turn. It is planned
  each time, as what is written by hand mostly is: plans that last are a part of what the requests do better. What the
  same takes when it is kept prepared stands in the notes.
- The ratio is of the two medians. Searches are judged by themselves: the obvious statement reads the whole table.
- Plans are those PostgreSQL used (auto_explain) while every ask was made twelve times over HTTP.
- Growth compares medians with those of a community a hundred times smaller, twenty requests here and twenty there in
  turn. The catalogue's first pages and the pages of torrents are judged. The member who asks has 800 favourites in both, each of
  which is looked up to sort them.
- Live counts change in the statements of the credit worker, sent by a process that gives way to answers as it does.
"""


def catalogue_part(rows: Sequence[Row], machine: Machine, shape: Shape, *, scale: float) -> str:
    """What stands on the page of the catalogue."""
    told = f"{COMMAND} --document" if scale == 1 else f"{COMMAND} --scale {scale:g} --document"
    community = (
        f"{shape.torrents:,} torrents, {shape.members:,} members, "
        f"{shape.comments:,} comments, {shape.favorites:,} favourites"
    )
    heading = _HEADING.format(command=told, short=COMMAND)
    machine_rows = machine_table(machine, Community=community)
    return heading + machine_rows + table_text(rows) + "\n" + _METHOD
