"""Each rule of metainfo files, broken once: the refusal names the fault."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from bencodepy import Bencached, encode

from domain.metainfo import MetainfoRefused, read_metainfo

GONE = object()
ROOT = b"\x07" * 32


def v1(**changes: Any) -> bytes:
    """A sound v1 file of 5 bytes, changed."""
    info: dict[str, Any] = {
        "length": 5,
        "name": "x",
        "piece length": 16384,
        "pieces": bytes(20),
    }
    return whole(info, changes)


def v1_folder(*files: Any, pieces: int = 1, **changes: Any) -> bytes:
    return v1(length=GONE, files=list(files), pieces=bytes(20 * pieces), **changes)


def v2(tree: Any, layers: Any = GONE, **changes: Any) -> bytes:
    info = {"file tree": tree, "meta version": 2, "name": "x", "piece length": 16384}
    return whole(info, changes, {} if layers is GONE else {"piece layers": layers})


def whole(
    info: dict[str, Any], changes: dict[str, Any], outer: dict[str, Any] | None = None
) -> bytes:
    changed = {**info, **{name.replace("_", " "): value for name, value in changes.items()}}
    kept = {name: value for name, value in changed.items() if value is not GONE}
    return encode({**(outer or {}), "info": kept})


def file(*path: Any, length: Any = 5, **more: Any) -> dict[str, Any]:
    return {"path": list(path), "length": length, **more}


def leaf(length: Any = 5, root: Any = ROOT, **more: Any) -> dict[str, Any]:
    return {"": {"length": length, "pieces root": root, **more}}


def fault_of(content: bytes) -> str:
    with pytest.raises(MetainfoRefused) as refused:
        read_metainfo(content)
    return refused.value.fault


INT = [
    "i-5e",
    "i-0e",
    "i03e",
    "i+1e",
    "ie",
    "i1.0e",
    "i1",
    "i9223372036854775808e",
    "i-9223372036854775809e",
]


@pytest.mark.parametrize("number", [number.encode() for number in INT])
def test_numbers_must_be_written_in_the_one_right_way(number: bytes) -> None:
    fault = fault_of(v1(length=Bencached(number)))
    assert fault in ("integer_invalid", "integer_overflow", "length_invalid")


@pytest.mark.parametrize(
    ("content", "fault", "offset"),
    [
        (b"", "truncated", 0),
        (b"d", "truncated", 1),
        (b"d1:a", "truncated", 4),
        (b"5:abcd", "truncated", 0),
        (b"01:a", "string_invalid", 0),
        (b"1x:a", "string_invalid", 0),
        (b"300", "string_invalid", 0),
        (b"x", "byte_unexpected", 0),
        (b"e", "end_unexpected", 0),
        (b"d1:ae", "end_unexpected", 4),
        (b"di1e1:ae", "key_invalid", 1),
        (b"d1:a0:1:a0:e", "key_repeated", 6),
        (b"d1:b0:1:a0:1:b0:e", "key_repeated", 11),
        (b"i12345678901234567890e", "integer_overflow", 0),
        (b"i9223372036854775808e", "integer_overflow", 0),
        (b"de x", "trailing_bytes", 2),
        (
            b"d4:info" + b"d" + b"".join(b"4:%04d0:" % n for n in range(1001)) + b"ee",
            "too_many_keys",
            8008,
        ),
        (b"i1e", "not_a_dictionary", 0),
        (b"d4:infolee", "info_missing", None),
    ],
)
def test_bencode_must_be_strict(content: bytes, fault: str, offset: int | None) -> None:
    with pytest.raises(MetainfoRefused) as refused:
        read_metainfo(content)
    assert (refused.value.fault, refused.value.data["offset"]) == (fault, offset)
    assert ("at byte" in refused.value.text) == (offset is not None)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (v1(name=GONE), "name_missing"),
        (v1(name=5), "name_missing"),
        (v1(name=" .. "), "name_missing"),
        (v1(name="n" * 1025), "name_too_long"),
        (v1(piece_length=GONE), "piece_length_invalid"),
        (v1(piece_length=0), "piece_length_invalid"),
        (v1(piece_length=2**29 + 1), "piece_length_invalid"),
        (v1(pieces=GONE), "pieces_invalid"),
        (v1(pieces=bytes(19)), "pieces_invalid"),
        (v1(pieces=b""), "pieces_count"),
        (v1(pieces=bytes(40)), "pieces_count"),
        (v1(length=GONE), "files_unclear"),
        (v1(files=[file("a")]), "files_unclear"),
        (v1(length=-1), "length_invalid"),
        (v1(length="5"), "length_invalid"),
        (v1(length=0, pieces=b""), "no_content"),
        (v1(length=GONE, files=5), "no_files"),
        (v1_folder(), "no_files"),
        (v1_folder("a"), "file_invalid"),
        (v1_folder(file()), "path_invalid"),
        (v1_folder({"length": 5}), "path_invalid"),
        (v1_folder(file("a", 5)), "path_invalid"),
        (v1_folder(file("a\0b")), "path_invalid"),
        (v1_folder(file("a", "..", "b")), "path_escapes"),
        (v1_folder(file("a/../b")), "path_escapes"),
        (v1_folder(file("..\\b")), "path_escapes"),
        (v1(name="a/.."), "path_escapes"),
        (v1(name="a\0"), "path_invalid"),
        (v1(**{"name.utf-8": "../b"}), "path_escapes"),
        (v1_folder(file("a", **{"path.utf-8": [".."]})), "path_escapes"),
        (v1_folder(file("a", **{"symlink path": ["..", "etc"]})), "path_escapes"),
        (v1_folder(file("a" * 4097)), "path_too_long"),
        (v1_folder(file("a", attr=["p"])), "attr_invalid"),
        (v1_folder(file("a", length=2**63 - 1), file("b")), "size_overflow"),
        (v1_folder(file("p", attr="p")), "no_content"),
        (v1_folder(*[file("a")] * 51), "files_repeated"),
        (v1_folder(*[file(str(n)) for n in range(20_001)], pieces=7), "too_many_files"),
        (v1(meta_version=1), "version_unknown"),
        (v1(meta_version=2), "file_tree_invalid"),
        (v2(GONE), "file_tree_invalid"),
        (v2({}), "no_content"),
        (v2({"a": 5}), "file_tree_invalid"),
        (v2({"a": {"": 5}}), "file_tree_invalid"),
        (v2(leaf()), "file_tree_invalid"),
        (v2({"a": {**leaf(), "b": leaf()}}), "file_tree_invalid"),
        (v2({"..": leaf()}), "path_escapes"),
        (v2({"a": leaf(length=-1)}), "length_invalid"),
        (v2({"a": leaf(length=0, root="no root")}), "no_content"),
        (v2({"a": leaf(root="short")}), "pieces_root_invalid"),
        (v2({"a": leaf(root=7)}), "pieces_root_invalid"),
        (v2({"a": leaf()}, piece_length=8192), "piece_length_invalid"),
        (v2({"a": leaf()}, piece_length=16385), "piece_length_invalid"),
        (v2({"a": leaf()}, layers=[]), "piece_layers_invalid"),
        (v2({"a": leaf()}, layers={b"\x08" * 32: b""}), "piece_layers_invalid"),
        (v2({"a": leaf(length=16385)}), "piece_layers_invalid"),
        (v2({"a": leaf(length=16385)}, layers={ROOT: bytes(32)}), "piece_layers_invalid"),
        (v2({"a": leaf(length=16385)}, layers={ROOT: bytes(64)}), "piece_layers_invalid"),
        (
            v2({"a": leaf(length=16385), "b": leaf(length=40000)}, layers={ROOT: bytes(64)}),
            "piece_layers_invalid",
        ),
    ],
)
def test_each_rule_names_its_fault(content: bytes, fault: str) -> None:
    assert fault_of(content) == fault


def hybrid(v1_files: list[Any], tree: Any, pieces: int = 1) -> bytes:
    return v2(tree, files=v1_files, pieces=bytes(20 * pieces))


PAD = file(".pad", "16379", length=16379, attr="p")


def test_a_hybrid_describes_the_same_files_twice() -> None:
    read_metainfo(hybrid([file("a"), PAD, file("b")], {"a": leaf(), "b": leaf()}, pieces=2))


@pytest.mark.parametrize(
    "content",
    [
        hybrid([file("a")], {"b": leaf()}),
        hybrid([file("a", length=6)], {"a": leaf()}),
        hybrid([file("b"), PAD, file("a")], {"a": leaf(), "b": leaf()}, pieces=2),
        hybrid([file("a"), file("b")], {"a": leaf(), "b": leaf()}),
        v2({"y": leaf()}, length=5, pieces=bytes(20)),
    ],
    ids=["name", "length", "order", "no pad", "single"],
)
def test_a_hybrid_that_contradicts_itself_is_refused(content: bytes) -> None:
    assert fault_of(content) == "hybrid_mismatch"


def test_v2_wants_keys_in_order_also_deep_in_the_tree_but_not_outside_of_info() -> None:
    sound = v2({"a": leaf(), "b": leaf()})
    read_metainfo(sound[:-1] + b"1:b0:1:a0:e")
    moved = sound.replace(
        b"6:lengthi5e11:pieces root32:" + ROOT, b"11:pieces root32:" + ROOT + b"6:lengthi5e", 1
    )
    assert fault_of(moved) == "keys_unsorted"


def test_v1_takes_keys_in_any_order_as_old_tools_wrote_them() -> None:
    read_metainfo(b"d4:infod4:name1:x6:lengthi5e6:pieces20:" + bytes(20) + b"12:piece lengthi5eee")


@pytest.mark.parametrize("pieces", [2, 3, 4, 5, 7])
def test_a_piece_layer_hashes_to_its_root_whatever_its_length(pieces: int) -> None:
    """Piece length 32 KiB: one level of zero blocks below the layer (BEP 52)."""
    blank = sha256(bytes(64)).digest()
    layer = [bytes([number]) * 32 for number in range(pieces)]
    width = 1 << (pieces - 1).bit_length()
    level = layer + [blank] * (width - pieces)
    while len(level) > 1:
        level = [sha256(a + b).digest() for a, b in zip(level[::2], level[1::2], strict=True)]
    tree = {"a": leaf(length=pieces * 32768, root=level[0])}
    content = v2(tree, layers={level[0]: b"".join(layer)}, piece_length=32768)
    assert read_metainfo(content).size == pieces * 32768


def test_files_of_the_same_content_share_one_layer() -> None:
    layer = bytes(64)
    root = sha256(layer).digest()
    tree = {"a": leaf(length=20000, root=root), "b": leaf(length=20000, root=root)}
    assert read_metainfo(v2(tree, layers={root: layer})).file_count == 2


def test_empty_files_and_links_of_v2_need_no_root() -> None:
    tree = {"a": leaf(), "b": {"": {"length": 0}}, "c": {"": {"attr": "l", "symlink path": ["a"]}}}
    assert [each.length for each in read_metainfo(v2(tree)).files] == [5, 0, 0]


def test_better_names_are_shown_and_hide_nothing() -> None:
    metainfo = read_metainfo(
        v1_folder(
            file("old", **{"path.utf-8": ["d\u00e9", "a\u202egpj.exe"]}),
            file("\u0001", b"\xff\xfe", ".", ""),
            **{"name.utf-8": "n/\\..."},
        )
    )
    assert metainfo.name == "n__..."
    assert [each.path for each in metainfo.files] == [
        "n__.../d\u00e9/a_gpj.exe",
        "n__.../_/\ufffd\ufffd",
    ]


@pytest.mark.parametrize("better", [5, "", "n" * 1025])
def test_a_better_name_that_is_none_is_passed_over(better: Any) -> None:
    assert read_metainfo(v1(**{"name.utf-8": better})).name == "x"


def test_fifty_files_of_one_path_and_deep_lists_elsewhere_are_no_fault() -> None:
    deep = Bencached(b"l" * 97 + b"e" * 97)
    metainfo = read_metainfo(v1_folder(*[file("a")] * 50, x_odd=deep))
    assert metainfo.file_count == 50


def test_the_largest_number_is_read() -> None:
    assert read_metainfo(v1(x=2**63 - 1, y=-(2**63), z=-1)).size == 5
