"""What shards say to each other: every frame comes back as it was, and nothing else is taken."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.running_shards import entry, hash_of, running_shards
from tests.tracker.running_tracker import Feed, account, general_key
from tracker import wire
from tracker.forwarded_frames import (
    FRAME_LIMIT,
    KIND_ANNOUNCE,
    KIND_ANSWERED,
    KIND_REFUSED,
    BrokenFrame,
    ForwardedAnnounce,
    ForwardedScrape,
    pack_announce,
    pack_frame,
    pack_refusal,
    pack_scrape,
    split_frames,
    unpack_announce,
    unpack_refusal,
    unpack_scrape,
)
from tracker.protocol.announce import AnnounceRequest
from tracker.protocol.refusals import Refusal

UINT64 = st.integers(0, 2**64 - 1)
HASH = st.binary(min_size=20, max_size=20)
ADDRESS = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)

requests = st.builds(
    AnnounceRequest,
    HASH,
    HASH,
    st.integers(0, 65_535),
    UINT64,
    UINT64,
    UINT64,
    st.integers(0, 4),
    st.integers(-1, 65_535),
    st.binary(max_size=200),
    st.booleans(),
    st.booleans(),
    st.binary(max_size=64),
)


@given(requests, ADDRESS, st.sampled_from([1, 2]), st.binary(min_size=4, max_size=4))
def test_an_announce_comes_back_whole(
    request: AnnounceRequest, address: bytes, protocol: int, transaction_id: bytes
) -> None:
    given_ = ForwardedAnnounce(request, request.passkey, address, protocol, transaction_id)
    assert unpack_announce(pack_announce(given_)) == given_


@given(st.lists(HASH, max_size=74), st.binary(max_size=64), ADDRESS)
def test_a_scrape_comes_back_whole(hashes: list[bytes], passkey: bytes, address: bytes) -> None:
    given_ = ForwardedScrape(hashes, passkey, address, 1)
    assert unpack_scrape(pack_scrape(given_)) == given_


@given(st.sampled_from(["a", "banned_client"]), st.text(max_size=80), st.integers(0, 255))
def test_a_refusal_comes_back_whole(code: str, text: str, minutes: int) -> None:
    found = unpack_refusal(pack_refusal(Refusal(code, text, minutes)))
    assert (found.code, found.text, found.retry_minutes) == (code, text, minutes)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for unpack in (unpack_announce, unpack_scrape, unpack_refusal):
        try:
            unpack(raw)
        except BrokenFrame:
            continue


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_frames_are_split_wherever_the_bytes_were_cut(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(pack_frame(KIND_ANSWERED, n, body) for n, body in enumerate(bodies))
    buffer, found = bytearray(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        buffer += stream[:cut]
        stream = stream[cut:]
        found.extend(split_frames(buffer))
    assert found == [(KIND_ANSWERED, n, body) for n, body in enumerate(bodies)]
    assert not buffer


@pytest.mark.parametrize("size", [0, 8, FRAME_LIMIT + 1, 2**32 - 1])
def test_an_impossible_size_is_no_frame(size: int) -> None:
    buffer = bytearray(size.to_bytes(4, "little") + bytes(5))
    with pytest.raises(BrokenFrame):
        list(split_frames(buffer))


def asked(info_hash: bytes) -> bytes:
    """The frame of an announce by member 1, as another shard sends it."""
    request = AnnounceRequest(
        info_hash, b"-XX0100-abcdefghijkl", 6001, 0, 0, 0, 0, -1, b"", True, False, b""
    )
    passkey = general_key(1).encode()
    forwarded = ForwardedAnnounce(request, passkey, b"\x7f\0\0\1", wire.PROTOCOL_HTTP)
    return pack_frame(KIND_ANNOUNCE, 7, pack_announce(forwarded))


def test_the_owner_takes_its_own_torrents_only_and_drops_who_sends_nonsense(
    redis_url: str,
) -> None:
    """A shard that does not know of a hash yet may send us what is another's."""
    feed = Feed(redis_url)
    feed.publish([account(1)], [entry(10, 0), entry(20, 1)])
    with running_shards(redis_url) as shards:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(shards.folder / "shard-0.sock"))
            link.sendall(asked(hash_of(1, 20)))
            ((kind, number, body),) = split_frames(bytearray(link.recv(65536)))
            assert (kind, number, unpack_refusal(body).code) == (KIND_REFUSED, 7, "unavailable")
            link.sendall(asked(hash_of(0, 10)))
            ((kind, number, body),) = split_frames(bytearray(link.recv(65536)))
            assert (kind, number) == (KIND_ANSWERED, 7)
            assert body.startswith(b"d8:completei1e")
            link.sendall(pack_frame(99, 1, b""))
            assert link.recv(65536) == b""
        assert shards.announce(1, hash_of(0, 10), at=1)[b"complete"] == 2
