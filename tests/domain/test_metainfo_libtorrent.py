"""Files libtorrent makes from real folders: accepted, same hashes, same content."""

from __future__ import annotations

from pathlib import Path

import libtorrent
import pytest

from domain.metainfo import read_metainfo, store_private

PIECE = 32 * 1024
CONTENT = {
    "a/empty": 0,
    "a/one piece": PIECE,
    "a/small": 5,
    "b/c/several pieces": 5 * PIECE + 1,
    "b/c/twin": 5 * PIECE + 1,
    "é": 3 * PIECE,
    "z.exe": 17_000,
}
FORMATS = {
    "v1": libtorrent.create_torrent.v1_only,
    "v2": libtorrent.create_torrent.v2_only,
    "hybrid": 0,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in CONTENT.items():
        path = tmp_path / "content" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(number % 251 for number in range(size)))
    (tmp_path / "content" / "z.exe").chmod(0o755)
    return tmp_path


def made(path: Path, flags: int, *, private: bool = False) -> bytes:
    made = libtorrent.create_torrent(
        libtorrent.list_files(str(path), lambda _: True, flags), piece_size=PIECE, flags=flags
    )
    made.set_priv(private)
    made.add_tracker("http://tracker.example/announce")
    made.add_url_seed("http://seed.example/")
    libtorrent.set_piece_hashes(made, str(path.parent))
    return bytes(libtorrent.bencode(made.generate()))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("private", [False, True])
def test_a_folder_is_read_as_it_was_made(folder: Path, kind: str, private: bool) -> None:
    content = made(folder / "content", FORMATS[kind], private=private)
    metainfo = read_metainfo(content)
    assert (metainfo.kind, metainfo.is_private) == (kind, private)
    expected = {f"content/{name}": size for name, size in CONTENT.items()}
    assert dict(metainfo.files) == expected
    assert metainfo.size == sum(CONTENT.values())
    assert metainfo.piece_length == PIECE


@pytest.mark.parametrize("kind", FORMATS)
def test_a_single_file_is_read_as_it_was_made(folder: Path, kind: str) -> None:
    metainfo = read_metainfo(made(folder / "content" / "é", FORMATS[kind]))
    assert metainfo.files == (("é", 3 * PIECE),)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_stored_file_is_the_one_libtorrent_makes_private(folder: Path, kind: str) -> None:
    content = made(folder / "content", FORMATS[kind])
    _, stored = store_private(content, read_metainfo(content))
    asked = read_metainfo(made(folder / "content", FORMATS[kind], private=True))
    assert stored.info_hash_v1 == asked.info_hash_v1
    assert stored.info_hash_v2 == asked.info_hash_v2
    hashes = libtorrent.load_torrent_buffer(
        made(folder / "content", FORMATS[kind])
    ).ti.info_hashes()
    before = read_metainfo(content)
    assert before.info_hash_v1 in (None, str(hashes.v1))
    assert before.info_hash_v2 in (None, str(hashes.v2))


def test_all_kinds_of_one_folder_share_their_content_signature(folder: Path) -> None:
    signatures = {
        read_metainfo(made(folder / "content", flags)).content_signature
        for flags in FORMATS.values()
    }
    assert len(signatures) == 1
