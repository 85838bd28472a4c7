"""Uploading a torrent: one append for the torrent, its moderation thread and its files."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Actor, Handler, TakenErrors, Unit
from application.moderation import is_staff
from application.ports import EventLogPort
from application.taxonomy import load_category
from application.upload_rules import bypasses_rules, candidate, load_rule_book, rules_broken_by
from domain import moderation, torrents, upload_rules
from domain.auto_tags import infer_tags, with_inferred
from domain.errors import Invalid, TooLarge
from domain.media_ids import MediaIds
from domain.metainfo import Metainfo, read_metainfo, store_private
from domain.permissions import Permission
from domain.upload_rules import BrokenRule

NFO_BYTES = 256 * 1024


class CategoryUnknown(Invalid):
    """The category of an upload does not exist."""

    code = "category_unknown"
    message = "categoryId: there is no such category"


class NfoTooLarge(TooLarge):
    """An NFO is a page of text, not an archive."""

    code = "nfo_too_large"
    message = f"nfo: must have at most {NFO_BYTES} bytes"


class UploadTorrent(msgspec.Struct, frozen=True, kw_only=True):
    """Upload a .torrent file; without a name the one inside it is used."""

    torrent: UUID
    file: bytes
    name: str | None = None
    description: str = ""
    category: UUID | None = None
    tags: tuple[str, ...] = ()
    media: MediaIds = MediaIds()
    nfo: bytes | None = None


class TorrentUploaded(msgspec.Struct, frozen=True, kw_only=True):
    """The torrent as it was stored.

    `info_hash_changed` says that `private=1` had to be added: clients that have the original
    file must download the stored one.
    """

    torrent: UUID
    number: int
    info_hash: str
    info_hash_v2: str | None
    original_info_hash: str | None
    info_hash_changed: bool
    name: str
    size: int
    file_count: int
    status: moderation.ModerationStatus
    created_at: datetime


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload would say of itself, and the rules it breaks."""

    details: torrents.TorrentDetails
    broken: tuple[BrokenRule, ...]


def bypass_of(actor: Actor) -> moderation.Bypass | None:
    """Why this member's uploads need no moderation, None when they do."""
    if is_staff(actor):
        return "staff"
    if Permission.CAN_UPLOAD_WITHOUT_MODERATION.value in actor.permissions:
        return "role"
    return None


def handle_upload_torrent(unit: Unit, command: UploadTorrent) -> TorrentUploaded:
    """Store it. Raises `MetainfoRefused`, `MetainfoTooLarge`, `NfoTooLarge`,
    `TorrentDetailsInvalid`, `CategoryUnknown`, `UploadRuleBroken`, `TorrentExists`.

    Whether the hashes are free is asked first for a clear answer, and decided by the claims of
    the append itself.
    """
    original = read_metainfo(command.file)
    rehearsed = _rehearse(unit, command, original, unit.actor)
    upload_rules.require_rules(rehearsed.broken)
    details = rehearsed.details
    content, stored = store_private(command.file, original)
    for claim in torrents.hash_claims(
        stored.info_hash, stored.info_hash_v2, original.info_hash, original.info_hash_v2
    ):
        if unit.claim_owner(claim) is not None:
            raise torrents.TorrentExists()
    number = unit.log.next_torrent_number()
    facts = torrents.upload_torrent(
        stored,
        original,
        details,
        number=number,
        uploader=unit.actor.account,
        uploader_number=unit.actor.number,
        file_ref=unit.blob(content),
        nfo_ref=unit.blob(command.nfo) if command.nfo else None,
    )
    unit.record(command.torrent, 0, facts)
    bypass = bypass_of(unit.actor)
    unit.record(
        moderation.thread_id(command.torrent),
        0,
        moderation.open_moderation(
            torrent=command.torrent, uploader=unit.actor.account, bypass=bypass
        ),
    )
    changed = original.info_hash != stored.info_hash
    return TorrentUploaded(
        torrent=command.torrent,
        number=number,
        info_hash=stored.info_hash,
        info_hash_v2=stored.info_hash_v2,
        original_info_hash=original.info_hash if changed else None,
        info_hash_changed=changed,
        name=details.name,
        size=stored.size,
        file_count=stored.file_count,
        status="accepted" if bypass else "pending",
        created_at=unit.at,
    )


def rehearse_upload(
    log: EventLogPort, command: UploadTorrent, content: Metainfo, actor: Actor
) -> Rehearsal:
    """What would become of an upload of this content; nothing changes.

    Raises `NfoTooLarge`, `TorrentDetailsInvalid`, `CategoryUnknown`.
    """
    return _rehearse(log, command, content, actor)


def _rehearse(
    facts: Unit | EventLogPort, command: UploadTorrent, metainfo: Metainfo, actor: Actor
) -> Rehearsal:
    if command.nfo is not None and len(command.nfo) > NFO_BYTES:
        raise NfoTooLarge()
    category = load_category(facts, command.category) if command.category else None
    if command.category is not None and category is None:
        raise CategoryUnknown()
    given = torrents.torrent_details(
        name=command.name or metainfo.name[: torrents.NAME_LENGTH],
        description=command.description,
        category=command.category,
        media=command.media,
        tags=command.tags,
    )
    broken: tuple[BrokenRule, ...] = ()
    rules = load_rule_book(facts).rules
    if not bypasses_rules(rules, actor):
        upload = candidate(
            name=given.name,
            description=given.description,
            category=category,
            media=given.media,
            content=metainfo,
            has_nfo=bool(command.nfo),
        )
        broken = tuple(rules_broken_by(rules, upload))
    inferred = infer_tags(given.name, nfo_text(command.nfo) if command.nfo else "")
    details = torrents.torrent_details(
        name=given.name,
        description=given.description,
        category=given.category,
        media=given.media,
        tags=with_inferred(given.tags, inferred),
    )
    return Rehearsal(details=details, broken=broken)


_BOX_SIGNS = frozenset(b"\xf9\xfa\xfe\xff")
"""Small squares and dots of code page 437 among the letters of Latin-1."""


def nfo_text(content: bytes) -> str:
    """An NFO as text: UTF-8 where it nearly is, else code page 437 as NFOs always were, but
    Latin-1 where what is not ASCII is mostly its lower-case letters, which 437 has elsewhere.
    """
    text = content.decode("utf-8", "replace")
    if text.count("\ufffd") > max(2, len(text) // 100):
        high = [byte for byte in content if byte >= 0x80]
        letters = sum(byte >= 0xE0 and byte not in _BOX_SIGNS for byte in high)
        is_latin = min(high) >= 0xC0 and 2 * letters > len(high)
        text = content.decode("latin-1" if is_latin else "cp437")
    return text.replace("\0", "\ufffd")


HANDLERS: dict[type, Handler] = {UploadTorrent: handle_upload_torrent}
TAKEN: TakenErrors = {"torrent.info_hash": torrents.TorrentExists}
