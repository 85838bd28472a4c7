"""Contract of `GET /api/me`."""

from __future__ import annotations

import re

import psycopg

from domain import users
from tests.kit.accounts import account_id, grant
from tests.kit.api import Api
from tests.kit.browser import Browser

FIELDS = {
    "id",
    "username",
    "displayName",
    "bio",
    "isAdmin",
    "isModerator",
    "isBanned",
    "permissions",
    "roles",
    "uploaded",
    "bonusUploaded",
    "downloaded",
    "ratio",
    "seedTime",
    "snatches",
    "invitesRemaining",
    "bonusPoints",
    "lastIp",
    "showLastSeen",
    "showAdultContent",
    "theme",
    "language",
    "createdAt",
    "lastSeen",
    "counts",
}


def add_totals(api: Api, browser: Browser, uploaded: int, downloaded: int) -> int:
    """Accounting as the credit fold would have written it; the member's number."""
    account = api.log.load(account_id(browser), users.evolve)
    assert account is not None
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        conn.execute(
            """
            INSERT INTO accounting_1.member_totals (account, uploaded, downloaded, raw_uploaded,
                raw_downloaded, seed_seconds, snatches)
            VALUES (%s, %s, %s, 0, 0, 3600, 2)
            ON CONFLICT (account) DO UPDATE
                SET uploaded = excluded.uploaded, downloaded = excluded.downloaded
            """,
            [account.number, uploaded, downloaded],
        )
    return account.number


def test_show_profile_of_a_new_member(alice: Browser) -> None:
    me = alice.get("/api/me").json()
    assert set(me) == FIELDS
    assert me["username"] == "alice"
    assert (me["isAdmin"], me["isModerator"], me["isBanned"]) == (False, False, False)
    assert (me["permissions"], me["roles"]) == ([], [])
    assert (me["uploaded"], me["downloaded"], me["ratio"]) == (0, 0, 0.0)
    assert me["counts"] == {"uploads": 0, "seeds": 0, "activeSeeds": 0, "hnr": 0}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", me["createdAt"])


def test_show_profile_names_roles_and_permissions(api: Api, mona: Browser, admin: Browser) -> None:
    me = mona.get("/api/me").json()
    assert me["isModerator"] is True
    assert me["permissions"] == ["canModerate", "canUploadWithoutModeration"]
    assert [role["name"] for role in me["roles"]] == ["Moderator"]
    grant(api, admin, "moderator")
    both = admin.get("/api/me").json()
    assert [role["id"] for role in both["roles"]] == ["administrator", "moderator"]
    assert (both["isAdmin"], both["isModerator"]) == (True, True)


def test_show_profile_counts_what_was_transferred(api: Api, alice: Browser) -> None:
    number = add_totals(api, alice, uploaded=3_000, downloaded=2_000)
    with psycopg.connect(api.app_url, autocommit=True) as conn:
        for torrent, seconds, seeding in ((1, 10, 1), (2, 10, 0), (3, 0, 0)):
            conn.execute(
                """
                INSERT INTO accounting_1.holdings
                VALUES (%s, %s, 0, 0, 0, 0, %s, 0, 1, 1, 0, 0, %s, 0)
                """,
                [number, torrent, seconds, seeding],
            )
    me = alice.get("/api/me").json()
    assert (me["uploaded"], me["downloaded"], me["ratio"]) == (3_000, 2_000, 1.5)
    assert (me["seedTime"], me["snatches"]) == (3600, 2)
    assert (me["counts"]["seeds"], me["counts"]["activeSeeds"]) == (2, 1)
    assert alice.get("/api/auth/status").json()["user"]["uploaded"] == 3_000


def test_an_infinite_ratio_is_null(api: Api, alice: Browser) -> None:
    add_totals(api, alice, uploaded=1, downloaded=0)
    assert alice.get("/api/me").json()["ratio"] is None


def test_show_profile_needs_a_session(anonymous: Browser) -> None:
    reply = anonymous.get("/api/me")
    assert (reply.status_code, reply.json()["data"]["code"]) == (401, "unauthenticated")


def test_show_profile_shows_nobody_elses_secrets(alice: Browser) -> None:
    text = alice.get("/api/me").text.lower()
    for word in ("salt", "verifier", "passkey", "token", "hash"):
        assert word not in text
