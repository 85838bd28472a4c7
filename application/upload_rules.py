"""Changing the upload rules, and holding uploads to them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from application.bus import Actor, Handler, Unit
from application.moderation import is_staff
from application.ports import EventLogPort
from application.taxonomy import load_category
from application.title_patterns import pattern_fault, search_title
from domain import taxonomy, upload_rules, users
from domain.media_ids import MediaIds
from domain.metainfo import Metainfo
from domain.upload_rules import BrokenRule, Candidate, RuleBook, UploadRules


class ChangeUploadRules(msgspec.Struct, frozen=True, kw_only=True):
    """Replace all rules at once. `seen` is the version they were read in.

    The two lists stand for those of `rules`; one that is not given stays as it is. Of the media
    ids that of TMDB is asked for by `tmdb_required` alone.
    """

    rules: UploadRules
    tmdb_required: bool
    required_media: tuple[str, ...] | UnsetType = UNSET
    allowed_extensions: tuple[str, ...] | UnsetType = UNSET
    seen: int | None = None


def handle_change_upload_rules(unit: Unit, command: ChangeUploadRules) -> RuleBook:
    """Change them; the rules as they are now. Raises `UploadRulesInvalid`,
    `UploadRulesChangedMeanwhile`.
    """
    book = load_rule_book(unit)
    rules = _rules_of(command, book.rules)
    named = {category for category, _ in rules.category_patterns}
    try:
        facts = upload_rules.change_upload_rules(
            book,
            rules,
            seen=command.seen,
            unknown_categories=[each for each in named if load_category(unit, each) is None],
            fault_of=pattern_fault,
        )
    except upload_rules.UploadRulesChangedMeanwhile as refusal:
        raise _told_by_whom(unit, book, refusal) from None
    if not facts:
        return book
    unit.record(upload_rules.RULES_ID, book.version, facts)
    changed = next(fact for fact in facts if isinstance(fact, upload_rules.UploadRulesChanged))
    return RuleBook(
        version=book.version + 1,
        rules=UploadRules(**msgspec.structs.asdict(changed)),
        changed_by=unit.actor.account,
    )


def _rules_of(command: ChangeUploadRules, before: UploadRules) -> UploadRules:
    """The rules that are asked for, what was not sent being as it is by now."""
    media, extensions = command.required_media, command.allowed_extensions
    others = before.required_media if media is UNSET else media
    return msgspec.structs.replace(
        command.rules,
        required_media=(
            *(each for each in others if each != "tmdb"),
            *(("tmdb",) if command.tmdb_required else ()),
        ),
        allowed_extensions=before.allowed_extensions if extensions is UNSET else extensions,
    )


def load_rule_book(facts: Unit | EventLogPort) -> RuleBook:
    """The rules in force."""
    return facts.load(upload_rules.RULES_ID, upload_rules.evolve) or RuleBook()


def bypasses_rules(rules: UploadRules, actor: Actor | None) -> bool:
    """Whether this caller's uploads are not held to the rules."""
    return rules.staff_bypass and is_staff(actor)


def candidate(
    *,
    name: str,
    description: str,
    category: taxonomy.Category | None,
    media: MediaIds,
    content: Metainfo | None = None,
    has_nfo: bool | None = None,
) -> Candidate:
    """An upload as rules see it; `content` None where the file is not in question."""
    above = (category.id, category.parent) if category else ()
    extensions = None
    if content is not None:
        extensions = tuple({upload_rules.extension_of(file.path) for file in content.files})
    return Candidate(
        name=name,
        description=description,
        categories=tuple(each for each in above if each is not None),
        media=media,
        has_nfo=has_nfo,
        size=content.size if content else None,
        extensions=extensions,
    )


def rules_broken_by(rules: UploadRules, upload: Candidate) -> Iterator[BrokenRule]:
    """Every rule the upload breaks, whoever sends it."""
    return upload_rules.broken_rules(rules, upload, search=search_title)


def _told_by_whom(
    unit: Unit, book: RuleBook, refusal: upload_rules.UploadRulesChangedMeanwhile
) -> upload_rules.UploadRulesChangedMeanwhile:
    changed_by = None
    if book.changed_by is not None:
        changed_by = member_named(unit, book.changed_by)
    return type(refusal)(refusal.text, changed_by=changed_by, version=book.version)


def member_named(unit: Unit, account: UUID) -> dict[str, str | None]:
    """A member as refusals name him."""
    found = unit.load(account, users.evolve)
    return {"id": str(account), "username": found.username if found else None}


HANDLERS: dict[type, Handler] = {ChangeUploadRules: handle_change_upload_rules}
