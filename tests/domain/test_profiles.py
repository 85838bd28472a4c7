"""Profiles: edited in part, recorded whole."""

from __future__ import annotations

import pytest

from domain import profiles
from domain.kernel import Private
from domain.profiles import Profile, ProfileChanges, ProfileEdited
from tests.kit.domain import AN_ID, folded, refuses_foreign_facts

EDITED = ProfileEdited(
    account=AN_ID,
    display_name=Private(AN_ID, "Alice"),
    bio=None,
    show_last_seen=False,
    show_adult_content=True,
    theme="light",
    language="fr",
)


def test_a_profile_is_as_its_last_fact_says() -> None:
    profile = folded(profiles.evolve, EDITED)
    assert profile == Profile(
        version=1,
        display_name="Alice",
        show_last_seen=False,
        show_adult_content=True,
        theme="light",
        language="fr",
    )


def test_edit_profile_records_it_whole_with_texts_under_the_members_key() -> None:
    changes = ProfileChanges(bio=" hello ", theme="light")
    wanted = profiles.changed_profile(Profile(), changes)
    (fact,) = profiles.edit_profile(Profile(), wanted, AN_ID)
    assert fact == ProfileEdited(
        account=AN_ID,
        display_name=None,
        bio=Private(AN_ID, "hello"),
        show_last_seen=True,
        show_adult_content=False,
        theme="light",
        language="en",
    )


def test_edit_profile_records_nothing_when_nothing_changes() -> None:
    wanted = profiles.changed_profile(Profile(), ProfileChanges(theme="dark", bio=" "))
    assert profiles.edit_profile(Profile(), wanted, AN_ID) == []


@pytest.mark.parametrize("name", ["x" * 33, "a\u202eb", "a\nb", "a\0b", "\u200d", "\ud800"])
def test_edit_profile_refuses_a_display_name(name: str) -> None:
    with pytest.raises(profiles.DisplayNameInvalid):
        profiles.changed_profile(Profile(), ProfileChanges(display_name=name))


@pytest.mark.parametrize("name", ["x" * 32, "Zoë 王", "👩\u200d🚀", "a b"])
def test_edit_profile_takes_a_display_name(name: str) -> None:
    after = profiles.changed_profile(Profile(), ProfileChanges(display_name=name))
    assert after.display_name == name


@pytest.mark.parametrize("bio", ["x" * 1001, "a\0", "\udfff"])
def test_edit_profile_refuses_a_bio(bio: str) -> None:
    with pytest.raises(profiles.BioInvalid):
        profiles.changed_profile(Profile(), ProfileChanges(bio=bio))


def test_each_member_has_a_profile_of_his_own() -> None:
    assert profiles.profile_id(AN_ID) == profiles.profile_id(AN_ID) != AN_ID


def test_a_profile_refuses_foreign_facts() -> None:
    refuses_foreign_facts(profiles.evolve, EDITED)
