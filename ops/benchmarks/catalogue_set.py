"""A made-up community of any size, written as an import file; the same for the same seed."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import numpy as np
from bencodepy import encode

from application.password_proofs import ITERATIONS
from domain.imports import FORMAT
from domain.taxonomy import slugify
from ops.api_client import password_verifier
from ops.benchmarks import catalogue_words as words

SEED: Final = 20261128
TAGS: Final = 2_000
TAGS_EACH: Final = 5
YEARS: Final = 8
PIECE: Final = 1 << 20
LONGEST_PIECE: Final = 1 << 28
LARGEST: Final = 32 << 30
MOST_UPLOADS: Final = 300
MOST_FAVORITES: Final = 800
"""Of one member, who has no more of them in a larger community."""
RARE: Final = "quetzalcoatlus"
"""A word that stands in one name of some thousand."""
RARE_EACH: Final = 4_000
PASSWORD: Final = "of the benchmark"  # noqa: S105 (of a community in a temporary folder)
"""Of `member_name(0)`, who also comments and marks favourites most."""
_SALT: Final = base64.b64encode(bytes(32)).decode()
_BEGIN: Final = datetime(2018, 11, 1, tzinfo=UTC)
_SPAN: Final = timedelta(days=365 * YEARS)
_CHUNK: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many of everything."""

    torrents: int
    members: int
    comments: int
    favorites: int

    @classmethod
    def of(cls, scale: float) -> Shape:
        """The community of issue and notes (a million torrents) at `scale`; never without any."""
        return cls(
            torrents=max(50, round(1_000_000 * scale)),
            members=max(10, round(100_000 * scale)),
            comments=max(100, round(5_000_000 * scale)),
            favorites=max(100, round(3_000_000 * scale)),
        )


def member_name(number: int) -> str:
    return f"member-{number}"


def tag_name(number: int) -> str:
    return f"tag {number}"


def write_set(path: Path, shape: Shape, *, name: str, progress: Callable[[str], None]) -> None:
    """Write the import file of a community of that shape."""
    made = _Made(shape)
    with path.open("wb") as file:
        file.write(_line({"kind": "import", "name": name, "format": FORMAT}))
        for lines, told in (
            (made.categories(), "categories"),
            (made.members(), "members"),
            (made.torrents(), "torrents"),
            (made.comments(), "comments"),
            (made.favorites(), "favourites"),
        ):
            progress(f"writing {told}")
            for line in lines:
                file.write(line)


class _Made:
    """The lines, part by part; torrents come before what refers to them."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._random = np.random.default_rng(SEED)
        self._vocabulary = _vocabulary(self._random)
        self._hashes: list[str] = []
        self._slugs = [
            slugify(f"{root} {leaf}") for root, leaves in words.ROOTS.items() for leaf in leaves
        ]

    def categories(self) -> Iterator[bytes]:
        newznab = 1000
        for root, leaves in words.ROOTS.items():
            newznab += 1000
            yield _line(_category(root, slugify(root), None, newznab))
            for place, leaf in enumerate(leaves, 1):
                slug = slugify(f"{root} {leaf}")
                yield _line(_category(leaf, slug, slugify(root), newznab + 10 * place))

    def members(self) -> Iterator[bytes]:
        for number in range(self._shape.members):
            at = _moment(number / self._shape.members)
            line: dict[str, Any] = {
                "kind": "member",
                "name": member_name(number),
                "registeredAt": at,
            }
            if number == 0:
                # The one who is signed in; the others can't be.
                verifier = password_verifier(PASSWORD, _SALT, ITERATIONS)
                line |= {"password": {"salt": _SALT, "verifier": verifier}}
            yield _line(line)

    def torrents(self) -> Iterator[bytes]:
        count, random = self._shape.torrents, self._random
        # A few upload most: the square of an even share.
        uploaders = (random.random(count) ** 2 * self._shape.members).astype(int)
        # The first leaves of the list hold most.
        leaves = np.minimum(
            (random.random(count) ** 1.7 * len(self._slugs)).astype(int), len(self._slugs) - 1
        )
        tags = _zipf(random, TAGS, count * TAGS_EACH).reshape(count, TAGS_EACH)
        sizes = np.minimum(np.exp(random.normal(21, 1.8, count)), LARGEST).astype(np.int64) + 1
        accepted = random.random(count) < 0.97
        names = self._names(count, leaves)
        uploads: Counter[int] = Counter()
        for number in range(count):
            name = next(names)
            uploader = self._free(uploads, int(uploaders[number]), MOST_UPLOADS)
            uploads[uploader] += 1
            content = _metainfo(name, number, int(sizes[number]))
            self._hashes.append(content[1])
            yield _line(
                {
                    "kind": "torrent",
                    "uploader": member_name(uploader),
                    "uploadedAt": _moment(number / count),
                    "content": base64.b64encode(content[0]).decode(),
                    "name": name,
                    "description": f"{name}\n\nAs it was on the old site, number {number}.",
                    "category": self._slugs[leaves[number]],
                    "tags": [tag_name(int(tag)) for tag in dict.fromkeys(tags[number])],
                    "accepted": bool(accepted[number]),
                }
            )

    def comments(self) -> Iterator[bytes]:
        texts = [
            " ".join(self._random.choice(self._vocabulary, size)) for size in (4, 8, 15, 25, 40)
        ]
        for torrent, member, place in self._pairs(self._shape.comments):
            yield _line(
                {
                    "kind": "comment",
                    "torrent": self._hashes[torrent],
                    "author": member_name(member),
                    "postedAt": _moment(place),
                    "text": f"{texts[(torrent + member) % 5]} {torrent}-{member}",
                }
            )

    def favorites(self) -> Iterator[bytes]:
        seen: set[int] = set()
        marked: Counter[int] = Counter()
        for torrent, most_active, place in self._pairs(self._shape.favorites):
            member = self._free(marked, most_active, MOST_FAVORITES)
            pair = torrent * self._shape.members + member
            if pair in seen:
                continue
            seen.add(pair)
            marked[member] += 1
            yield _line(
                {
                    "kind": "favorite",
                    "torrent": self._hashes[torrent],
                    "member": member_name(member),
                    "addedAt": _moment(place),
                }
            )

    def _free(self, done: Counter[int], member: int, most: int) -> int:
        """This member, or the next one who has not done it `most` times."""
        while done[member] >= most:
            member = (member + 1) % self._shape.members
        return member

    def _pairs(self, count: int) -> Iterator[tuple[int, int, float]]:
        """Torrents by popularity, members by activity, and where in the years it was."""
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            # Old and new are equally popular: the rank is spread over the torrents.
            ranks = _spread(self._random.random(size) ** 2, self._shape.torrents)
            members = (self._random.random(size) ** 2 * self._shape.members).astype(int)
            for place in range(size):
                torrent = int(ranks[place])
                begun = torrent / self._shape.torrents
                later = begun + (1 - begun) * (start + place) / count
                yield torrent, int(members[place]), later

    def _names(self, count: int, leaves: np.ndarray[Any, Any]) -> Iterator[str]:
        random = self._random
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            script = random.random(size)
            titles = random.choice(self._vocabulary, (size, 2))
            common = random.choice(words.COMMON, size)
            years = random.integers(1950, 2027, size)
            looks = random.random((size, 4))
            for place in range(size):
                title = [common[place], *titles[place]]
                if script[place] < 0.05:
                    title = [words.CYRILLIC[int(looks[place, 3] * 20)], str(titles[place, 0])]
                    title.insert(0, words.CYRILLIC[int(looks[place, 0] * 20)])
                elif script[place] < 0.07:
                    title = [
                        words.CJK[int(looks[place, 3] * 20)] + words.CJK[int(looks[place, 0] * 20)],
                        str(titles[place, 0]),
                    ]
                elif script[place] < 0.10:
                    title[0] = words.ACCENTED[int(looks[place, 3] * len(words.ACCENTED))]
                if (start + place) % RARE_EACH == RARE_EACH // 2:
                    title[-1] = RARE
                yield _dressed(
                    title, int(years[place]), self._slugs[leaves[start + place]], looks[place]
                )


def _dressed(title: list[str], year: int, slug: str, looks: np.ndarray[Any, Any]) -> str:
    """A release name as they are: dots for spaces, and what the release is made of."""
    group = words.GROUPS[int(looks[3] * len(words.GROUPS))]
    if slug.startswith("books"):
        made = [words.TEXT_FORMATS[int(looks[0] * 3)]]
    elif slug.startswith("audio"):
        made = [words.SOUND_FORMATS[int(looks[0] * 3)]]
    else:
        made = [
            _share(words.RESOLUTIONS, words.RESOLUTION_SHARES, looks[0]),
            _share(words.SOURCES, words.SOURCE_SHARES, looks[1]),
            _share(words.CODECS, words.CODEC_SHARES, looks[2]),
        ]
    parts = [*(part.capitalize() for part in title), str(year), *made]
    return ".".join(parts) + f"-{group}"


def _share(choices: tuple[str, ...], shares: tuple[float, ...], at: float) -> str:
    for choice, share in zip(choices, shares, strict=True):
        at -= share
        if at < 0:
            return choice
    return choices[-1]


def _vocabulary(random: np.random.Generator) -> list[str]:
    """20,000 words of one to three syllables."""
    sizes = random.integers(1, 4, 20_000)
    return ["".join(random.choice(words.SYLLABLES, size)) for size in sizes]


def _zipf(random: np.random.Generator, kinds: int, count: int) -> np.ndarray[Any, Any]:
    """Numbers below `kinds`, the n-th in proportion to 1/n."""
    shares = 1 / np.arange(1, kinds + 1)
    return random.choice(kinds, count, p=shares / shares.sum())


def _spread(shares: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Ranks as numbers below `count`, neighbours far apart; each rank has one number."""
    ranks = np.minimum((shares * count).astype(np.int64), count - 1)
    step = 7_368_787  # a prime beyond any count, so that it visits every number
    spread: np.ndarray[Any, Any] = ranks * step % count
    return spread


def _moment(place: float) -> str:
    return (_BEGIN + place * _SPAN).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _metainfo(name: str, number: int, size: int) -> tuple[bytes, str]:
    """A private .torrent (BEP 3, BEP 27) of one file nobody has, and its info hash.

    Pieces grow with the content so that the file stays small, which changes nothing here.
    """
    length = PIECE
    while size > length * 4 and length < LONGEST_PIECE:
        length *= 2
    pieces = (size + length - 1) // length
    info = {
        b"length": size,
        b"name": name.encode(),
        b"piece length": length,
        b"pieces": sha1(f"{number} {name}".encode()).digest() * pieces,  # noqa: S324 (BEP 3)
        b"private": 1,
    }
    raw: bytes = encode(info)
    return b"d4:info%be" % raw, sha1(raw).hexdigest()  # noqa: S324 (BEP 3)


def _category(name: str, slug: str, parent: str | None, newznab: int) -> dict[str, Any]:
    return {
        "kind": "category",
        "name": name,
        "slug": slug,
        "parent": parent,
        "newznabId": newznab,
        "createdAt": "2018-11-01T00:00:00Z",
    }


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
