"""Upload rules: which can be kept, and what breaks them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from application.title_patterns import pattern_fault, search_title
from domain.media_ids import MediaIds
from domain.upload_rules import (
    BrokenRule,
    Candidate,
    RuleBook,
    UploadRuleBroken,
    UploadRules,
    UploadRulesChanged,
    UploadRulesChangedMeanwhile,
    UploadRulesInvalid,
    broken_rules,
    change_upload_rules,
    effective_pattern,
    evolve,
    extension_of,
    require_rules,
    subject_of,
)
from tests.kit.domain import folded, refuses_foreign_facts

MOVIES, HD, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
RULES = UploadRules(
    nfo_required=True,
    required_media=("tvdb", "imdb"),
    allowed_extensions=("mp4", "mkv", "mkv"),
    category_patterns=((HD, "b"), (MOVIES, "a")),
)
GOOD = Candidate(name="Name", description="Words", categories=(), media=MediaIds())


def change(book: RuleBook, rules: UploadRules, **more: Any) -> Any:
    asked = {"seen": None, "unknown_categories": (), "fault_of": pattern_fault, **more}
    return change_upload_rules(book, rules, **asked)


def broken(rules: UploadRules, **upload: Any) -> list[BrokenRule]:
    candidate = msgspec.structs.replace(GOOD, **upload)
    return list(broken_rules(rules, candidate, search=search_title))


def test_changed_rules_are_kept_in_one_order_and_whole() -> None:
    (fact,) = change(RuleBook(), RULES)
    assert isinstance(fact, UploadRulesChanged)
    assert fact.required_media == ("imdb", "tvdb")
    assert fact.allowed_extensions == ("mkv", "mp4")
    assert fact.category_patterns == ((MOVIES, "a"), (HD, "b"))
    book = folded(evolve, fact)
    assert book is not None
    assert (book.version, book.rules.nfo_required) == (1, True)
    assert change(book, RULES) == []
    assert change(RuleBook(), UploadRules()) != []


def test_a_change_of_rules_somebody_else_changed_is_refused() -> None:
    with pytest.raises(UploadRulesChangedMeanwhile) as refused:
        change(RuleBook(version=3, changed_by=OTHER), RULES, seen=2)
    assert refused.value.data == {"changed_by": OTHER, "version": 3}


def test_every_field_that_can_not_be_kept_is_named() -> None:
    rules = UploadRules(
        description_min_length=-1,
        max_torrent_size=0,
        required_media=("anidb",),
        allowed_extensions=("a.b",),
        title_blocklist="(",
        category_patterns=((MOVIES, "x" * 501), (HD, "ok"), (OTHER, "a\0")),
    )
    with pytest.raises(UploadRulesInvalid) as refused:
        change(RuleBook(), rules, unknown_categories=[HD])
    assert set(refused.value.data["invalid_fields"]) == {
        "descriptionMinLength",
        "maxTorrentSize",
        "requiredMediaIds",
        "allowedExtensions",
        "titleBlocklist",
        *(f"categoryPatterns.{each}" for each in (MOVIES, HD, OTHER)),
    }


def test_no_rules_break_nothing() -> None:
    assert broken(UploadRules(), has_nfo=False, size=1 << 60, extensions=("exe",)) == []


def test_a_description_has_a_least_length_only_where_one_is_required() -> None:
    assert broken(UploadRules(description_min_length=10)) == []
    rules = UploadRules(description_required=True, description_min_length=5)
    assert broken(rules) == []
    assert broken(rules, description=" 1234 ") == [
        BrokenRule(reason="description_too_short", detail=5)
    ]
    assert broken(rules, description=" \n") == [BrokenRule(reason="description_required")]


def test_rules_of_the_file_are_silent_where_it_is_not_in_question() -> None:
    rules = UploadRules(nfo_required=True, max_torrent_size=5, allowed_extensions=("mkv",))
    assert broken(rules) == []
    assert [rule.reason for rule in broken(rules, has_nfo=False, size=6, extensions=("",))] == [
        "nfo_required",
        "size_too_large",
        "extension_not_allowed",
    ]
    assert broken(rules, has_nfo=True, size=5, extensions=("mkv",)) == []


def test_a_blocklist_is_searched_anywhere_and_a_pattern_takes_the_whole_title() -> None:
    blocked = UploadRules(title_blocklist="cam|telesync")
    assert broken(blocked, name="A.HDCAM.Film") == [
        BrokenRule(reason="title_blocklisted", detail="CAM")
    ]
    enforced = UploadRules(title_pattern_enforced=True, category_patterns=((MOVIES, "ab|cd"),))
    for name, right in (("ab", True), ("CD", True), ("abc", False), ("xcd", False)):
        assert (broken(enforced, name=name, categories=(HD, MOVIES)) == []) is right, name
    assert broken(enforced, name="abc", categories=(OTHER,)) == []


def test_the_nearest_category_with_a_pattern_counts() -> None:
    rules = UploadRules(category_patterns=((MOVIES, "a"), (HD, "b")))
    assert effective_pattern(rules, (HD, MOVIES)) == "b"
    assert effective_pattern(rules, (OTHER, MOVIES)) == "a"
    assert effective_pattern(rules, (OTHER,)) is None


@pytest.mark.parametrize(
    ("path", "extension"),
    [
        ("a/b/Film.MKV", "mkv"),
        ("Film.tar.gz", "gz"),
        ("README", ""),
        (".hidden", ""),
        ("a.d/README", ""),
        ("x.", ""),
    ],
)
def test_extension_of_a_path(path: str, extension: str) -> None:
    assert extension_of(path) == extension


def test_the_first_broken_rule_is_the_refusal() -> None:
    with pytest.raises(UploadRuleBroken) as refused:
        require_rules([BrokenRule(reason="tmdb_required"), BrokenRule(reason="nfo_required")])
    assert refused.value.data == {"reason": "tmdb_required", "detail": None}
    require_rules([])


def test_each_rule_has_a_subject() -> None:
    assert [
        subject_of(reason) for reason in ("nfo_required", "title_blocklisted", "x_required")
    ] == [
        "file",
        "title",
        "media",
    ]
    assert subject_of("description_too_short") == "description"


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", "(?<!a)b", "(", "a{2000}", "\ud800"])
def test_a_pattern_whose_search_might_not_end_is_no_pattern(pattern: str) -> None:
    assert pattern_fault(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+b", ".*", r"\p{Cyrillic}+", "(?i)x", "[[:alpha:]]"])
def test_any_other_pattern_is_searched_in_linear_time(pattern: str) -> None:
    assert pattern_fault(pattern) is None
    search_title(pattern, "a" * 100_000)


def test_a_title_is_searched_as_it_reads() -> None:
    assert search_title("ЖУК", "большой жук") == "жук"
    assert search_title("^.$", "😀") == "😀"
    assert search_title("b", "a\ud800b") == "b"


def test_foreign_facts_stop_the_fold() -> None:
    (fact,) = change(RuleBook(), RULES)
    refuses_foreign_facts(evolve, fact)
