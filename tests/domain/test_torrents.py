"""Torrents: what an upload records and claims, what may be edited, who may withdraw."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.kernel import Claim
from domain.media_ids import MediaIds
from domain.metainfo import read_metainfo, store_private
from domain.torrents import (
    TorrentDetails,
    TorrentDetailsInvalid,
    TorrentEdited,
    TorrentNotFound,
    TorrentNotYours,
    TorrentUploaded,
    TorrentWithdrawn,
    edit_torrent,
    evolve,
    hash_claim,
    torrent_details,
    upload_torrent,
    withdraw_torrent,
)
from tests.kit.corpus import sample
from tests.kit.domain import folded, given, refuses_foreign_facts

UPLOADER, STRANGER, CATEGORY = UUID(int=11), UUID(int=12), UUID(int=13)
DETAILS = torrent_details(
    name=" Leaves ",
    description="Poems.",
    category=CATEGORY,
    media=MediaIds(openlibrary="OL45804W"),
    tags=("Poetry", "poetry", "", "EPUB"),
)


def uploaded(name: str) -> TorrentUploaded:
    content = sample(name)
    original = read_metainfo(content)
    _, stored = store_private(content, original)
    facts = upload_torrent(
        stored,
        original,
        DETAILS,
        number=7,
        uploader=UPLOADER,
        uploader_number=3,
        file_ref=b"\x01\x02",
    )
    assert len(facts) == 1
    assert isinstance(facts[0], TorrentUploaded)
    return facts[0]


LEAVES = uploaded("leaves")
OLD_V1 = "d2474e86c95b19b8bcfdb92bc12c9d44667cfa36"
NEW_V1 = "b68006ecbc902c627e0a31ff72d9f2cf134278ed"
EDITED = TorrentEdited(
    name="Leaves",
    description="Poems, all of them.",
    category=None,
    imdb=None,
    tmdb=None,
    tvdb=None,
    igdb=None,
    openlibrary=None,
    tags=(),
)
WITHDRAWN = TorrentWithdrawn(
    number=7,
    uploader=UPLOADER,
    info_hash=NEW_V1,
    info_hash_v2=None,
    original_info_hash=OLD_V1,
    original_info_hash_v2=None,
)


def claimed(*hashes: str) -> tuple[Claim, ...]:
    return tuple(Claim("torrent.info_hash", each) for each in hashes)


def test_upload_torrent_records_the_file_as_it_is_served() -> None:
    expected = TorrentUploaded(
        number=7,
        uploader=UPLOADER,
        uploader_number=3,
        name="Leaves",
        description="Poems.",
        category=CATEGORY,
        size=362017,
        piece_length=16384,
        files=1,
        info_hash=NEW_V1,
        info_hash_v1=NEW_V1,
        info_hash_v2=None,
        original_info_hash=OLD_V1,
        original_info_hash_v2=None,
        content_signature=LEAVES.content_signature,
        file_ref="0102",
        imdb=None,
        tmdb=None,
        tvdb=None,
        igdb=None,
        openlibrary="OL45804W",
        tags=("Poetry", "EPUB"),
    )
    assert expected == LEAVES


def test_upload_torrent_claims_the_hash_it_came_with_too() -> None:
    assert LEAVES.claims() == claimed(NEW_V1, OLD_V1)


def test_upload_torrent_that_was_private_claims_one_hash() -> None:
    bunny = uploaded("bunny")
    assert bunny.original_info_hash is None
    assert bunny.claims() == claimed("af8f10f30bf9aefecf3686922bfa0d5bd290a395")


def test_upload_torrent_that_is_hybrid_claims_both_names_before_and_after() -> None:
    hybrid = uploaded("hybrid-single")
    assert hybrid.info_hash == hybrid.info_hash_v1 == "8668229a5d477add455a5f139dcd463a6c7e9f04"
    assert hybrid.info_hash_v2 is not None
    assert hybrid.claims() == claimed(
        hybrid.info_hash,
        hybrid.info_hash_v2[:40],
        "be2a86eff99608a56c506157dd5c9bc8779aa81d",
        "fd0e265c50a080759b61e7a66cf9c9a00af02568",
    )


def test_upload_torrent_that_is_v2_is_named_by_its_cut_hash() -> None:
    v2 = uploaded("v2-single")
    assert v2.info_hash_v1 is None
    assert v2.info_hash == str(v2.info_hash_v2)[:40]
    assert v2.claims() == claimed(v2.info_hash, "a58e747f0ce2c2073c6fd635d4afdd5c6162574d")
    assert v2.original_info_hash_v2 == (
        "a58e747f0ce2c2073c6fd635d4afdd5c6162574d6c9184318f884f553c3ed65b"
    )


def test_a_hash_is_claimed_in_one_spelling() -> None:
    assert hash_claim("AB" * 32) == Claim("torrent.info_hash", "ab" * 20)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"name": "  "}, "name"),
        ({"name": "n" * 257}, "name"),
        ({"name": "n", "description": "d" * 100_001}, "description"),
        ({"name": "n", "tags": ("t" * 31,)}, "tags"),
        ({"name": "n", "tags": tuple(f"t{number}" for number in range(11))}, "tags"),
    ],
)
def test_details_out_of_range_are_refused_by_field(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(TorrentDetailsInvalid) as refused:
        torrent_details(**asked)
    assert refused.value.data == {"field": field}


def test_details_at_the_end_of_their_range() -> None:
    tags = tuple(f"{number:x}" * 30 for number in range(1, 11))
    details = torrent_details(name="n" * 256, description="d" * 100_000, tags=tags)
    assert (len(details.name), details.tags, details.media) == (256, tags, MediaIds())


def changed_details() -> TorrentDetails:
    return torrent_details(name="Leaves", description="Poems, all of them.")


@pytest.mark.parametrize(("editor", "is_staff"), [(UPLOADER, False), (STRANGER, True)])
def test_edit_torrent_by_its_uploader_or_staff(editor: UUID, is_staff: bool) -> None:
    given(evolve, LEAVES).when(
        edit_torrent, changed_details(), editor=editor, is_staff=is_staff
    ).then(EDITED)
    state = folded(evolve, LEAVES, EDITED)
    assert state is not None
    assert (state.details, state.version) == (changed_details(), 2)


def test_edit_torrent_to_what_it_says_already_records_nothing() -> None:
    given(evolve, LEAVES).when(edit_torrent, DETAILS, editor=UPLOADER, is_staff=False).then()


def test_edit_torrent_by_another_member_is_refused() -> None:
    given(evolve, LEAVES).when(
        edit_torrent, changed_details(), editor=STRANGER, is_staff=False
    ).then_refused(TorrentNotYours)


def test_withdraw_torrent_frees_every_hash() -> None:
    given(evolve, LEAVES, EDITED).when(withdraw_torrent, withdrawer=UPLOADER, is_staff=False).then(
        WITHDRAWN
    )
    assert WITHDRAWN.releases() == LEAVES.claims()


def test_withdraw_torrent_by_another_member_is_refused() -> None:
    given(evolve, LEAVES).when(withdraw_torrent, withdrawer=STRANGER, is_staff=False).then_refused(
        TorrentNotYours
    )


@pytest.mark.parametrize("history", [[], [LEAVES, WITHDRAWN]])
def test_withdraw_torrent_that_is_not_there(history: list[Any]) -> None:
    given(evolve, *history).when(withdraw_torrent, withdrawer=UPLOADER, is_staff=True).then_refused(
        TorrentNotFound
    )


def test_facts_keep_their_form() -> None:
    for fact in (LEAVES, EDITED, WITHDRAWN):
        assert msgspec.json.decode(msgspec.json.encode(fact), type=type(fact)) == fact


def test_foreign_facts_stop_the_fold() -> None:
    refuses_foreign_facts(evolve, LEAVES)
