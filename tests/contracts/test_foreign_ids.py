"""An id of another kind of thing is no member's: not found, and nothing is recorded."""

from __future__ import annotations

from tests.kit.api import Api
from tests.kit.browser import Browser
from tests.kit.torrents import uploaded


def test_the_id_of_a_torrent_is_no_members(
    api: Api, alice: Browser, mona: Browser, admin: Browser
) -> None:
    torrent = uploaded(alice)["id"]
    role = admin.post("/api/admin/roles", json={"name": "Friend"}).json()["id"]
    before = api.topics()
    for caller, path, body in (
        (mona, f"/api/users/{torrent}/follow", None),
        (mona, f"/api/admin/users/{torrent}/ban", {"reason": "Spam."}),
        (mona, f"/api/admin/users/{torrent}/unban", None),
        (admin, f"/api/admin/users/{torrent}/roles", {"roleId": role}),
        (admin, "/api/admin/invites/grant", {"userId": torrent, "count": 1}),
    ):
        reply = caller.post(path, json=body)
        assert (reply.status_code, reply.json()["data"]["code"]) == (404, "account_not_found"), path
    for caller, path in (
        (mona, f"/api/invites/{torrent}"),
        (admin, f"/api/admin/invites/{torrent}"),
    ):
        reply = caller.delete(path)
        found = (reply.status_code, reply.json()["data"]["code"])
        assert found == (404, "invitation_not_found"), path
    assert api.topics() == before
