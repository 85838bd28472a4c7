"""Fills a new installation with example content, the way members and moderators would."""

from __future__ import annotations

import ipaddress
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from application.roles import GrantRole
from ops.api_client import ApiClient
from ops.container.operator import Operator
from ops.demo_content import (
    ADMINISTRATOR,
    CATEGORIES,
    MEMBERS,
    MODERATOR,
    TORRENTS,
    DemoTorrent,
    torrent_file,
)
from ops.demo_swarm import Announcer, Peer, make_peer, run_swarm, totals
from ops.failures import OperatorError

CREDIT_SECONDS = 60.0
POLL_SECONDS = 0.25
PASSWORD_BYTES = 7

Say = Callable[[str], None]


class DemoRefused(OperatorError):
    """The demo fills a running, new installation only."""


class DemoUnfinished(OperatorError):
    """What was announced did not become credit in time."""


@dataclass(frozen=True)
class DemoPlace:
    """Where the running processes are reached from here, and what the operator has to show them."""

    api_url: str
    tracker_url: str
    setup_code: str | None
    operator_token: str


@dataclass(frozen=True)
class DemoMember:
    """A member as printed at the end; sizes in bytes as the API shows them."""

    name: str
    password: str
    role: str
    uploaded: int
    downloaded: int


def local_host(bind: Sequence[str]) -> str:
    """A host that reaches a listener on one of these addresses from this machine."""
    for given in bind:
        address = ipaddress.ip_address(given)
        if address.is_loopback or address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{bind[0]}]" if ":" in bind[0] else bind[0]


def fill(place: DemoPlace, operator: Operator, say: Say) -> list[DemoMember]:
    """Make everything; the members with their passwords.

    Raises `DemoRefused` where anything was recorded before, `ApiRefused`, `AnnounceRefused`,
    `DemoUnfinished`.
    """
    if operator.base.log.head() > 0:
        raise DemoRefused(
            "This installation has content already; the demo fills only a new one, "
            "in a TRACKARR_DATA_DIR and database of its own."
        )
    with ExitStack() as stack:
        return _Demo(place, operator, say, stack).run()


class _Demo:
    """One run: signed-in clients by name, and what was made so far."""

    def __init__(self, place: DemoPlace, operator: Operator, say: Say, stack: ExitStack) -> None:
        self._place = place
        self._operator = operator
        self._say = say
        self._stack = stack
        self._passwords = {
            name: secrets.token_hex(PASSWORD_BYTES) for name in (ADMINISTRATOR, MODERATOR, *MEMBERS)
        }
        self._clients: dict[str, ApiClient] = {}

    def run(self) -> list[DemoMember]:
        self._register_members()
        categories = self._create_categories()
        hashes = {torrent: self._upload(torrent, categories) for torrent in TORRENTS}
        for torrent, info_hash in hashes.items():
            self._moderate(torrent, info_hash)
        before = {name: self._transfer(name) for name in self._clients}
        peers = self._announce(hashes)
        self._await_credit(peers, before)
        return list(self._members())

    def _register_members(self) -> None:
        code = self._place.setup_code
        self._register(ADMINISTRATOR, **({"setupCode": code} if code else {}))
        admin = self._clients[ADMINISTRATOR]
        admin.put("/api/admin/settings", {"registrationOpen": True})
        made = self._register(MODERATOR)
        for name in MEMBERS:
            self._register(name)
        admin.put("/api/admin/settings", {"registrationOpen": False})
        account = UUID(made["user"]["id"])
        self._operator.dispatch(GrantRole(account=account, role="moderator", reason="demo"))
        # A session remembers rights for a second; a new one has them from the start.
        self._clients[MODERATOR].log_in(MODERATOR, self._passwords[MODERATOR])
        self._say(f"made {MODERATOR} moderator, closed registration")

    def _register(self, name: str, **more: str) -> dict[str, Any]:
        client = self._stack.enter_context(
            ApiClient(self._place.api_url, self._place.operator_token)
        )
        made = client.register(name, self._passwords[name], **more)
        self._clients[name] = client
        self._say(f"registered {name}")
        return made

    def _create_categories(self) -> dict[str, str]:
        """Ids of the categories by slug."""
        admin = self._clients[ADMINISTRATOR]
        ids = {}
        for name, number, below in CATEGORIES:
            parent = admin.post("/api/admin/categories", {"name": name, "newznabId": number})
            ids[parent["slug"]] = parent["id"]
            for child, child_number in below:
                made = admin.post(
                    "/api/admin/categories",
                    {"name": child, "newznabId": child_number, "parentId": parent["id"]},
                )
                ids[made["slug"]] = made["id"]
        self._say(f"created {len(ids)} categories")
        return ids

    def _upload(self, torrent: DemoTorrent, categories: dict[str, str]) -> str:
        """Upload it; its info hash."""
        fields = {
            "name": torrent.name,
            "description": torrent.description,
            "categoryId": categories[torrent.category],
            "tags": json.dumps(torrent.tags),
        }
        client = self._clients[torrent.uploader]
        made = client.upload(torrent_file(torrent), "demo.torrent", fields)["data"]
        self._say(f"{torrent.uploader} uploaded {torrent.name}")
        return str(made["infoHash"])

    def _moderate(self, torrent: DemoTorrent, info_hash: str) -> None:
        if torrent.decision is None:
            return
        path = f"/api/mod/torrents/{info_hash}/{torrent.decision}"
        decided = self._clients[MODERATOR].post(path, {"message": torrent.message})
        if torrent.answer:
            thread = f"/api/torrents/{info_hash}/moderation/messages"
            self._clients[torrent.uploader].post(thread, {"body": torrent.answer})
        self._say(f"{MODERATOR}: {torrent.name} is {decided['torrent']['moderationStatus']}")

    def _announce(self, hashes: dict[DemoTorrent, str]) -> list[Peer]:
        peers: list[Peer] = []

        def peer(member: str, torrent: DemoTorrent) -> Peer:
            file = self._clients[member].download(hashes[torrent])
            peers.append(make_peer(member, torrent, file, number=len(peers)))
            return peers[-1]

        with Announcer(self._place.tracker_url) as announcer:
            for torrent in TORRENTS:
                if torrent.decision == "approve" or torrent.uploader == MODERATOR:
                    seeder = peer(torrent.uploader, torrent)
                    leechers = [peer(member, torrent) for member, _percent in torrent.leechers]
                    run_swarm(announcer, seeder, leechers)
                    self._say(f"announced {torrent.name}: 1 seeds, {len(leechers)} leech")
            self._say(f"the tracker took {announcer.sent} announces of {len(peers)} clients")
        return peers

    def _await_credit(self, peers: list[Peer], before: dict[str, tuple[int, int]]) -> None:
        """Wait until every member's profile shows what his clients announced, to the byte."""
        deadline = time.monotonic() + CREDIT_SECONDS
        for member, up, down in totals(peers):
            wanted = (before[member][0] + up, before[member][1] + down)
            while self._transfer(member) != wanted:
                if time.monotonic() > deadline:
                    raise DemoUnfinished(
                        f"The announces of {member} did not become credit within "
                        f"{CREDIT_SECONDS:.0f} s; see the worker's lines, and run: trackarr doctor"
                    )
                time.sleep(POLL_SECONDS)
        self._say("every announced byte is credited")

    def _transfer(self, name: str) -> tuple[int, int]:
        """Uploaded and downloaded bytes in the member's profile."""
        me = self._clients[name].get("/api/me")
        return me["uploaded"], me["downloaded"]

    def _members(self) -> Iterator[DemoMember]:
        roles = {ADMINISTRATOR: "administrator", MODERATOR: "moderator"}
        for name, password in self._passwords.items():
            up, down = self._transfer(name)
            yield DemoMember(name, password, roles.get(name, "member"), up, down)
