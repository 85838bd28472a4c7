"""Metainfo files: the corpus, hashes, what is shown of paths, and hostile bytes."""

from __future__ import annotations

import contextlib
import os
import sys
from hashlib import sha256

import pytest
from bencodepy import encode

from domain.metainfo import (
    MAX_BYTES,
    ContentFile,
    MetainfoRefused,
    MetainfoTooLarge,
    content_signature,
    read_metainfo,
    stored_values,
)
from tests.kit.corpus import ACCEPTED, FOLDER, REFUSED, Sample, sample
from tests.kit.processor_time import least_seconds

FAULTS = {
    "missing_piece_len.torrent": "piece_length_invalid",
    "invalid_piece_len.torrent": "piece_length_invalid",
    "no_name.torrent": "name_missing",
    "bad_name.torrent": "key_repeated",
    "invalid_info.torrent": "info_missing",
    "string.torrent": "not_a_dictionary",
    "negative_size.torrent": "length_invalid",
    "invalid_path_list.torrent": "path_invalid",
    "invalid_pieces.torrent": "pieces_invalid",
    "unaligned_pieces.torrent": "pieces_invalid",
    "many_pieces.torrent": "pieces_count",
    "no_files.torrent": "no_files",
    "zero.torrent": "no_content",
    "v2_mismatching_metadata.torrent": "hybrid_mismatch",
    "v2_deep_recursion.torrent": "too_deep",
    "v2_invalid_piece_layer.torrent": "piece_layers_invalid",
    "v2_unordered_files.torrent": "keys_unsorted",
    "v2_overlong_integer.torrent": "integer_invalid",
    "duplicate_files2.torrent": "files_repeated",
    "v2_large_file.torrent": "piece_layers_invalid",
    "corrupt.torrent": "name_missing",
}


def test_the_corpus_is_whole() -> None:
    files = {path.name for path in FOLDER.glob("*.torrent")}
    assert files == {row.name for row in (*ACCEPTED, *REFUSED)}
    assert len(files) == 46
    assert {row.name for row in REFUSED} == set(FAULTS)


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_an_accepted_file_has_the_hashes_of_its_raw_info(row: Sample) -> None:
    metainfo = read_metainfo(row.read())
    assert (metainfo.info_hash_v1, metainfo.info_hash_v2) == (row.v1, row.v2)
    assert metainfo.info_hash == (row.v1 or str(row.v2)[:40])
    assert (metainfo.kind, metainfo.is_private) == (row.kind, row.is_private)
    assert metainfo.size == sum(file.length for file in metainfo.files) > 0
    assert metainfo.file_count == len(metainfo.files)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_a_refused_file_is_told_its_fault(row: Sample) -> None:
    with pytest.raises(MetainfoRefused) as refused:
        read_metainfo(row.read())
    assert refused.value.fault == FAULTS[row.name]
    assert refused.value.text.startswith("torrent: ")


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("base", ["temp"]),
        ("slash_path", ["temp/_/_/bar"]),
        ("absolute_filename", ["temp/abcde", "temp/_foobar"]),
        ("empty_path", ["temp/_"]),
        ("symlink1", ["temp/a/b/bar", "temp/a/b/foo"]),
        ("duplicate_files", ["temp/foo/bar.txt", "temp/foo/bar.txt"]),
        ("v1-multi", ["tname/file1.dat", "tname/dict/file2.dat"]),
        ("hybrid-single", ["file1.dat"]),
    ],
)
def test_odd_paths_are_cleaned_for_display(name: str, paths: list[str]) -> None:
    assert [file.path for file in read_metainfo(sample(name)).files] == paths


def test_pad_files_are_no_content() -> None:
    metainfo = read_metainfo(sample("v2_hybrid"))
    assert not any(file.path.endswith(("280339", "464896")) for file in metainfo.files)
    assert metainfo.files[0].length == 6_535_405


def test_a_symbolic_link_has_no_size() -> None:
    assert read_metainfo(sample("symlink1")).size == 425


def test_the_content_signature_is_the_one_web_clients_compute() -> None:
    files = [ContentFile("Show/E02.mkv", 2000), ContentFile("Show/E01.mkv", 1000)]
    expected = "9f018d0a00c06257d3fed5d989664772315c991fadef26f9da4eb06aea8a7360"
    assert content_signature(files) == expected


def test_the_content_signature_is_one_for_both_unicode_forms_and_all_torrent_kinds() -> None:
    composed, decomposed = ContentFile("\u00e9", 1), ContentFile("e\u0301", 1)
    assert content_signature([composed]) == content_signature([decomposed])
    v2 = read_metainfo(sample("v2_only"))
    hybrid = read_metainfo(sample("v2_multipiece_file"))
    assert v2.info_hash != hybrid.info_hash
    assert v2.content_signature == hybrid.content_signature


def test_the_content_signature_orders_paths_by_utf_16() -> None:
    astral, private_use = ContentFile("\U0001f600", 1), ContentFile("\uffff", 1)
    assert content_signature([private_use, astral]) == content_signature([astral, private_use])
    told = '[{"path":"\U0001f600","length":1},{"path":"\uffff","length":1}]'
    assert content_signature([private_use, astral]) == sha256(told.encode()).hexdigest()


def test_a_line_feed_may_follow_the_file() -> None:
    plain = read_metainfo(sample("base"))
    assert read_metainfo(sample("base") + b"\r\n") == plain


# Under a coverage tracer the same work takes several times as long.
A_SECOND = 1.0 if sys.gettrace() is None else 10.0


def seconds(content: bytes) -> float:
    """Processor time of reading."""

    def read() -> None:
        with contextlib.suppress(MetainfoRefused):
            read_metainfo(content)

    return least_seconds(read, A_SECOND)


def text(raw: bytes) -> bytes:
    return b"%d:%s" % (len(raw), raw)


def many_files_hybrid(count: int) -> bytes:
    """A hybrid of `count` files, each with its pad file: the largest real kind."""
    names = [b"%08d" % number for number in range(count)]
    v1 = b"".join(
        b"d6:lengthi16384e4:pathl%seed4:attr1:p6:lengthi0e4:pathl4:.pad1:0ee" % text(name)
        for name in names
    )
    leaf = b"d0:d6:lengthi16384e11:pieces root32:" + os.urandom(32) + b"ee"
    tree = b"".join(text(name) + leaf for name in names)
    return (
        b"d4:infod9:file treed" + tree + b"e5:filesl" + v1 + b"e12:meta versioni2e4:name1:x"
        b"12:piece lengthi16384e6:pieces" + text(bytes(20 * count)) + b"ee"
    )


def deep_v2(count: int) -> bytes:
    leaf = b"d0:d6:lengthi16384e11:pieces root32:" + bytes(32) + b"ee"
    leaves = b"".join(text(b"%08d" % number) + leaf for number in range(count))
    tree = b"d" + b"1:ad" * 93 + leaves + b"e" * 93 + b"e"
    return b"d4:infod9:file tree" + tree + b"12:meta versioni2e4:name1:x12:piece lengthi16384eee"


def large_layer() -> bytes:
    layer = bytes(9 * 1024 * 1024)
    size = len(layer) // 32 * 16384
    info = (
        b"d9:file treed1:ad0:d6:lengthi%de11:pieces root32:" % size
        + bytes(32)
        + b"eee12:meta versioni2e4:name1:x12:piece lengthi16384ee"
    )
    return b"d4:info" + info + b"12:piece layersd32:" + bytes(32) + text(layer) + b"ee"


HOSTILE = {
    "lists": (b"l" * 25_000, "too_deep"),
    "dictionaries": (b"d1:a" * 25_000, "too_deep"),
    "length": (b"9999999999:", "string_invalid"),
    "long length": (b"1" * 1_000_000, "string_invalid"),
    "digits": (b"i" + b"9" * 1_000_000 + b"e", "integer_invalid"),
    "empty strings": (b"l" + b"0:" * (MAX_BYTES // 2 - 1) + b"e", "too_many_items"),
    "numbers": (b"l" + b"i0e" * (MAX_BYTES // 3 - 1) + b"e", "too_many_items"),
    "empty lists": (b"l" + b"le" * (MAX_BYTES // 2 - 1) + b"e", "too_many_items"),
    "keys": (b"d" + b"".join(b"6:%06d0:" % n for n in range(900_000)) + b"e", "too_many_keys"),
    "inner keys": (
        b"d1:ad1:bd" + b"".join(b"6:%06d0:" % n for n in range(900_000)) + b"eee",
        "too_many_items",
    ),
    "files": (many_files_hybrid(20_001), "too_many_files"),
    "deep tree": (deep_v2(20_001), "too_many_files"),
    "piece layer": (large_layer(), "piece_layers_invalid"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_within_a_second(name: str) -> None:
    content, fault = HOSTILE[name]
    with pytest.raises(MetainfoRefused) as refused:
        read_metainfo(content)
    assert refused.value.fault == fault
    took = seconds(content)
    # A slow machine may take longer: as long as ten times a quarter of the largest good one.
    assert took < A_SECOND or took < 10 * seconds(many_files_hybrid(5_000))


def test_a_hybrid_of_20000_files_and_pads_is_read_within_a_second() -> None:
    content = many_files_hybrid(20_000)
    metainfo = read_metainfo(content)
    # A slow machine may take longer, if about in proportion to the files: the square is sixteen.
    assert seconds(content) < max(A_SECOND, 10 * seconds(many_files_hybrid(5_000)))
    assert (metainfo.kind, metainfo.file_count) == ("hybrid", 20_000)


def test_more_than_ten_mebibytes_are_too_large() -> None:
    padded = encode({"comment": bytes(MAX_BYTES)})
    with pytest.raises(MetainfoTooLarge):
        read_metainfo(padded)


def test_stored_values_are_raw() -> None:
    assert stored_values(sample("base"))[b"info"].startswith(b"d6:lengthi425e")
    with pytest.raises(MetainfoRefused):
        stored_values(b"le")
