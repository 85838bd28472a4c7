"""Mark-up members write, made safe to show: what comments and the forum give out went through it.

Facts keep what was written. Cleaning is done where it is read, so that an attack nobody knew of
when a comment was written meets the cleaner of the day.
"""

from __future__ import annotations

import html
import re
from typing import Final

import nh3

from domain.errors import Invalid

# fmt: off
_TAGS: Final = {
    "a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt",
    "em", "h2", "h3", "h4", "h5", "h6", "hr", "i", "ins", "kbd", "li", "mark", "ol", "p", "pre",
    "q", "s", "samp", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody",
    "td", "tfoot", "th", "thead", "tr", "u", "ul",
}
# fmt: on
"""No images, frames or media: whoever posts one would learn the address of whoever reads it."""
_ATTRIBUTES: Final = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
_CLEANER: Final = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    url_schemes={"http", "https", "mailto", "magnet"},
    link_rel="nofollow noopener noreferrer",
    strip_comments=True,
)
MOST_TAGS: Final = 3000
"""In one text. A parser's work can grow with the square of them: this many take 30 ms at worst."""
MOST_GROWTH: Final = 8
"""Escaping makes five characters of one; more is the work of an attack on the reader."""
_TAG: Final = re.compile(r"<[a-z]", re.IGNORECASE)
_STYLE_TAG: Final = re.compile(
    r"<(b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)\b[^>]*(?:>|\Z)", re.IGNORECASE
)
_TEXT_ONLY: Final = nh3.Cleaner(tags=set(), attributes={}, strip_comments=True)
_BREAK: Final = re.compile(r"<(?:/p|/div|/li|/tr|/h[1-6]|/blockquote|br\s*/?)>", re.IGNORECASE)


class NothingToShow(Invalid):
    """Nothing is left of a text once its mark-up is cleaned."""

    code = "nothing_to_show"
    message = "content: has nothing to show but mark-up"


class TooManyTags(Invalid):
    """A text has more tags than anybody writes."""

    code = "too_many_tags"
    message = f"content: must have at most {MOST_TAGS} tags"


def clean_markup(text: str) -> str:
    """HTML that is safe to put into a page: text stays, tags beyond the harmless ones go.

    What was no tag comes back as text ("1 < 2" as "1 &lt; 2"), and so does all of a text with
    more than `MOST_TAGS`, or that grew more than `MOST_GROWTH` times.
    """
    if has_too_many_tags(text):
        return html.escape(text)
    cleaned = _CLEANER.clean(_without_style_attributes(text))
    return cleaned if len(cleaned) <= MOST_GROWTH * len(text) + 1000 else html.escape(text)


def has_too_many_tags(text: str) -> bool:
    """Whether a text has more than `MOST_TAGS`; nothing a person writes has."""
    return sum(1 for _ in _TAG.finditer(text)) > MOST_TAGS


def _without_style_attributes(text: str) -> str:
    # HTML opens again in each paragraph what was left open in the one before, up to three alike
    # but any number that differ in an attribute: 50 kB would become 40 MB. They may have none.
    return _STYLE_TAG.sub(r"<\1>", text)


def plain_text(text: str) -> str:
    """The words alone, on one line. They are text, not HTML: "1 < 2" stays so."""
    if has_too_many_tags(text):
        return " ".join(text.split())
    spaced = _BREAK.sub(lambda tag: f"{tag[0]} ", _without_style_attributes(text))
    words = _TEXT_ONLY.clean(spaced)
    return " ".join(html.unescape(words).split())


def has_words(text: str) -> bool:
    """Whether anything is left to see of it."""
    return any(not each.isspace() and each.isprintable() for each in plain_text(text))


def excerpt(text: str, length: int) -> str:
    """The first `length` characters of the words, ending with "…" where there are more."""
    words = plain_text(text)
    return words if len(words) <= length else f"{words[: length - 1].rstrip()}…"


def require_showable(content: str) -> None:
    """Refuse what nobody could read. Raises `NothingToShow`, `TooManyTags`."""
    if has_too_many_tags(content):
        raise TooManyTags()
    if not has_words(content):
        raise NothingToShow()
