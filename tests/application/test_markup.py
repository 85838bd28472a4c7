"""Mark-up: what is harmless stays, what acts goes, and no text costs its readers much."""

from __future__ import annotations

import contextlib
import html
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.markup import (
    DEEPEST,
    MOST_LOOSE_SIGNS,
    MOST_LOOSE_TAGS,
    MOST_MARKS,
    MOST_TAGS,
    NothingToShow,
    TangledTags,
    TooManyTags,
    clean_markup,
    excerpt,
    plain_text,
    require_cheap,
    require_showable,
)
from domain.errors import Invalid
from domain.forum import POST_LENGTH
from tests.kit.processor_time import least_seconds

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


PIECES = [
    "<b><p>", '<b a="{n}"><p>', '<b x="<" a="{n}"><p>', "<div>", "<ul><li>", "<b></p>",
    "<a href={n}><p>", "<table><b>", "<b ", "&", "<", "<svg><style>", "<p></b>", "</p>", "</br>",
    "<table></p>", "<a><div></a>", "<html a{n}=1>", "<i></b>", "<x></y>", "</", "<!", "&#1114112;",
    "<p><hr>", "<div></p>", "<b><p></b>", "<div></div>",
]  # fmt: skip
FRAMES = ["", "<table>" * (DEEPEST - 1), "<p a", "<b>" * (MOST_LOOSE_TAGS // 2)]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: f"{frame[:8]}-{len(frame)}")
@pytest.mark.parametrize("piece", PIECES)
def test_no_text_costs_much_time_or_space(piece: str, frame: str) -> None:
    for text in dearest(piece, frame):
        begun = time.process_time()
        cleaned = clean_markup(text)
        plain_text(text)
        # 60 ms at worst where nobody else computes. Without the bounds some take half a second,
        # others many and 40 MB.
        assert time.process_time() - begun < 0.25
        assert len(cleaned) <= 8 * len(text) + 1000


def dearest(piece: str, frame: str) -> list[str]:
    """The piece as often as each bound allows, and as a post has room for it."""
    texts = []
    tags = len(re.findall("</?[a-z]", piece))
    for most, length in (
        (MOST_LOOSE_TAGS, MOST_LOOSE_SIGNS),
        (MOST_TAGS, POST_LENGTH),
        (POST_LENGTH, POST_LENGTH),
    ):
        room = max(0, most - frame.count("<"))
        often = min(room // tags if tags else MOST_MARKS, length // len(piece))
        text = frame + "".join(piece.replace("{n}", str(n)) for n in range(often))
        texts += [text[:length], (text + "&" * (MOST_MARKS - text.count("<")))[:length]]
    return texts


@pytest.mark.parametrize(
    "text",
    [
        "".join(f" {chr(256 + n)}" for n in range(20_000)).join(("<p", ">")),
        "</p" + " x='>' y" * 3_000 + ">",
        "<p>" + "<!-- <b> -->" * 2_000,
        "<p>&#60;</p><script>" + "<b></b>" * 1_000,
        "<div></span>" * (MOST_LOOSE_TAGS // 2 + 1),
        "<div><!--</div>-->" * (MOST_LOOSE_TAGS // 2 + 1),
        "<div title='</div>" * (MOST_LOOSE_TAGS // 2 + 1),
        "<div>" * (DEEPEST + 1) + "</div>" * MOST_LOOSE_TAGS,
        "<DIV>" * (DEEPEST + 1) + "x" * MOST_LOOSE_SIGNS,
        "<q <p>" + "x" * MOST_LOOSE_SIGNS,
        "<q " + "".join(f" a{n}='1'" for n in range(31)) + ">" + "x" * MOST_LOOSE_SIGNS,
    ],
)
def test_a_long_text_must_be_plainly_written(text: str) -> None:
    with pytest.raises(TangledTags):
        require_cheap(text)
    assert clean_markup(text) == html.escape(text)
    assert plain_text(text) == " ".join(text.split())


def test_what_people_write_at_length_is_no_tangle() -> None:
    row = "<tr><td>1 &amp; 2<td>x &lt; y<br/>I <3 you</tr>\n"
    table = f"<table><thead><tr><th colspan='2'>Name</thead><tbody>{row * 300}</tbody></table>"
    quotes = "<blockquote><p>" * DEEPEST + "deep" + "</blockquote>" * DEEPEST
    items = '<ul><li><a href="/a?b=1&c=2" title="1 > 0">x</a><li><STRONG>y</strong>z</ul>' * 300
    for text in (table, quotes + "x" * MOST_LOOSE_SIGNS, items, "<p>1 & 2 > 0<hr>" * 900):
        require_cheap(text)
        assert "&lt;p&gt;" not in clean_markup(text)
        assert "<" in clean_markup(text)


def test_too_many_marks_are_refused() -> None:
    require_cheap("&" * MOST_MARKS)
    for mark in "&<":
        with pytest.raises(TooManyTags):
            require_cheap(mark * (MOST_MARKS + 1))


@settings(deadline=None)
@given(st.lists(st.sampled_from([*ATTACKS, "<i", " x", "='", "'", ">", "<", "/"]), max_size=40))
def test_looking_at_a_text_is_cheap_itself(parts: list[str]) -> None:
    text = ("".join(parts) * POST_LENGTH)[:POST_LENGTH]

    def look() -> None:
        with contextlib.suppress(Invalid):
            require_cheap(text)

    assert least_seconds(look, 0.15) < 0.15


def test_style_left_open_is_opened_again_three_times_at_most() -> None:
    opened = "".join(f'<b class="{number}">' for number in range(50))
    cleaned = clean_markup(f"<p>{opened}x</p><p>y</p>")
    assert cleaned.endswith("<p><b><b><b>y</b></b></b></p>")
    assert clean_markup('<b title="<" x=">">y</b>') == '<b>"&gt;y</b>'


def test_more_tags_than_anybody_writes_are_shown_as_text() -> None:
    most = "<b>x</b>" * (MOST_TAGS // 2)
    assert clean_markup(most) == most
    for more in ("<i>", "</i>", "</P>"):
        assert clean_markup(most + more) == html.escape(most + more)
        assert plain_text(most + more) == most + more


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
    require_showable("<br>" * (MOST_TAGS - 2) + "<b>x</b>")
    for one_more in ("<br>", "</p>"):
        with pytest.raises(TooManyTags) as refused:
            require_showable("<br>" * (MOST_TAGS - 2) + f"<b>x</b>{one_more}")
        assert "3000 tags, closing ones included" in str(refused.value)
    with pytest.raises(TangledTags):
        require_showable("<div></p>" * MOST_LOOSE_TAGS)
