"""Generated pages are those their sources give, and one that is not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops import cli
from ops.catalogue import DOCS, PAGES, CatalogueStale, require_current, stale_pages, write_pages


def test_no_generated_page_is_stale() -> None:
    assert stale_pages() == []


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_changed_by_hand_is_named_and_written_anew(tmp_path: Path, page: str) -> None:
    write_pages(tmp_path)
    (tmp_path / page).write_text((tmp_path / page).read_text() + "x")
    assert stale_pages(tmp_path) == [page]
    with pytest.raises(CatalogueStale, match=f"docs/{page}"):
        require_current(tmp_path)
    assert write_pages(tmp_path) == [page]
    assert stale_pages(tmp_path) == []


def test_a_missing_page_is_stale(tmp_path: Path) -> None:
    assert stale_pages(tmp_path) == list(PAGES)


def test_pages_are_the_same_bytes_each_time() -> None:
    assert [page() for page in PAGES.values()] == [page() for page in PAGES.values()]


def test_the_check_ends_with_code_0_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: (DOCS / name).stat().st_mtime_ns for name in PAGES}
    assert cli.run(["catalogue", "--check"]) == 0
    assert {name: (DOCS / name).stat().st_mtime_ns for name in PAGES} == before
    assert "as the code gives them" in capsys.readouterr().out


def test_every_link_between_the_pages_leads_somewhere() -> None:
    events = (DOCS / "events.md").read_text()
    headings = {
        line.removeprefix("### ").replace(".", "")
        for line in events.splitlines()
        if line.startswith("### ")
    }
    linked = {part.split(")")[0] for part in events.split("](#")[1:]}
    assert linked == headings
