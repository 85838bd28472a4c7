"""Importing a community: what a batch of lines becomes, recorded in one append or not at all."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from application.bus import Handler, Unit
from application.import_lines import ImportLineInvalid, TorrentFiles
from application.password_proofs import ITERATIONS, VERIFIER_ID, VERIFIER_KIND, Verifier
from application.roles import load_role_book
from application.tags import load_tags
from application.taxonomy import load_category
from domain import comments, favorites, imports, moderation, taxonomy, torrents, users
from domain.errors import DomainError, Invalid
from domain.kernel import Envelope, Fact, Meta
from domain.permissions import ADMINISTRATOR, BUILT_IN
from domain.roles import RoleBook
from domain.tags import Tag

GRANTED = "held where the community came from"
PROOF_BYTES = 32
"""Length of salts and verifiers, as clients make them."""


class ImportLineRefused(Invalid):
    """A line of the file can't be imported; `data["line"]` says which."""

    code = "import_line_refused"


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """One line, its references resolved. `line` is its number, `at` when it happened."""

    line: int
    at: datetime


class ImportedMember(Imported, frozen=True, kw_only=True):
    """A member to register."""

    account: UUID
    number: int
    name: str
    roles: tuple[str, ...]
    invites: int
    uploaded: int
    verifier: Verifier | None


class ImportedCategory(Imported, frozen=True, kw_only=True):
    """A category to create."""

    category: UUID
    parent: UUID | None
    name: str
    slug: str
    newznab_id: int | None
    type: taxonomy.CategoryType | None
    icon: str | None
    is_adult: bool


class ImportedTorrent(Imported, frozen=True, kw_only=True):
    """A torrent to upload, and to accept unless it is to go through the queue."""

    torrent: UUID
    number: int
    uploader: UUID
    uploader_number: int
    files: TorrentFiles
    details: torrents.TorrentDetails
    accepted: bool


class ImportedComment(Imported, frozen=True, kw_only=True):
    """A comment to post."""

    comment: UUID
    torrent: UUID
    author: UUID
    text: str


class ImportedFavorite(Imported, frozen=True, kw_only=True):
    """A torrent to add to a member's favourites, who never had it among them."""

    member: UUID
    torrent: UUID


Item = ImportedMember | ImportedCategory | ImportedTorrent | ImportedComment | ImportedFavorite


class ImportLines(msgspec.Struct, frozen=True, kw_only=True):
    """Import the lines behind `after` up to `line` of the file of this name.

    `digest` is of the file's bytes up to there, `kid` the key passkeys are made under now. With
    `ends` the file ends here.
    """

    name: str
    after: int
    line: int
    digest: str
    kid: int
    items: tuple[Item, ...]
    ends: bool = False


class LinesImported(msgspec.Struct, frozen=True, kw_only=True):
    """How many facts the lines became, those of the import itself apart."""

    facts: int


def load_import(unit: Unit, name: str) -> imports.Import:
    """The import of this name as of now. Raises `ImportNameInvalid`."""
    return imports.standing(unit.newest(imports.import_id(name)))


class _Batch:
    """What the lines of one command share."""

    def __init__(
        self, unit: Unit, command: ImportLines, categories: dict[UUID, taxonomy.Category]
    ) -> None:
        self.unit = unit
        self.kid = command.kid
        self.facts = 0
        self.categories = categories
        self.book: RoleBook | None = None
        self.tags: dict[str, Tag] = load_tags(unit, _slugs(command.items))

    def record(self, item: Imported, aggregate: UUID, facts: Sequence[Fact]) -> None:
        """Record a new aggregate's facts at the time they happened."""
        self.unit.record(aggregate, 0, facts, at=item.at)
        self.facts += len(facts)


def handle_import_lines(unit: Unit, command: ImportLines) -> LinesImported:
    """Record them. Raises `ImportElsewhere`, and `ImportLineRefused` for the first bad line."""
    return _import_lines(unit, command, {})


def rehearse_lines(
    unit: Unit, command: ImportLines, categories: dict[UUID, taxonomy.Category]
) -> LinesImported:
    """Decide as the handler does, of a unit that is never saved.

    `categories` holds those of the lines before, which are not in the log, and those of these
    lines afterwards. Refusals as in `handle_import_lines`.
    """
    return _import_lines(unit, command, categories)


def _import_lines(
    unit: Unit, command: ImportLines, categories: dict[UUID, taxonomy.Category]
) -> LinesImported:
    state = load_import(unit, command.name)
    batch = _Batch(unit, command, categories)
    for item in command.items:
        try:
            _record_item(batch, item)
        except DomainError as refusal:
            raise ImportLineRefused(refusal.text, line=item.line) from refusal
    facts = imports.advance_import(
        state, command.name, after=command.after, line=command.line, digest=command.digest
    )
    if command.ends:
        facts = [*facts, *imports.end_import(command.line)]
    unit.record(imports.import_id(command.name), state.version, facts)
    return LinesImported(facts=batch.facts)


def _record_item(batch: _Batch, item: Item) -> None:
    match item:
        case ImportedComment():
            facts = comments.post_comment(
                torrent=item.torrent, author=item.author, content=item.text
            )
            batch.record(item, item.comment, facts)
        case ImportedFavorite():
            facts = favorites.favorite_torrent(favorites.Favorite(), item.member, item.torrent)
            batch.record(item, favorites.favorite_id(item.member, item.torrent), facts)
        case ImportedTorrent():
            _record_torrent(batch, item)
        case ImportedMember():
            _record_member(batch, item)
        case ImportedCategory():
            _record_category(batch, item)


def _record_member(batch: _Batch, item: ImportedMember) -> None:
    facts = users.register_account(
        item.number, item.name, kid=batch.kid, starter_upload=item.uploaded, invites=item.invites
    )
    account = users.account_after(item.account, facts)
    for role in dict.fromkeys(_role(batch, name) for name in item.roles):
        facts = [*facts, *users.grant_role(account, role, reason=GRANTED)]
    batch.record(item, item.account, facts)
    if item.verifier is not None:
        kept = msgspec.json.encode(item.verifier)
        batch.unit.put(VERIFIER_KIND, item.account, VERIFIER_ID, kept)


def _record_category(batch: _Batch, item: ImportedCategory) -> None:
    facts = taxonomy.create_category(
        _category(batch, item.parent) if item.parent else None,
        name=item.name,
        slug=item.slug,
        newznab_id=item.newznab_id,
        type=item.type,
        icon=item.icon,
        is_adult=item.is_adult,
    )
    created = next(fact for fact in facts if isinstance(fact, taxonomy.CategoryCreated))
    if created.slug != item.slug:
        # Later lines name it by its slug, so both sides must mean the same word.
        raise ImportLineInvalid(f"slug: must be {created.slug}, which it gets on this site")
    batch.record(item, item.category, facts)
    command = batch.unit.context.command
    meta = Meta(at=item.at, actor=None, command=command, correlation=command)
    batch.categories[item.category] = taxonomy.evolve(
        None, Envelope(originator_id=item.category, originator_version=1, meta=meta, fact=created)
    )


def _record_torrent(batch: _Batch, item: ImportedTorrent) -> None:
    files = item.files
    if item.details.category is not None:
        # Looked up before the command; it may have been removed since.
        _category(batch, item.details.category)
    facts = torrents.upload_torrent(
        files.stored,
        files.original,
        _with_tags_left(batch, item),
        number=item.number,
        uploader=item.uploader,
        uploader_number=item.uploader_number,
        file_ref=batch.unit.blob(files.content),
        nfo_ref=batch.unit.blob(files.nfo) if files.nfo else None,
    )
    batch.record(item, item.torrent, facts)
    opened = moderation.open_moderation(
        torrent=item.torrent, uploader=item.uploader, bypass="import" if item.accepted else None
    )
    batch.record(item, moderation.thread_id(item.torrent), opened)


def _with_tags_left(batch: _Batch, item: ImportedTorrent) -> torrents.TorrentDetails:
    """Its details without the tags removed after it happened.

    A removal unbinds a tag from whatever bears it by then, and `application.tags.tags_left`
    would find it unbound. Read models go by order of recording and would show the tag, so it
    must not be in the fact at all.
    """
    left = (
        name for name in item.details.tags if batch.tags[taxonomy.slugify(name)].stays_on(item.at)
    )
    return msgspec.structs.replace(item.details, tags=tuple(left))


def _slugs(items: Sequence[Item]) -> set[str]:
    """Of all tags in these lines."""
    names = {
        name for item in items if isinstance(item, ImportedTorrent) for name in item.details.tags
    }
    return {taxonomy.slugify(name) for name in names}


def _category(batch: _Batch, category: UUID) -> taxonomy.Category | None:
    if category not in batch.categories:
        found = load_category(batch.unit, category)
        if found is None:
            raise taxonomy.CategoryNotFound()
        batch.categories[category] = found
    return batch.categories[category]


def _role(batch: _Batch, name: str) -> str:
    """The role of this name, by the word or id that facts use."""
    if name == ADMINISTRATOR:
        raise ImportLineInvalid(
            "roles: a file makes nobody administrator; use trackarr user grant afterwards"
        )
    if name in BUILT_IN:
        return name
    if batch.book is None:
        batch.book = load_role_book(batch.unit)
    for role, shape in batch.book.roles.items():
        if shape.name.casefold() == name.casefold():
            return role
    raise ImportLineInvalid(f"roles: this site has no role {name!r}; make it first")


def imported_verifier(salt: bytes, verifier: bytes, iterations: int) -> Verifier:
    """A password's verifier as the vault keeps it. Raises `ImportLineInvalid`.

    Rounds and lengths must be the site's own: asked for a salt, it makes one up for names nobody
    has, and a real one that looked different would tell who is a member.
    """
    if iterations != ITERATIONS:
        raise ImportLineInvalid(f"password.iterations: must be {ITERATIONS}")
    for field, value in (("salt", salt), ("verifier", verifier)):
        if len(value) != PROOF_BYTES:
            raise ImportLineInvalid(f"password.{field}: must be {PROOF_BYTES} bytes as base64")
    return Verifier(salt=b64encode(salt).decode(), verifier=b64encode(verifier).decode())


HANDLERS: dict[type, Handler] = {ImportLines: handle_import_lines}
