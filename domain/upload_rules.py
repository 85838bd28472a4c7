"""Upload rules: what an upload must bring before moderation looks at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec

from domain.errors import Conflict, Invalid
from domain.kernel import Envelope, Fact
from domain.media_ids import MediaIds

RULES_ID: Final = UUID("1f6c0a3b-8f9a-5c55-8d35-6f0b1a4e7d20")
"""The one aggregate of a site's upload rules."""
DESCRIPTION_MIN_LENGTHS = range(10_001)
PATTERN_LENGTH = 500
PATTERNS = 1_000
EXTENSIONS = 200
LARGEST_TORRENT = 1024**5
MEDIA: tuple[str, ...] = MediaIds.__struct_fields__
_EXTENSION = re.compile(r"[a-z0-9][a-z0-9_+-]{0,15}")

PatternFault = Callable[[str], str | None]
"""Why a pattern can't be used (broken, or of a kind whose search could last), None when it can."""
PatternSearch = Callable[[str, str], str | None]
"""(pattern, title) → the first part of the title that matches, None when none does."""


class UploadRulesChanged(Fact, frozen=True):
    """An administrator changed what uploads must bring; all rules as they are from now on.

    `required_media` names public databases an id of which is asked for, `max_torrent_size` is
    in bytes (None has no limit), `allowed_extensions` are those of the content's files (none
    allow all), `category_patterns` are pairs of a category and the pattern of its titles.
    """

    TOPIC: ClassVar[str] = "upload_rules.changed.1"

    nfo_required: bool
    description_required: bool
    description_min_length: int
    title_pattern_enforced: bool
    title_blocklist: str | None
    required_media: tuple[str, ...]
    max_torrent_size: int | None
    allowed_extensions: tuple[str, ...]
    staff_bypass: bool
    category_patterns: tuple[tuple[UUID, str], ...]


FACTS: tuple[type[Fact], ...] = (UploadRulesChanged,)


class UploadRulesInvalid(Invalid):
    """Rules that can't be kept; `data["invalid_fields"]` says for each field what is wrong."""

    code = "upload_rules_invalid"


class UploadRulesChangedMeanwhile(Conflict):
    """Somebody else changed the rules first; `data` has `changed_by` and the new `version`."""

    code = "upload_rules_changed_meanwhile"
    message = "The rules were changed meanwhile; look at them again."


class UploadRuleBroken(Invalid):
    """An upload breaks a rule: `data` has the `reason` and its `detail`."""

    code = "upload_rule_broken"


class UploadRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules; fields as in `UploadRulesChanged`. A new site asks for nothing."""

    nfo_required: bool = False
    description_required: bool = False
    description_min_length: int = 0
    title_pattern_enforced: bool = False
    title_blocklist: str | None = None
    required_media: tuple[str, ...] = ()
    max_torrent_size: int | None = None
    allowed_extensions: tuple[str, ...] = ()
    staff_bypass: bool = True
    category_patterns: tuple[tuple[UUID, str], ...] = ()


class RuleBook(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force, their version, and who made them (None: nobody yet, or the system)."""

    version: int = 0
    rules: UploadRules = UploadRules()
    changed_by: UUID | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as far as rules look at it; `categories` are its own and those above it.

    `has_nfo`, `size` (bytes) and `extensions` are None where the file is not in question.
    """

    name: str
    description: str
    categories: tuple[UUID, ...]
    media: MediaIds
    has_nfo: bool | None = None
    size: int | None = None
    extensions: tuple[str, ...] | None = None


class BrokenRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule an upload breaks, in the reference's word, and what would have been right."""

    reason: str
    detail: str | int | None = None


_SENTENCES: Mapping[str, str] = {
    "nfo_required": "An NFO is required.",
    "description_required": "A description is required.",
    "description_too_short": "The description is too short.",
    "size_too_large": "The content is larger than this site takes.",
    "extension_not_allowed": "A file of the content is of a kind this site does not take.",
    "title_blocklisted": "The title holds something this site does not take.",
    "title_pattern_mismatch": "The title has not the form its category asks for.",
}


def evolve(_before: RuleBook | None, envelope: Envelope) -> RuleBook:
    """The rules after one more fact, which holds them all."""
    fact = envelope.fact
    if not isinstance(fact, UploadRulesChanged):
        raise TypeError(f"not a fact of the upload rules: {type(fact).__name__}")
    fields: dict[str, Any] = {name: getattr(fact, name) for name in UploadRules.__struct_fields__}
    return RuleBook(
        version=envelope.originator_version,
        rules=UploadRules(**fields),
        changed_by=envelope.meta.actor,
    )


def change_upload_rules(
    book: RuleBook,
    rules: UploadRules,
    *,
    seen: int | None,
    unknown_categories: Iterable[UUID],
    fault_of: PatternFault,
) -> list[Fact]:
    """Replace all rules at once; nothing when they are so already.

    `seen` is the version they were read in, None when unknown. Raises `UploadRulesInvalid`,
    `UploadRulesChangedMeanwhile`.
    """
    if seen is not None and seen != book.version:
        raise UploadRulesChangedMeanwhile(changed_by=book.changed_by, version=book.version)
    invalid = dict(_invalid_fields(rules, frozenset(unknown_categories), fault_of))
    if invalid:
        told = "; ".join(f"{field}: {fault}" for field, fault in invalid.items())
        raise UploadRulesInvalid(told, invalid_fields=invalid)
    rules = msgspec.structs.replace(
        rules,
        required_media=tuple(name for name in MEDIA if name in rules.required_media),
        allowed_extensions=tuple(sorted(set(rules.allowed_extensions))),
        category_patterns=tuple(sorted(dict(rules.category_patterns).items())),
    )
    if rules == book.rules and book.version:
        return []
    return [UploadRulesChanged(**msgspec.structs.asdict(rules))]


def _invalid_fields(
    rules: UploadRules, unknown: frozenset[UUID], fault_of: PatternFault
) -> Iterator[tuple[str, str]]:
    if rules.description_min_length not in DESCRIPTION_MIN_LENGTHS:
        last = DESCRIPTION_MIN_LENGTHS[-1]
        yield "descriptionMinLength", f"must be between 0 and {last}"
    if rules.max_torrent_size is not None and not 1 <= rules.max_torrent_size <= LARGEST_TORRENT:
        yield "maxTorrentSize", f"must be between 1 and {LARGEST_TORRENT} bytes"
    if strange := sorted(set(rules.required_media) - set(MEDIA)):
        yield "requiredMediaIds", f"knows no {', '.join(strange)}"
    if len(rules.allowed_extensions) > EXTENSIONS:
        yield "allowedExtensions", f"at most {EXTENSIONS}"
    elif not all(_EXTENSION.fullmatch(each) for each in rules.allowed_extensions):
        yield "allowedExtensions", "each must be 1 to 16 letters or digits, without the dot"
    yield from _invalid_patterns(rules, unknown, fault_of)


def _invalid_patterns(
    rules: UploadRules, unknown: frozenset[UUID], fault_of: PatternFault
) -> Iterator[tuple[str, str]]:
    if rules.title_blocklist is not None and (fault := _fault(rules.title_blocklist, fault_of)):
        yield "titleBlocklist", fault
    if len(rules.category_patterns) > PATTERNS:
        yield "categoryPatterns", f"at most {PATTERNS}"
        return
    for category, pattern in rules.category_patterns:
        where = f"categoryPatterns.{category}"
        if category in unknown:
            yield where, "there is no such category"
        elif fault := _fault(pattern, fault_of):
            yield where, fault


def _fault(pattern: str, fault_of: PatternFault) -> str | None:
    if not 1 <= len(pattern) <= PATTERN_LENGTH:
        return f"must have 1 to {PATTERN_LENGTH} characters"
    if "\0" in pattern:
        return "must not contain NUL characters"
    return fault_of(pattern)


def extension_of(path: str) -> str:
    """The last suffix of a file's name in lower case without its dot, empty when it has none."""
    name = path.rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if dot and stem else ""


def effective_pattern(rules: UploadRules, categories: Iterable[UUID]) -> str | None:
    """The title pattern of the nearest of these categories that has one, its own first."""
    patterns = dict(rules.category_patterns)
    return next((patterns[each] for each in categories if each in patterns), None)


def anchored(pattern: str) -> str:
    """A category's pattern as it is applied: to the whole title."""
    return f"^(?:{pattern})$"


def broken_rules(
    rules: UploadRules, upload: Candidate, *, search: PatternSearch
) -> Iterator[BrokenRule]:
    """Every rule the upload breaks, in the reference's order (behaviour sheet, section 11)."""
    if upload.has_nfo is False and rules.nfo_required:
        yield BrokenRule(reason="nfo_required")
    yield from _broken_by_words(rules, upload)
    yield from _broken_by_content(rules, upload)
    if rules.title_blocklist is not None:
        found = search(rules.title_blocklist, upload.name)
        if found is not None:
            yield BrokenRule(reason="title_blocklisted", detail=found)
    pattern = effective_pattern(rules, upload.categories)
    wanted = pattern is not None and rules.title_pattern_enforced
    if pattern is not None and wanted and search(anchored(pattern), upload.name) is None:
        yield BrokenRule(reason="title_pattern_mismatch", detail=anchored(pattern))


def _broken_by_words(rules: UploadRules, upload: Candidate) -> Iterator[BrokenRule]:
    words = len(upload.description.strip())
    if rules.description_required and not words:
        yield BrokenRule(reason="description_required")
    elif rules.description_required and words < rules.description_min_length:
        yield BrokenRule(reason="description_too_short", detail=rules.description_min_length)
    for database in rules.required_media:
        if getattr(upload.media, database) is None:
            yield BrokenRule(reason=f"{database}_required")


def _broken_by_content(rules: UploadRules, upload: Candidate) -> Iterator[BrokenRule]:
    limit = rules.max_torrent_size
    if upload.size is not None and limit is not None and upload.size > limit:
        yield BrokenRule(reason="size_too_large", detail=limit)
    if upload.extensions is not None and rules.allowed_extensions:
        strange = sorted(set(upload.extensions) - set(rules.allowed_extensions))
        if strange:
            yield BrokenRule(reason="extension_not_allowed", detail=strange[0])


def subject_of(reason: str) -> str:
    """What a rule looks at: "file", "description", "title" or "media"."""
    if reason in {"nfo_required", "size_too_large", "extension_not_allowed"}:
        return "file"
    if reason.startswith(("description_", "title_")):
        return reason.partition("_")[0]
    return "media"


def require_rules(broken: Iterable[BrokenRule]) -> None:
    """Raises `UploadRuleBroken` for the first rule broken, if any."""
    for rule in broken:
        told = _SENTENCES.get(rule.reason, f"An id is required: {rule.reason.partition('_')[0]}.")
        raise UploadRuleBroken(told, reason=rule.reason, detail=rule.detail)
