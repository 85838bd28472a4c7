"""Mark-up: what is harmless stays, what acts goes, and no text costs its readers much."""

from __future__ import annotations

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.markup import (
    MOST_TAGS,
    NothingToShow,
    TooManyTags,
    clean_markup,
    excerpt,
    plain_text,
    require_showable,
)

ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://evil.example/pixel.gif'>",
    "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<svg><style><!--</style><img src=x onerror=alert(1)>--></style>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='jAvAsCrIpT&colon;alert(1)'>x</a>",
    "<a href=' \x01java\nscript:alert(1)'>x</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<b onmouseover=alert(1)>x</b>",
    "<p style='background:url(//evil.example)'>x</p>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<form action=/api/auth/logout><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example><base href=//evil.example>",
    "<object data=//evil.example></object><embed src=//evil.example>",
    "<video><source onerror=alert(1)></video><audio src=//evil.example>",
    "<details open ontoggle=alert(1)>x</details>",
    "<a href='x' id=location name=body class=admin>x</a>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'></textarea>",
    "<template><script>alert(1)</script></template>",
    "<x-y is='z'>x</x-y><portal src=//evil.example>",
]
SAFE_TAG = re.compile(
    r"</?(?:a|abbr|b|blockquote|br|code|dd|del|details|div|dl|dt|em|h[2-6]|hr|i|ins|kbd|li|mark|ol|p"
    r"|pre|q|s|samp|small|span|strong|sub|summary|sup|table|tbody|td|tfoot|th|thead|tr|u|ul)"
    r'(?: (?:title|rel|start|colspan|rowspan|href)="[^"<>]*")*>'
)
SAFE_ADDRESS = re.compile(r'href="(?:https?:|mailto:|magnet:|(?![a-z]*:)[^":]*"|[^":]*[/?#])')


def assert_harmless(cleaned: str) -> None:
    """Nothing but the tags and attributes we know, addresses of the schemes we know."""
    assert "<" not in SAFE_TAG.sub("", cleaned)
    for found in re.findall(r'href="[^"]*"', cleaned):
        assert SAFE_ADDRESS.match(found), found


@pytest.mark.parametrize("attack", ATTACKS)
def test_clean_markup_disarms(attack: str) -> None:
    for text in (attack, f"<b>{attack}</b>", f"<ul><li>{attack}", f"a {attack} b"):
        assert_harmless(clean_markup(text))
        assert_harmless(clean_markup(clean_markup(text)))


@given(st.lists(st.sampled_from([*ATTACKS, "<", ">", '"', "'", "<b x='", "<!--", "-->", "&", "/"])))
def test_clean_markup_disarms_any_heap_of_attacks(parts: list[str]) -> None:
    assert_harmless(clean_markup("".join(parts)))


@given(st.text())
def test_clean_markup_takes_any_text(text: str) -> None:
    assert_harmless(clean_markup(text))
    assert "\n" not in plain_text(text)


def test_clean_markup_keeps_what_is_harmless() -> None:
    for kept in (
        "<p>Hello <strong>you</strong>, <em>there</em><br>and <code>1</code></p>",
        "<blockquote><p>quoted</p></blockquote>",
        "<ul><li>one</li><li>two</li></ul>",
        "<table><tbody><tr><td>1</td></tr></tbody></table>",
        "Ünïcödé 🙂 \u202b right to left",
    ):
        assert clean_markup(kept) == kept
    linked = clean_markup("<a href='https://example.org/?a=1&amp;b=2' target=_blank>x</a>")
    assert linked == (
        '<a href="https://example.org/?a=1&amp;b=2" rel="nofollow noopener noreferrer">x</a>'
    )
    assert clean_markup("1 < 2 & 3") == "1 &lt; 2 &amp; 3"
    assert clean_markup("<b class=x>bold</b> <I\tid=y>it</I>") == "<b>bold</b> <i>it</i>"


@pytest.mark.parametrize(
    "piece",
    ["<b><p>", '<b a="{n}"><p>', '<b x="<" a="{n}"><p>', "<div>", "<ul><li>", "<b></p>",
     "<a href={n}><p>", "<table><b>", "<b ", "&", "<svg><style>", "<p></b>"],
)  # fmt: skip
def test_no_text_costs_much_time_or_space(piece: str) -> None:
    length = 50_000
    whole = "".join(piece.replace("{n}", str(n)) for n in range(length // len(piece)))[:length]
    most = "".join(
        piece.replace("{n}", str(n))
        for n in range(MOST_TAGS // piece.count("<") if "<" in piece else 9)
    )
    for text in (whole, most[:length]):
        begun = time.process_time()
        cleaned = clean_markup(text)
        plain_text(text)
        # Without the bounds some of these take seconds and 40 MB.
        assert time.process_time() - begun < 1
        assert len(cleaned) <= 8 * len(text) + 1000


def test_style_left_open_is_opened_again_three_times_at_most() -> None:
    opened = "".join(f'<b class="{number}">' for number in range(50))
    cleaned = clean_markup(f"<p>{opened}x</p><p>y</p>")
    assert cleaned.endswith("<p><b><b><b>y</b></b></b></p>")
    assert clean_markup('<b title="<" x=">">y</b>') == '<b>"&gt;y</b>'


def test_more_tags_than_anybody_writes_are_shown_as_text() -> None:
    most = "<b>x</b>" * MOST_TAGS
    assert clean_markup(most) == most
    assert clean_markup(most + "<i>") == html.escape(most + "<i>")
    assert plain_text(most + "<i>") == most + "<i>"


def test_plain_text_is_one_line_of_words() -> None:
    assert plain_text("<p>One</p><p>two<br>three</p>\n\n<script>x</script>4") == "One two three 4"
    assert plain_text("1 &lt; 2 <b>&amp;</b> 3") == "1 < 2 & 3"


def test_excerpt_ends_at_its_length() -> None:
    assert excerpt("<p>short</p>", 200) == "short"
    assert excerpt("word " * 100, 20) == "word word word word…"
    assert len(excerpt("x" * 500, 200)) == 200


@pytest.mark.parametrize(
    "content", ["<p></p>", "<script>alert(1)</script>", "&nbsp;", "<br><hr>", "\u200b"]
)
def test_require_showable_refuses_what_nobody_could_read(content: str) -> None:
    with pytest.raises(NothingToShow):
        require_showable(content)


def test_require_showable_refuses_too_many_tags() -> None:
    require_showable("<br>" * (MOST_TAGS - 1) + "<b>x")
    with pytest.raises(TooManyTags):
        require_showable("<br>" * MOST_TAGS + "<b>x")
