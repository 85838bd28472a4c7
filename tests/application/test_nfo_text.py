"""NFOs as text, whichever code page they were written in."""

from __future__ import annotations

import pytest

from application.uploads import nfo_text

BOX = "╔═══╗\r\n║ ■ ║ Größe: 5 °C\r\n╚═══╝"
FRENCH = "Qualité: très élevée, sous-titres français, été à Nîmes\r\n" * 3


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain ASCII", "ascii"),
        ("Größe ╔═╗ 😀", "utf-8"),
        (BOX, "cp437"),
        ("ü ä ö ß é è \r\n" * 5, "cp437"),
        ("░▒▓█ · release ·" * 3, "cp437"),
        (FRENCH, "latin-1"),
    ],
)
def test_an_nfo_is_read_in_the_code_page_it_was_written_in(text: str, encoding: str) -> None:
    assert nfo_text(text.encode(encoding)) == text


def test_a_few_broken_bytes_do_not_make_utf_8_another_code_page() -> None:
    assert nfo_text("Größe ".encode() * 50 + b"\xff") == "Größe " * 50 + "\ufffd"


def test_any_bytes_are_text_without_nul() -> None:
    assert "\0" not in nfo_text(bytes(range(256)) * 4)
    assert nfo_text(b"") == ""
