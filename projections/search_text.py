"""Text as it is searched."""

from __future__ import annotations

import unicodedata
from typing import Final

SHORT: Final = 2
"""Letters of the longest word that has no trigram of its own."""
_SIGNS: Final = (
    ("\u0e00", "\u0eff"),  # Thai and Lao
    ("\u3040", "\u30ff"),  # hiragana and katakana
    ("\u3400", "\u9fff"),  # Han
    ("\uac00", "\ud7af"),  # Hangul
    ("\uf900", "\ufaff"),
    ("\U00020000", "\U0003ffff"),
)


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


def short_tokens(folded: str) -> list[str]:
    """What too short a search for trigrams finds in a folded name, in order.

    Whole words of one or two letters; of writing without spaces each sign and each pair.
    """
    found: set[str] = set()
    for word in folded.split():
        if len(word) <= SHORT:
            found.add(word)
        if not word.isascii():
            for place, sign in enumerate(word):
                if is_sign(sign):
                    found.add(sign)
                    pair = word[place : place + 2]
                    if len(pair) == SHORT and is_sign(pair[1]):
                        found.add(pair)
    return sorted(found)


def is_sign(letter: str) -> bool:
    """Whether a letter belongs to a writing that puts no spaces between words."""
    return any(first <= letter <= last for first, last in _SIGNS)
