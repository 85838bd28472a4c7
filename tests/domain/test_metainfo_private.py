"""Making files private: exact hashes, nothing else of `info` touched, trackers gone."""

from __future__ import annotations

from hashlib import sha1

import libtorrent
import pytest
from bencodepy import Bencached, decode, encode

from domain.metainfo import read_metainfo, splice_private, store_private
from tests.kit.corpus import ACCEPTED, Sample, sample

PIECES = bytes(20)
INFO = {"length": 5, "name": "x", "piece length": 16384, "pieces": PIECES}


def stored(info: bytes, **outer: object) -> bytes:
    content = encode({**outer, "info": Bencached(info)})
    return splice_private(content, read_metainfo(content))


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_the_stored_file_has_the_hash_its_private_info_must_have(row: Sample) -> None:
    content = row.read()
    original = read_metainfo(content)
    file, metainfo = store_private(content, original)
    assert file == splice_private(content, original)
    assert metainfo == read_metainfo(file)
    assert metainfo.is_private
    assert metainfo.info_hash_v1 == row.v1_if_private
    assert (metainfo.info_hash == original.info_hash) == row.is_private
    assert metainfo.content_signature == original.content_signature
    assert splice_private(file, metainfo) == file


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_a_client_reads_the_same_hashes_from_the_stored_file(row: Sample) -> None:
    content = row.read()
    file, metainfo = store_private(content, read_metainfo(content))
    seen = libtorrent.load_torrent_buffer(file).ti
    hashes = seen.info_hashes()
    assert seen.priv()
    if metainfo.info_hash_v1 is not None:
        assert str(hashes.v1) == metainfo.info_hash_v1
    if metainfo.info_hash_v2 is not None:
        assert str(hashes.v2) == metainfo.info_hash_v2


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_trackers_web_seeds_and_nodes_of_others_are_gone(row: Sample) -> None:
    content = row.read()
    outer = decode(splice_private(content, read_metainfo(content)))
    kept = {b"info", b"piece layers", b"comment", b"created by", b"creation date", b"encoding"}
    assert set(outer) <= kept
    before = decode(content.rstrip(b"\n"))
    assert all(outer[key] == before[key] for key in set(outer) - {b"info"})
    assert (b"piece layers" in outer) == (b"piece layers" in before)


def test_unknown_keys_of_info_and_their_bytes_are_kept() -> None:
    info = encode({**INFO, "source": "elsewhere", "x_odd": [1, {"a": b"\xff"}]})
    at = info.index(b"6:source")
    assert stored(info) == b"d4:info" + info[:at] + b"7:privatei1e" + info[at:] + b"e"


def test_private_goes_last_when_nothing_sorts_after_it() -> None:
    info = encode(INFO)
    assert stored(info) == b"d4:info" + info[:-1] + b"7:privatei1ee" + b"e"


def test_keys_out_of_order_stay_where_they_are() -> None:
    info = b"d4:name1:x6:lengthi5e6:source1:s12:piece lengthi16384e6:pieces20:" + PIECES + b"e"
    expected = info.replace(b"6:source", b"7:privatei1e6:source")
    assert stored(info) == b"d4:info" + expected + b"e"


@pytest.mark.parametrize("value", [b"i0e", b"i2e", b"1:1", b"le", b"d1:ai1ee"])
def test_another_value_of_private_is_replaced(value: bytes) -> None:
    info = encode({**INFO, "private": Bencached(value), "source": "s"})
    file = stored(info)
    assert file == b"d4:info" + encode({**INFO, "private": 1, "source": "s"}) + b"e"


def test_a_private_info_is_not_touched() -> None:
    info = encode({**INFO, "private": 1})
    content = b"d8:announce3:url4:info" + info + b"e"
    file, metainfo = store_private(content, read_metainfo(content))
    assert file == b"d4:info" + info + b"e"
    assert metainfo.info_hash == sha1(info).hexdigest()


def test_what_has_the_wrong_type_is_not_kept() -> None:
    file = stored(encode(INFO), comment=[["deep"]], **{"creation date": "today", "created by": "t"})
    assert set(decode(file)) == {b"info", b"created by"}


def test_the_outer_keys_are_put_in_order() -> None:
    info = encode(INFO)
    content = b"d4:info" + info + b"7:comment1:c8:encoding5:UTF-8e"
    file = splice_private(content, read_metainfo(content))
    assert list(decode(file)) == [b"comment", b"encoding", b"info"]
    assert file == encode(decode(file))


def test_a_key_named_info_within_info_confuses_nothing() -> None:
    info = encode({**INFO, "info": {"info": {"zz": 1}, "private": 1}})
    content = encode({"a": {"info": {"private": 1}}, "info": Bencached(info)})
    metainfo = read_metainfo(content)
    assert not metainfo.is_private
    file = splice_private(content, metainfo)
    assert file == b"d4:info" + info[:-1] + b"7:privatei1ee" + b"e"


def test_the_sample_without_private_changes_its_hash() -> None:
    content = sample("v2_only")
    _, metainfo = store_private(content, read_metainfo(content))
    assert metainfo.info_hash != read_metainfo(content).info_hash
    assert metainfo.info_hash_v1 is None
