"""What the names in an import file stand for here: members, categories and torrents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from hashlib import sha256
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from application.import_lines import (
    CategoryLine,
    CommentLine,
    FavoriteLine,
    ImportLineInvalid,
    Line,
    MemberLine,
    TorrentFiles,
    TorrentLine,
    valid_time,
)
from application.imports import (
    ImportedCategory,
    ImportedComment,
    ImportedFavorite,
    ImportedMember,
    ImportedTorrent,
    ImportLineRefused,
    Item,
    imported_verifier,
)
from domain import taxonomy, torrents, users
from domain.errors import DomainError
from domain.favorites import favorite_id
from domain.imports import import_id
from domain.kernel import Claim, Envelope
from domain.media_ids import parse_media_ids

REMEMBERED: Final = 100_000
"""Names kept in memory; the log knows the rest."""
MOST_CREDIT: Final = 2**60
MOST_INVITES: Final = 100_000

V = TypeVar("V")


class Bulk(Protocol):
    """The log's answers for many at once (`application.store.bulk`)."""

    def claim_owners(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]: ...

    def first_facts(self, originators: Iterable[UUID]) -> Mapping[UUID, Envelope]: ...

    def existing(self, originators: Iterable[UUID]) -> Set[UUID]: ...

    def account_numbers(self, count: int) -> list[int]: ...

    def torrent_numbers(self, count: int) -> list[int]: ...


class PlainLine:
    """A line with its number and what was read beside it."""

    __slots__ = ("files", "line", "number")

    def __init__(self, number: int, line: Line, files: TorrentFiles | None = None) -> None:
        self.number = number
        self.line = line
        self.files = files


class _Recent(Generic[V]):
    """The names of late, two generations; `most` 0 keeps all.

    What is known when some lines are looked up stays known until they are resolved: only
    `forget`, between them, lets names go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def forget(self) -> None:
        """Let the older generation go when the younger one has its `most` names."""
        if self._most and len(self._young) >= self._most:
            self._young, self._old = {}, self._young

    def get(self, name: str) -> V | None:
        found = self._young.get(name)
        if found is None and (found := self._old.get(name)) is not None:
            # Asked for again, so it is worth keeping.
            self._young[name] = found
        return found

    def put(self, name: str, value: V) -> None:
        self._young[name] = value


class Names:
    """Resolves lines in their order; what a line adds is known to the next ones.

    With `rehearsing` nothing is taken from the log's sequences, and every name is kept, as
    nothing will be in the log to look up.
    """

    def __init__(
        self, bulk: Bulk, name: str, *, now: datetime, rehearsing: bool, most: int = REMEMBERED
    ) -> None:
        most = 0 if rehearsing else most
        self._bulk = bulk
        self._import = import_id(name)
        self._now = now
        self._rehearsing = rehearsing
        self._members: _Recent[tuple[UUID, int]] = _Recent(most)
        self._torrents: _Recent[UUID] = _Recent(most)
        self._categories: _Recent[UUID] = _Recent(most)
        # Only so that one that comes twice is passed over before the log knows it.
        self._favorites: _Recent[UUID] = _Recent(REMEMBERED)
        self.known_categories = 0

    def resolve(self, lines: Sequence[PlainLine]) -> list[Item]:
        """The items of these lines. Raises `ImportLineRefused` for the first bad one."""
        for shelf in (self._members, self._torrents, self._categories, self._favorites):
            shelf.forget()
        self._look_up(lines)
        self._look_up_favorites(lines)
        accounts = self._numbers(lines, MemberLine)
        numbers = self._numbers(lines, TorrentLine)
        items: list[Item] = []
        for plain in lines:
            try:
                match plain.line:
                    case MemberLine() as member:
                        items.append(self._member(plain.number, member, next(accounts)))
                    case TorrentLine() as torrent:
                        items.append(self._torrent(plain, torrent, next(numbers)))
                    case CategoryLine() as category:
                        items.extend(self._category(plain.number, category))
                    case CommentLine() as comment:
                        items.append(self._comment(plain.number, comment))
                    case FavoriteLine() as favorite:
                        items.extend(self._favorite(plain.number, favorite))
                    case _:
                        raise ImportLineInvalid('only the first line is of kind "import"')
            except DomainError as refusal:
                raise ImportLineRefused(refusal.text, line=plain.number) from refusal
        return items

    def _member(self, number: int, line: MemberLine, dense: int) -> ImportedMember:
        users.require_username(line.name)
        if self._members.get(line.name.casefold()) is not None:
            raise users.UsernameTaken()
        if line.downloaded:
            raise ImportLineInvalid(
                "downloaded: no fact records a total downloaded elsewhere; "
                "leave it out, and give the credit to start with as uploaded"
            )
        if not 0 <= line.uploaded <= MOST_CREDIT:
            raise ImportLineInvalid(f"uploaded: must be 0 to {MOST_CREDIT} bytes")
        if not 0 <= line.invites <= MOST_INVITES:
            raise ImportLineInvalid(f"invites: must be 0 to {MOST_INVITES}")
        at = valid_time(line.registered_at, "registeredAt", self._now)
        account = self._id(number, at)
        self._members.put(line.name.casefold(), (account, dense))
        password = line.password
        return ImportedMember(
            line=number,
            at=at,
            account=account,
            number=dense,
            name=line.name,
            roles=line.roles,
            invites=line.invites,
            uploaded=line.uploaded,
            verifier=imported_verifier(password.salt, password.verifier, password.iterations)
            if password
            else None,
        )

    def _category(self, number: int, line: CategoryLine) -> Iterator[ImportedCategory]:
        """The category, unless the site has one of this slug: then that one is meant."""
        slug = line.slug or taxonomy.slugify(line.name)
        if self._categories.get(slug) is not None:
            self.known_categories += 1
            return
        parent = None if line.parent is None else self._category_of(line.parent, "parent")
        at = valid_time(line.created_at or self._now, "createdAt", self._now)
        category = self._id(number, at)
        self._categories.put(slug, category)
        yield ImportedCategory(
            line=number,
            at=at,
            category=category,
            parent=parent,
            name=line.name,
            slug=slug,
            newznab_id=line.newznab_id,
            type=line.type,
            icon=line.icon,
            is_adult=line.is_adult,
        )

    def _torrent(self, plain: PlainLine, line: TorrentLine, dense: int) -> ImportedTorrent:
        files = plain.files
        if files is None:
            raise TypeError("a torrent's file is read with its line")
        uploader, uploader_number = self._member_of(line.uploader, "uploader")
        at = valid_time(line.uploaded_at, "uploadedAt", self._now)
        hashes = [claim.value for claim in _hashes(files)]
        if any(self._torrents.get(known) is not None for known in hashes):
            raise torrents.TorrentExists()
        torrent = self._id(plain.number, at)
        for known in hashes:
            self._torrents.put(known, torrent)
        return ImportedTorrent(
            line=plain.number,
            at=at,
            torrent=torrent,
            number=dense,
            uploader=uploader,
            uploader_number=uploader_number,
            files=files,
            details=torrents.torrent_details(
                name=line.name or files.original.name[: torrents.NAME_LENGTH],
                description=line.description,
                category=None
                if line.category is None
                else self._category_of(line.category, "category"),
                media=parse_media_ids(
                    imdb=line.imdb_id,
                    tmdb=line.tmdb_id,
                    tvdb=line.tvdb_id,
                    igdb=line.igdb_id,
                    openlibrary=line.openlibrary_id,
                ),
                tags=line.tags,
            ),
            accepted=line.accepted,
        )

    def _comment(self, number: int, line: CommentLine) -> ImportedComment:
        at = valid_time(line.posted_at, "postedAt", self._now)
        return ImportedComment(
            line=number,
            at=at,
            comment=self._id(number, at),
            torrent=self._torrent_of(line.torrent, "torrent"),
            author=self._member_of(line.author, "author")[0],
            text=line.text,
        )

    def _favorite(self, number: int, line: FavoriteLine) -> Iterator[ImportedFavorite]:
        """The favourite, unless the member has or had it: then his own last word counts."""
        at = valid_time(line.added_at, "addedAt", self._now)
        member = self._member_of(line.member, "member")[0]
        torrent = self._torrent_of(line.torrent, "torrent")
        pair = str(favorite_id(member, torrent))
        if self._favorites.get(pair) is None:
            self._favorites.put(pair, torrent)
            yield ImportedFavorite(line=number, at=at, member=member, torrent=torrent)

    # Names

    def _member_of(self, name: str, field: str) -> tuple[UUID, int]:
        found = self._members.get(name.casefold())
        if found is None:
            raise ImportLineInvalid(
                f"{field}: there is no member {name!r}; the line that names him must come first"
            )
        return found

    def _torrent_of(self, info_hash: str, field: str) -> UUID:
        found = self._torrents.get(torrents.hash_claim(info_hash).value)
        if found is None:
            raise ImportLineInvalid(
                f"{field}: there is no torrent {info_hash!r}; its line must come first"
            )
        return found

    def _category_of(self, slug: str, field: str) -> UUID:
        found = self._categories.get(slug)
        if found is None:
            raise ImportLineInvalid(
                f"{field}: there is no category {slug!r}; its line must come first"
            )
        return found

    def _look_up(self, lines: Sequence[PlainLine]) -> None:
        """Ask the log for all names in these lines that memory does not know."""
        wanted: set[Claim] = set()
        for plain in lines:
            for claim in _named_in(plain):
                if self._shelf(claim).get(claim.value) is None:
                    wanted.add(claim)
        if not wanted:
            return
        owners = self._bulk.claim_owners(wanted)
        members = {c: owner for c, owner in owners.items() if c.kind == _MEMBER}
        first = self._bulk.first_facts(members.values()) if members else {}
        for claim, owner in owners.items():
            if claim.kind == _MEMBER:
                fact = first[owner].fact
                if isinstance(fact, users.AccountRegistered):
                    self._members.put(claim.value, (owner, fact.number))
            else:
                shelf = self._torrents if claim.kind == _TORRENT else self._categories
                shelf.put(claim.value, owner)

    def _look_up_favorites(self, lines: Sequence[PlainLine]) -> None:
        """Ask the log which of these favourites it knows; those of new names are new."""
        wanted: set[UUID] = set()
        for plain in lines:
            if isinstance(plain.line, FavoriteLine):
                member = self._members.get(plain.line.member.casefold())
                torrent = self._torrents.get(torrents.hash_claim(plain.line.torrent).value)
                if member is not None and torrent is not None:
                    wanted.add(favorite_id(member[0], torrent))
        for pair in self._bulk.existing(wanted) if wanted else ():
            self._favorites.put(str(pair), pair)

    def _shelf(self, claim: Claim) -> _Recent[UUID] | _Recent[tuple[UUID, int]]:
        if claim.kind == _MEMBER:
            return self._members
        return self._torrents if claim.kind == _TORRENT else self._categories

    def _numbers(self, lines: Sequence[PlainLine], kind: type) -> Iterator[int]:
        count = sum(isinstance(plain.line, kind) for plain in lines)
        if self._rehearsing:
            return iter([0] * count)
        take = self._bulk.account_numbers if kind is MemberLine else self._bulk.torrent_numbers
        return iter(take(count))

    def _id(self, line: int, at: datetime) -> UUID:
        """A UUIDv7 (RFC 9562) of that time, the same for this line whenever it is made.

        Lines of one millisecond keep their order, up to 4,096 of them.
        """
        number = line.to_bytes(8, "big")
        raw = bytearray(int(at.timestamp() * 1000).to_bytes(6, "big"))
        raw += (0x7000 | line & 0xFFF).to_bytes(2, "big")
        raw += sha256(self._import.bytes + number).digest()[:8]
        raw[8] = raw[8] & 0x3F | 0x80
        return UUID(bytes=bytes(raw))


_MEMBER: Final = users.username_claim("").kind
_TORRENT: Final = torrents.hash_claim("").kind


def _hashes(files: TorrentFiles) -> tuple[Claim, ...]:
    return torrents.hash_claims(
        files.stored.info_hash,
        files.stored.info_hash_v2,
        files.original.info_hash,
        files.original.info_hash_v2,
    )


def _named_in(plain: PlainLine) -> Iterator[Claim]:
    """Every name a line takes or refers to."""
    match plain.line:
        case MemberLine(name=name):
            yield users.username_claim(name)
        case CategoryLine(name=name, slug=slug, parent=parent):
            yield taxonomy.slug_claim(slug or taxonomy.slugify(name))
            if parent is not None:
                yield taxonomy.slug_claim(parent)
        case TorrentLine(uploader=uploader, category=category):
            yield users.username_claim(uploader)
            if category is not None:
                yield taxonomy.slug_claim(category)
            if plain.files is not None:
                yield from _hashes(plain.files)
        case (
            CommentLine(author=member, torrent=torrent)
            | FavoriteLine(member=member, torrent=torrent)
        ):
            yield users.username_claim(member)
            yield torrents.hash_claim(torrent)
