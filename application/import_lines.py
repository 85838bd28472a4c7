"""Lines of an import file (docs/import.md): what each kind may say, read strictly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from application.password_proofs import ITERATIONS
from domain.errors import Invalid
from domain.imports import FORMAT
from domain.metainfo import MAX_BYTES, Metainfo, read_metainfo, store_private
from domain.taxonomy import CategoryType

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No BitTorrent community is older."""
MOST_BYTES: Final = 2 * 1024 * 1024 + 4 * MAX_BYTES // 3
"""The longest line: a .torrent of the largest size as base64, and a long description."""


class ImportLineInvalid(Invalid):
    """A line can't be imported; the text says what is wrong with it."""

    code = "import_line_invalid"


class _Line(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    tag_field="kind",
):
    """What all kinds have in common."""


class HeadingLine(_Line, frozen=True, tag="import"):
    """The first line: the format's version, and the name that tells this import from others."""

    name: str
    format: int


class PasswordPart(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A password as Trackarr keeps it, in base64: the salt, and SHA-256 of PBKDF2-HMAC-SHA256."""

    salt: bytes
    verifier: bytes
    iterations: int = ITERATIONS


class MemberLine(_Line, frozen=True, tag="member"):
    """A member. `uploaded` is the credit in bytes he starts with."""

    name: str
    registered_at: datetime
    roles: tuple[str, ...] = ()
    invites: int = 0
    uploaded: int = 0
    downloaded: int = 0
    password: PasswordPart | None = None


class CategoryLine(_Line, frozen=True, tag="category"):
    """A category; `parent` is the slug of the one above it."""

    name: str
    slug: str | None = None
    parent: str | None = None
    newznab_id: int | None = None
    type: CategoryType | None = None
    icon: str | None = None
    is_adult: bool = False
    created_at: datetime | None = None


class TorrentLine(_Line, frozen=True, tag="torrent"):
    """A torrent; the file is `content` (base64), or `file`, a path beside the import file."""

    uploader: str
    uploaded_at: datetime
    file: str | None = None
    content: bytes | None = None
    name: str | None = None
    description: str = ""
    category: str | None = None
    tags: tuple[str, ...] = ()
    imdb_id: str | None = None
    tmdb_id: str | None = None
    tvdb_id: str | None = None
    igdb_id: str | None = None
    openlibrary_id: str | None = None
    nfo: str | None = None
    accepted: bool = True


class CommentLine(_Line, frozen=True, tag="comment"):
    """A comment on a torrent, which is named by an info hash."""

    torrent: str
    author: str
    posted_at: datetime
    text: str


class FavoriteLine(_Line, frozen=True, tag="favorite"):
    """A torrent among a member's favourites."""

    torrent: str
    member: str
    added_at: datetime


Line = HeadingLine | MemberLine | CategoryLine | TorrentLine | CommentLine | FavoriteLine
_DECODER: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


class TorrentFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The file of a torrent line: as it came and as it is stored, and its NFO."""

    original: Metainfo
    stored: Metainfo
    content: bytes
    nfo: bytes | None


def read_line(raw: bytes) -> Line:
    """One line. Raises `ImportLineInvalid`."""
    if len(raw) > MOST_BYTES:
        raise ImportLineInvalid(f"it is longer than {MOST_BYTES} bytes")
    try:
        return _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise ImportLineInvalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImportLineInvalid(f"it is not JSON in UTF-8: {error}") from None


def read_heading(raw: bytes) -> HeadingLine:
    """The first line. Raises `ImportLineInvalid` when it is none, or of a newer format."""
    line = read_line(raw)
    if not isinstance(line, HeadingLine):
        raise ImportLineInvalid('the first line must be of kind "import"')
    if line.format != FORMAT:
        raise ImportLineInvalid(f"format: this version reads {FORMAT}, not {line.format}")
    return line


def valid_time(at: datetime, field: str, now: datetime) -> datetime:
    """A time of the past, in UTC. Raises `ImportLineInvalid`."""
    if at.tzinfo is None:
        raise ImportLineInvalid(f"{field}: must have a time zone, as in 2020-01-31T12:00:00Z")
    try:
        moment = at.astimezone(UTC)
    except OverflowError:
        raise ImportLineInvalid(f"{field}: out of range") from None
    if not EARLIEST <= moment <= now + timedelta(minutes=1):
        raise ImportLineInvalid(f"{field}: must lie between the year 2000 and now")
    return moment


def read_files(line: TorrentLine, folder: Path, *, nfo_bytes: int) -> TorrentFiles:
    """The .torrent and the NFO of a line; `folder` is the import file's own.

    Raises `ImportLineInvalid`, and what `read_metainfo` raises.
    """
    if (line.file is None) == (line.content is None):
        raise ImportLineInvalid("give either file or content")
    if line.content is not None:
        came = line.content
    else:
        came = _beside(folder, line.file or "", "file", most=MAX_BYTES + 1)
    nfo = _beside(folder, line.nfo, "nfo", most=nfo_bytes + 1) if line.nfo else None
    if nfo is not None and len(nfo) > nfo_bytes:
        raise ImportLineInvalid(f"nfo: must have at most {nfo_bytes} bytes")
    original = read_metainfo(came)
    content, stored = store_private(came, original)
    return TorrentFiles(original=original, stored=stored, content=content, nfo=nfo)


def _beside(folder: Path, name: str, field: str, *, most: int) -> bytes:
    """The first `most` bytes of a file in `folder` or below it, never elsewhere."""
    try:
        path = (folder / name).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()):
            raise ImportLineInvalid(f"{field}: must lie in the import file's folder")
        with path.open("rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else "no file name"
        raise ImportLineInvalid(f"{field}: {name!r} can't be read: {told}") from None
