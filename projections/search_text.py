"""Text as it is searched."""

from __future__ import annotations

import unicodedata


def fold_text(text: str) -> str:
    """Text as it is searched: no case, no accents, runs of anything but words one space.

    Marks are dropped only after Latin and Greek letters: й is a letter of its own.
    """
    kept: list[str] = []
    for letter in unicodedata.normalize("NFKD", text.casefold()):
        if unicodedata.combining(letter):
            if kept and (kept[-1] < "\u0400" or not kept[-1].isalpha()):
                continue
            kept.append(letter)
        else:
            kept.append(letter if letter.isalnum() else " ")
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))
