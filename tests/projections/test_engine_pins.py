"""A changed table or fold raises the projection's version."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from projections.engine import Projection, schema_of
from projections.registry import ALL
from tests.projections.projection_pins import fingerprint, read_pins

SOURCE = '''
RATE = 2
QUERY = "SELECT 1"

def double(value):
    """Twice."""
    return RATE * value

class Tally:
    """Counts."""
    name, version, topics, keys = "tally", 1, None, {}
    ddl = "CREATE TABLE tally (n int)"

    def fold(self, cursor, batch):
        cursor.execute("UPDATE tally SET n = n + %s", [double(len(batch))])

def count(conn):
    return conn.execute(QUERY)
'''


@pytest.mark.parametrize("projection", ALL, ids=schema_of)
def test_a_changed_projection_has_a_new_version(projection: Projection) -> None:
    pinned = read_pins().get(schema_of(projection))
    assert pinned is not None, "run `python -m tests.projections.projection_pins`"
    assert fingerprint(projection) == pinned, (
        f"tables or fold of {schema_of(projection)} changed: raise its version"
    )


def test_every_projection_has_its_own_schema() -> None:
    assert len({schema_of(projection) for projection in ALL}) == len(ALL)


@pytest.fixture
def tally(tmp_path: Path) -> Iterator[ModuleType]:
    yield load(tmp_path / "tally_under_test.py", SOURCE)
    sys.modules.pop("tally_under_test", None)


def load(path: Path, source: str) -> ModuleType:
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("n int", "n bigint", True),
        ("n = n + %s", "n = n - %s", True),
        ("RATE = 2", "RATE = 3", True),
        ("return RATE * value", "return RATE + value", True),
        ('QUERY = "SELECT 1"', 'QUERY = "SELECT 2"', False),
        ("    def fold", "    # Why.\n    def fold", False),
        ('"""Twice."""', '"""Two times."""', False),
    ],
)
def test_only_what_decides_the_rows_counts(
    tally: ModuleType, tmp_path: Path, old: str, new: str, changes: bool
) -> None:
    before = fingerprint(tally.Tally())
    assert old in SOURCE
    changed = load(tmp_path / "tally_changed.py", SOURCE.replace(old, new))
    try:
        assert (fingerprint(changed.Tally()) != before) is changes
    finally:
        del sys.modules["tally_changed"]
