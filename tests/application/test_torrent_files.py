"""The file a member downloads: his addresses around untouched `info` bytes."""

from __future__ import annotations

import libtorrent
import pytest
from bencodepy import decode

from application.torrent_files import personal_torrent, torrent_file_name
from domain.metainfo import MetainfoRefused, read_metainfo, store_private
from tests.kit.corpus import ACCEPTED, Sample, sample

KEY = "0" * 32
HTTP = f"http://127.0.0.1:8080/announce/{KEY}"
UDP = f"udp://127.0.0.1:6969/announce/{KEY}"
TIERS = ((HTTP,), (UDP,))


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_the_info_bytes_are_those_of_the_stored_file(row: Sample) -> None:
    content = row.read()
    stored, metainfo = store_private(content, read_metainfo(content))
    personal = personal_torrent(stored, TIERS)
    served = read_metainfo(personal)
    start, end = metainfo.info_span
    assert personal[served.info_span[0] : served.info_span[1]] == stored[start:end]
    assert served.info_hash_v1 == metainfo.info_hash_v1
    assert served.info_hash_v2 == metainfo.info_hash_v2


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_a_client_finds_the_recorded_hashes_and_our_addresses(row: Sample) -> None:
    content = row.read()
    stored, metainfo = store_private(content, read_metainfo(content))
    params = libtorrent.load_torrent_buffer(personal_torrent(stored, TIERS))
    hashes = params.ti.info_hashes()
    assert hashes.has_v1() == (metainfo.info_hash_v1 is not None)
    assert hashes.has_v2() == (metainfo.info_hash_v2 is not None)
    assert metainfo.info_hash_v1 in (None, str(hashes.v1))
    assert metainfo.info_hash_v2 in (None, str(hashes.v2))
    assert params.ti.priv()
    assert list(zip(params.trackers, params.tracker_tiers, strict=True)) == [(HTTP, 0), (UDP, 1)]
    assert params.ti.total_size() >= metainfo.size


def test_the_outer_dictionary_is_ordered_and_holds_http_first() -> None:
    content = sample("hybrid-single")
    stored, _ = store_private(content, read_metainfo(content))
    outer = decode(personal_torrent(stored, TIERS))
    assert list(outer) == sorted(outer)
    assert outer[b"announce"] == HTTP.encode()
    assert outer[b"announce-list"] == [[HTTP.encode()], [UDP.encode()]]
    assert outer[b"piece layers"] == decode(content)[b"piece layers"]


def test_addresses_of_a_file_that_was_not_stored_by_us_do_not_survive() -> None:
    outer = decode(personal_torrent(sample("leaves-url-list"), [[HTTP]]))
    assert outer[b"announce-list"] == [[HTTP.encode()]]
    assert b"url-list" not in outer


def test_a_broken_stored_file_is_refused() -> None:
    with pytest.raises(MetainfoRefused):
        personal_torrent(b"i1e", TIERS)


def test_the_file_name_is_safe_for_headers() -> None:
    assert torrent_file_name('Leaves "of"/Grass\r\n é') == "Leaves__of__Grass____.torrent"
