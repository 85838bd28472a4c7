"""Any bytes at all: read, or refused in words, and never slowly."""

from __future__ import annotations

import sys
import time

from bencodepy import BencodeDecodeError, decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.metainfo import (
    Metainfo,
    MetainfoRefused,
    read_metainfo,
    splice_private,
    store_private,
)
from tests.kit.corpus import corpus

FILES = [sample.read() for sample in corpus() if len(sample.read()) < 20_000]
A_SECOND = 1.0 if sys.gettrace() is None else 10.0

scraps = st.sampled_from(
    [
        *b"d l e i1e i-1e i0e 0: 4:info 6:pieces 5:files 4:path 6:lengthi1e 99999999:".split(),
        *(b"7:privatei0e", b"9:file tree", b"12:meta versioni2e"),
    ]
)


def read_or_refused(content: bytes) -> Metainfo | None:
    start = time.process_time()
    try:
        return read_metainfo(content)
    except MetainfoRefused:
        return None
    finally:
        assert time.process_time() - start < A_SECOND


def check_stored(content: bytes, metainfo: Metainfo) -> None:
    """Whatever was accepted is stored so that reading it again says the same."""
    file, expected = store_private(content, metainfo)
    assert read_metainfo(file) == expected
    assert splice_private(file, expected) == file
    assert set(decode(file)) <= set(decode(content.rstrip()))
    start, end = metainfo.info_span
    before, after = metainfo.private_span
    raw = content[start:before] + content[after:end]
    assert raw == file[expected.info_span[0] : expected.info_span[1]].replace(
        b"7:privatei1e", b"", 1
    ) or (b"7:privatei1e" in raw)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_refused_in_words(content: bytes) -> None:
    read_or_refused(content)


@given(st.lists(scraps | st.binary(max_size=6), max_size=60))
@settings(max_examples=300, deadline=None)
def test_scraps_of_bencode_are_refused_in_words(pieces: list[bytes]) -> None:
    read_or_refused(b"".join(pieces))


@given(
    content=st.sampled_from(FILES),
    changes=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True), st.integers(0, 12), scraps | st.binary(max_size=4)
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=600, deadline=None)
def test_real_files_with_some_bytes_changed(
    content: bytes, changes: list[tuple[float, int, bytes]]
) -> None:
    for where, cut, put in changes:
        at = int(where * len(content))
        content = content[:at] + put + content[at + cut :]
    metainfo = read_or_refused(content)
    if metainfo is not None:
        check_stored(content, metainfo)


leaves = st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40)
keys = st.sampled_from([b"name", b"files", b"length", b"path", b"attr", b"pieces", b"private"])
odd_values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys | st.binary(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(content=st.sampled_from(FILES), key=keys | st.binary(max_size=8), value=odd_values)
@settings(max_examples=400, deadline=None)
def test_info_with_any_value_under_any_key(content: bytes, key: bytes, value: object) -> None:
    try:
        outer = decode(content)
    except BencodeDecodeError:
        return
    if not isinstance(outer, dict) or not isinstance(outer.get(b"info"), dict):
        return
    outer[b"info"][key] = value
    changed = encode(outer)
    metainfo = read_or_refused(changed)
    if metainfo is not None:
        check_stored(changed, metainfo)
