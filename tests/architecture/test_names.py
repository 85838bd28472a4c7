"""Routes, commands, handlers, facts and topics bear one name, and each rule finds its fault."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from application.bus import Unit
from application.handlers import HANDLERS
from application.moderation import ApproveTorrent, RejectTorrent, handle_approve_torrent
from application.store.topics import registry
from domain.kernel import Fact
from domain.moderation import TorrentApproved
from domain.users import AccountRegistered
from interfaces.http.app import api_document
from ops.event_sources import claim_kinds, raised_by
from ops.events_text import event_faults, events_page, type_text
from projections.registry import ALL
from projections.taxonomy import TaxonomyProjection
from tests.architecture import naming_rules as rules

DOCUMENT = api_document("0")
FACTS = registry().types


class Mute(Fact, frozen=True):
    """no sentence here"""

    TOPIC: ClassVar[str] = "mute.1"


class Unheard:
    """A command nobody writes a fact for."""


def handle_unheard(unit: Unit, command: Any) -> None:
    """Does nothing."""


def renamed(old: str, new: str) -> dict[str, Any]:
    """The document with one operation under another name."""
    paths = {
        path: {
            method: {**part, "operationId": new} if part.get("operationId") == old else part
            for method, part in item.items()
        }
        for path, item in DOCUMENT["paths"].items()
    }
    return {**DOCUMENT, "paths": paths}


def test_the_names_are_one() -> None:
    assert list(rules.operation_names(DOCUMENT, HANDLERS)) == []
    assert list(rules.handler_names(HANDLERS)) == []
    assert list(rules.topic_names(FACTS)) == []
    assert list(rules.commands_make_facts(HANDLERS)) == []
    assert list(event_faults(FACTS, ALL)) == []


def test_a_route_named_otherwise_than_its_command_is_found() -> None:
    (found,) = rules.operation_names(renamed("approve_torrent", "approve"), HANDLERS)
    assert "is approve, and there is no command approve" in found


def test_an_idle_exception_of_a_route_is_found() -> None:
    (found,) = rules.operation_names(renamed("log_out", "close_session"), HANDLERS)
    assert found == "log_out is excepted from having a command, and is no route"


def test_a_handler_named_otherwise_is_found() -> None:
    (found,) = rules.handler_names({RejectTorrent: handle_approve_torrent})
    assert "RejectTorrent is handled by application.moderation.handle_approve_torrent" in found


def test_a_topic_named_otherwise_is_found() -> None:
    (found,) = rules.topic_names({"torrent.accepted.1": TorrentApproved})
    assert "TorrentApproved has the topic torrent.accepted.1" in found


def test_a_command_without_a_fact_is_found() -> None:
    (found,) = rules.commands_make_facts({Unheard: handle_unheard})
    assert found == "Unheard makes no fact"


def test_a_fact_without_a_sentence_or_a_reader_is_found() -> None:
    said = "\n".join(event_faults({**FACTS, "mute.1": Mute}, ALL))
    assert "mute.1: the docstring of Mute does not begin with a sentence" in said
    assert "mute.1: no read model names it in its topics" in said


def test_an_idle_exception_from_having_a_reader_is_found() -> None:
    without = {topic: fact for topic, fact in FACTS.items() if topic != "session.closed.1"}
    (found,) = event_faults(without, ALL)
    assert found == "session.closed.1: excepted from having a reader, yet there is no such topic"


def test_facts_are_found_through_the_functions_a_handler_uses() -> None:
    makers = raised_by(HANDLERS)
    assert makers[TorrentApproved] == ("ApproveTorrent",)
    assert makers[AccountRegistered] == ("ImportLines", "RegisterAccount")
    assert raised_by({ApproveTorrent: handle_approve_torrent}).keys() == {TorrentApproved}


def test_claims_are_found_in_the_functions_a_fact_uses() -> None:
    assert claim_kinds(FACTS["torrent.withdrawn.1"], "releases") == ("torrent.info_hash",)
    assert claim_kinds(FACTS["torrent.withdrawn.1"], "claims") == ()


def test_the_page_of_events_follows_handlers_and_topics() -> None:
    page = events_page(FACTS, {}, [TaxonomyProjection()])
    section = page.split("### category.created.1")[1].split("###")[0]
    assert "Raised by: no command yet." in section
    assert "Read by: `taxonomy`." in section


def test_a_type_without_words_is_refused() -> None:
    with pytest.raises(TypeError, match="no words"):
        type_text(float)
