"""What of this machine's memory is ours, and what PostgreSQL takes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops import memory
from ops.embedded_postgres import buffers_megabytes

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "bound"), [("max\n", None), (f"{GIB}\n", GIB), (str(1 << 62), None), (None, None)]
)
def test_a_container_has_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, bound: int | None
) -> None:
    limit = tmp_path / "memory.max"
    if text is not None:
        limit.write_text(text)
    monkeypatch.setattr(memory, "_LIMITS", (limit,))
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.memory_bytes() == (bound or physical)


@pytest.mark.parametrize(
    ("gibibytes", "megabytes"), [(0.5, 128), (1, 128), (2, 256), (4, 512), (8, 1024), (256, 1024)]
)
def test_postgresql_takes_an_eighth_within_bounds(gibibytes: float, megabytes: int) -> None:
    assert buffers_megabytes(int(gibibytes * GIB)) == megabytes
