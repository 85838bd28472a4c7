"""Pages and cursors: what they say, and cursors nobody gave out."""

from __future__ import annotations

import pytest

from interfaces.http import paging


def test_pagination_counts_whole_pages() -> None:
    for total, pages in ((0, 0), (1, 1), (20, 1), (21, 2)):
        told = paging.pagination(1, 20, total).model_dump(by_alias=True)
        assert told == {"page": 1, "limit": 20, "total": total, "pages": pages, "totalExact": True}
    assert paging.pagination(1, 20, 5, exact=False).total_exact is False


def test_offset_of_skips_only_so_many_rows() -> None:
    assert paging.offset_of(1, 20) == 0
    assert paging.offset_of(5001, 20) == paging.DEEPEST_ROW
    with pytest.raises(paging.PageTooDeep):
        paging.offset_of(5002, 20)


def test_a_cursor_gives_its_keys_back() -> None:
    cursor = paging.write_cursor(12, "Жук", "a/b?")
    assert paging.read_cursor(cursor, int, str, str) == (12, "Жук", "a/b?")
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?")


def test_a_cursor_of_another_shape_is_refused() -> None:
    whole, text = paging.write_cursor(1), paging.write_cursor("a")
    for cursor, kinds in (
        (whole, (str,)),
        (text, (int,)),
        (whole, (int, int)),
        ("", (int,)),
        ("!!!", (int,)),
        ("é", (int,)),
        (whole[:-1], (int,)),
        (paging.write_cursor(2**63), (int,)),
        (paging.write_cursor("a\0"), (str,)),
        ("eyJhIjoxfQ", (int,)),
        ("WzEuNV0", (int,)),
        ("W3RydWVd", (int,)),
    ):
        with pytest.raises(paging.BadCursor):
            paging.read_cursor(cursor, *kinds)
