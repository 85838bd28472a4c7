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
"""In one text, closing ones as well. Work grows with tags times depth: below the bounds a text of
50,000 characters takes 25 ms at worst."""
MOST_LOOSE_TAGS: Final = 1000
"""In a text whose tags are not plainly written, or are nested deeper than `DEEPEST`."""
MOST_LOOSE_SIGNS: Final = 15_000
"""Characters of such a text: the parser compares each attribute of a tag with all before it."""
MOST_MARKS: Final = 10_000
"""How often < and & may stand in a text: what begins nothing is still looked at one by one."""
DEEPEST: Final = 100
"""Tags open inside each other."""
MOST_GROWTH: Final = 8
"""Escaping makes five characters of one; more is the work of an attack on the reader."""
_TAG: Final = re.compile(r"</?[a-z]", re.IGNORECASE)
_PLAIN_TAG: Final = re.compile(
    # A whole tag with few attributes, or what may begin another kind of mark-up.
    r"<(?P<closing>/)?(?P<name>[a-z][a-z0-9:-]*+)"
    r"(?:\s++[a-z_][a-z0-9_:.-]*+(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'<>=`]++))?){0,30}+\s*+/?>"
    r"|<[a-z/!?]",
    re.IGNORECASE,
)
_READ_AS_TEXT: Final = frozenset(
    ["iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "textarea",
     "title", "xmp"]
)  # fmt: skip
"""Tags inside these are none, so that nobody could tell what a closing one closes."""
_NEVER_DEEP: Final = frozenset(
    ["area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta",
     "option", "p", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track", "wbr"]
)  # fmt: skip
"""They are empty, or end by themselves where the next one begins, unless another tag is between."""
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
    message = (
        f"content: must have at most {MOST_TAGS} tags, closing ones included,"
        f" and at most {MOST_MARKS} of < and &"
    )


class TangledTags(Invalid):
    """A long text has mark-up that would cost its readers much."""

    code = "tangled_tags"
    message = (
        "content: a long text must have whole tags that close what they open,"
        f" at most {DEEPEST} inside each other, no comments or scripts, and &lt; for a lone <"
    )


def clean_markup(text: str) -> str:
    """HTML that is safe to put into a page: text stays, tags beyond the harmless ones go.

    What was no tag comes back as text ("1 < 2" as "1 &lt; 2"), and so does all of a text that
    costs too much (`require_cheap`), or that grew more than `MOST_GROWTH` times.
    """
    bare = _without_style_attributes(text)
    if _excess(bare) is not None:
        return html.escape(text)
    cleaned = _CLEANER.clean(bare)
    return cleaned if len(cleaned) <= MOST_GROWTH * len(text) + 1000 else html.escape(text)


def require_cheap(text: str) -> None:
    """Refuse what takes a parser long; nothing a person writes does.

    Raises `TooManyTags`, `TangledTags`.
    """
    excess = _excess(_without_style_attributes(text))
    if excess is not None:
        raise excess


def _excess(bare: str) -> Invalid | None:
    """Why a text costs too much, if it does; it is looked at as the parser would get it."""
    tags = _count_tags(bare)
    if tags > MOST_TAGS or bare.count("<") + bare.count("&") > MOST_MARKS:
        return TooManyTags()
    if (tags > MOST_LOOSE_TAGS or len(bare) > MOST_LOOSE_SIGNS) and not _is_plain(bare):
        return TangledTags()
    return None


def _count_tags(text: str) -> int:
    return sum(1 for _ in _TAG.finditer(text))


def _is_plain(text: str) -> bool:
    """Whether each tag is whole and closes the one opened last, none deeper than `DEEPEST`.

    A closing tag that does not is not counted as closing: so nothing is deeper than it seems.
    """
    opened: list[str] = []
    for found in _PLAIN_TAG.finditer(text):
        name = (found["name"] or "").lower()
        if not name or name in _READ_AS_TEXT:
            return False
        if name in _NEVER_DEEP:
            continue
        if not found["closing"]:
            opened.append(name)
        elif opened and opened[-1] == name:
            opened.pop()
        if len(opened) > DEEPEST:
            return False
    return True


def _without_style_attributes(text: str) -> str:
    # HTML opens again in each paragraph what was left open in the one before, up to three alike
    # but any number that differ in an attribute: 50 kB would become 40 MB. They may have none.
    return _STYLE_TAG.sub(r"<\1>", text)


def plain_text(text: str) -> str:
    """The words alone, on one line. They are text, not HTML: "1 < 2" stays so."""
    bare = _without_style_attributes(text)
    if _excess(bare) is not None:
        return " ".join(text.split())
    spaced = _BREAK.sub(lambda tag: f"{tag[0]} ", bare)
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
    """Refuse what nobody could read. Raises `NothingToShow`, `TooManyTags`, `TangledTags`."""
    require_cheap(content)
    if not has_words(content):
        raise NothingToShow()
