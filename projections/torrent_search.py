"""What a search asks for: conditions on folded names, or one info hash."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from projections.search_text import SHORT, fold_text, is_sign

TERMS: Final = 8
"""Words of a search that count; the rest of a pasted text narrows nothing further."""
_PARTS: Final = re.compile(r'"([^"]*)"|([^\s"]+)')
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def search_conditions(search: str, values: dict[str, Any]) -> list[str]:
    """Conditions on `t` (torrents) and `s` (search_names); puts their values into `values`.

    Each word stands anywhere in the name, words in quotes stand together. Words of one or two
    letters are whole words, or signs of a writing without spaces. A search without any
    letter or digit finds the names that are just that.
    """
    wanted = search.strip().lower()
    if _HASH.fullmatch(wanted):
        values["short_hash"] = wanted[:40]
        if len(wanted) > len(values["short_hash"]):
            values["hash"] = wanted
            return ["left(t.info_hash_v2, 40) = %(short_hash)s", "t.info_hash_v2 = %(hash)s"]
        return ["(t.info_hash = %(short_hash)s OR left(t.info_hash_v2, 40) = %(short_hash)s)"]
    terms = terms_of(search)
    if not terms:
        # A name of ornaments alone has no words to be found by, but an index has it whole.
        name = search.strip().replace("\0", "")
        values["names"] = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
        return ["t.name = ANY(%(names)s::text[])"]
    conditions: list[str] = []
    short = [term for term in terms if len(term) <= SHORT]
    for number, term in enumerate(term for term in terms if len(term) > SHORT):
        # Folded text has no wildcard characters, so nothing is left to escape.
        values[f"term{number}"] = f"%{term}%"
        conditions.append(f"s.folded LIKE %(term{number})s")
    if short:
        values["short"] = short
        conditions.append("s.short @> %(short)s::text[]")
    return conditions


def terms_of(search: str) -> list[str]:
    """The words of a search as they stand in folded names, the first `TERMS` of them."""
    terms: dict[str, None] = {}
    for phrase, word in _PARTS.findall(search):
        if phrase:
            terms[fold_text(phrase)] = None
        else:
            terms.update(dict.fromkeys(fold_text(word).split()))
    kept = [term for term in terms if term][:TERMS]
    return [piece for term in kept for piece in _pieces(term)]


def _pieces(term: str) -> list[str]:
    """The term itself; one of two letters of which only one is a sign is looked for in two."""
    if len(term) == SHORT and is_sign(term[0]) != is_sign(term[1]):
        return list(term)
    return [term]
