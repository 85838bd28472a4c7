"""Rotation of announce keys: from the epoch a member saw to the next, once."""

from __future__ import annotations

import pytest

from domain.passkeys import (
    FIRST_EPOCH,
    AccountAnnounceKeyRotated,
    AnnounceKeyRotatedMeanwhile,
    rotate_announce_key,
)
from domain.users import account_after, register_account
from tests.kit.domain import AN_ID


def test_rotate_announce_key_goes_on_to_the_next_epoch() -> None:
    (fact,) = rotate_announce_key(4, seen=4)
    assert fact == AccountAnnounceKeyRotated(epoch=5)


@pytest.mark.parametrize("seen", [3, 5])
def test_rotate_announce_key_refuses_another_epoch_than_the_one_in_force(seen: int) -> None:
    with pytest.raises(AnnounceKeyRotatedMeanwhile):
        rotate_announce_key(4, seen=seen)


def test_an_account_remembers_the_epoch_of_its_key() -> None:
    facts = register_account(7, "alice", kid=1, starter_upload=0, invites=0)
    assert account_after(AN_ID, facts).announce_epoch == FIRST_EPOCH
    rotated = [*facts, AccountAnnounceKeyRotated(epoch=2), AccountAnnounceKeyRotated(epoch=3)]
    assert account_after(AN_ID, rotated).announce_epoch == 3
