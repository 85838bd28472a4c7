"""The member directory: filled beside the read models, and pages read through its indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, get_args
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import scalar_row

from projections import accounting, member_directory
from projections.engine import Connection, install
from projections.member_directory import (
    INFINITE,
    admit_newcomers,
    copy_figures,
    note_last_seen,
    stamp,
)
from projections.member_list import (
    Activity,
    MemberQuery,
    Sort,
    count_members,
    count_seen_since,
    find_members,
    list_member_keys,
    list_roles_of,
)
from projections.registry import ALL

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MANY = 20_000


@pytest.fixture
def conn(app_url: str) -> Iterator[Connection]:
    with psycopg.connect(app_url, autocommit=True) as connection:
        for projection in ALL:
            install(connection, projection)
        accounting.install(connection)
        assert member_directory.install(connection)
        yield connection


def put_accounts(conn: Connection, first: int, last: int, *, starter: int = 0) -> None:
    conn.execute(
        """
        INSERT INTO users_1.accounts (id, number, username, is_admin, is_moderator,
            can_upload_without_moderation, can_audit, starter_upload, invites, uploads, created_at)
        SELECT gen_random_uuid(), n, 'Member-' || n, false, false, false, false, %s, 0, 0, %s
        FROM generate_series(%s::bigint, %s) AS n
        """,
        [starter, NOW, first, last],
    )


def put_totals(conn: Connection, number: int, uploaded: int, downloaded: int) -> None:
    conn.execute(
        "INSERT INTO accounting_1.member_totals (account, uploaded, downloaded, raw_uploaded,"
        " raw_downloaded, seed_seconds, snatches) VALUES (%s, %s, %s, 0, 0, 0, 0)",
        [number, uploaded, downloaded],
    )


def rows(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT number, name, last_seen, uploaded, downloaded, ratio"
        " FROM member_directory_2.members ORDER BY number"
    ).fetchall()


def account_of(conn: Connection, number: int) -> UUID:
    row = conn.execute("SELECT id FROM users_1.accounts WHERE number = %s", [number]).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def test_newcomers_enter_once_with_what_they_have(conn: Connection) -> None:
    put_accounts(conn, 1, 2, starter=5)
    put_totals(conn, 2, 100, 300)
    assert len(admit_newcomers(conn)) == 2
    assert admit_newcomers(conn) == []
    assert rows(conn) == [
        (1, "member-1", 0, 5, 0, INFINITE),
        (2, "member-2", 0, 105, 300, 350_000),
    ]


def test_a_newcomer_whose_number_came_late_enters_too(conn: Connection) -> None:
    put_accounts(conn, 200, 200)
    admit_newcomers(conn)
    put_accounts(conn, 7, 7)
    assert admit_newcomers(conn) == [account_of(conn, 7)]


def test_everyone_is_found_who_came_in_far_behind_the_newest(conn: Connection) -> None:
    put_accounts(conn, 1_000, 1_000)
    admit_newcomers(conn)
    put_accounts(conn, 7, 7)
    assert admit_newcomers(conn) == []
    assert admit_newcomers(conn, everyone=True) == [account_of(conn, 7)]
    assert admit_newcomers(conn, everyone=True) == []


def test_an_imported_member_stands_where_his_time_says(conn: Connection) -> None:
    put_accounts(conn, 1, 3)
    long_ago = NOW - timedelta(days=2_000)
    conn.execute("UPDATE users_1.accounts SET created_at = %s WHERE number = 3", [long_ago])
    admit_newcomers(conn)
    keys = list_member_keys(conn, MemberQuery(now=NOW, sort="createdAt", descending=False))
    assert [key.number for key in keys] == [3, 1, 2]
    assert keys[0].key == stamp(long_ago)


def test_figures_are_copied_where_they_changed(conn: Connection) -> None:
    put_accounts(conn, 1, 3)
    admit_newcomers(conn)
    assert copy_figures(conn) == 0
    put_totals(conn, 1, 1_000, 400)
    put_totals(conn, 2, 2**62, 1)
    assert copy_figures(conn) == 2
    assert [row[3:] for row in rows(conn)] == [
        (1_000, 400, 2_500_000),
        (2**62, 1, 9_000_000_000_000_000_000),
        (0, 0, 0),
    ]
    assert copy_figures(conn) == 0


def test_last_seen_moves_forward_only(conn: Connection) -> None:
    put_accounts(conn, 1, 1)
    (alice,) = admit_newcomers(conn)
    note_last_seen(conn, {alice: NOW, uuid4(): NOW})
    note_last_seen(conn, {alice: NOW - timedelta(hours=1)})
    assert rows(conn)[0][2] == stamp(NOW)
    conn.execute("INSERT INTO profiles_1.sign_ins VALUES (%s, %s)", [alice, NOW])
    assert copy_figures(conn) == 0
    later = NOW + timedelta(microseconds=3)
    conn.execute("UPDATE profiles_1.sign_ins SET last_at = %s", [later])
    assert copy_figures(conn) == 1
    assert rows(conn)[0][2] == stamp(later)
    assert find_members(conn, [alice], NOW)[alice].last_seen_at == later


@pytest.mark.parametrize(
    ("activity", "numbers"), [("online", [4]), ("active", [3, 4]), ("idle", [2]), ("never", [1])]
)
def test_activity_is_by_last_seen(conn: Connection, activity: Activity, numbers: list[int]) -> None:
    put_accounts(conn, 1, 4)
    admit_newcomers(conn)
    ago = {2: timedelta(days=30), 3: timedelta(hours=24), 4: timedelta(minutes=5)}
    note_last_seen(conn, {account_of(conn, n): NOW - span for n, span in ago.items()})
    query = MemberQuery(now=NOW, activity=activity, descending=False)
    assert [key.number for key in list_member_keys(conn, query)] == numbers
    assert count_members(conn, query).count == len(numbers)
    assert count_seen_since(conn, NOW - timedelta(hours=24)) == 2


def test_many_matches_of_a_filter_are_at_least_so_many(conn: Connection) -> None:
    put_accounts(conn, 1, 2_001)
    admit_newcomers(conn)
    total = count_members(conn, MemberQuery(now=NOW, search="member"))
    assert (total.count, total.exact) == (2_000, False)


def test_roles_are_given_by_account(conn: Connection) -> None:
    put_accounts(conn, 1, 2)
    first, second = account_of(conn, 1), account_of(conn, 2)
    conn.execute(
        "INSERT INTO users_1.roles VALUES (%s, 'moderator', %s, NULL, false)", [second, NOW]
    )
    held = list_roles_of(conn, [first, second])
    assert (held[first], [role.role for role in held[second]]) == ([], ["moderator"])


QUERIES = [
    *(
        MemberQuery(now=NOW, sort=sort, descending=down)
        for sort in ("username", "createdAt", "lastSeen", "uploaded", "downloaded", "ratio")
        for down in (True, False)
    ),
    MemberQuery(now=NOW, banned=True, sort="ratio"),
    MemberQuery(now=NOW, administrator=True, sort="uploaded"),
    MemberQuery(now=NOW, role="veteran", sort="lastSeen"),
    MemberQuery(now=NOW, role="none", banned=False, moderator=False, sort="downloaded"),
    MemberQuery(now=NOW, activity="online", sort="lastSeen"),
    MemberQuery(now=NOW, activity="never", sort="lastSeen"),
    MemberQuery(now=NOW, search="9"),
]


def test_no_page_reads_the_whole_directory(conn: Connection) -> None:
    put_accounts(conn, 1, MANY)
    # A first filling asks for every number; from then on newcomers are few.
    admit_newcomers(conn)
    conn.execute(
        "UPDATE member_directory_2.members SET last_seen = number, uploaded = number % 9999,"
        " downloaded = number % 7777, ratio = number % 333"
    )
    conn.execute(
        "INSERT INTO users_1.roles SELECT id, CASE WHEN number = 1 THEN 'administrator'"
        " ELSE 'veteran' END, %s, NULL, false FROM users_1.accounts WHERE number < 40",
        [NOW],
    )
    conn.execute(
        "INSERT INTO users_1.bans SELECT id, NULL, NULL, false, %s, NULL FROM users_1.accounts"
        " WHERE number %% 900 = 0",
        [NOW],
    )
    conn.execute("ANALYZE users_1.accounts, users_1.roles, users_1.bans")
    conn.execute("ANALYZE member_directory_2.members")
    for query in QUERIES:
        assert big_scans(conn, partial(list_member_keys, conn, query)) == [], query
    keys = list_member_keys(conn, MemberQuery(now=NOW))
    accounts = [key.account for key in keys]
    assert big_scans(conn, lambda: find_members(conn, accounts, NOW)) == []
    assert big_scans(conn, lambda: admit_newcomers(conn)) == []


def big_scans(conn: Connection, ask: Callable[[], object]) -> list[str]:
    """Tables of members the statements behind `ask` read from end to end, by their plans."""
    ExplainingCursor.scanned = []
    before, conn.cursor_factory = conn.cursor_factory, ExplainingCursor
    try:
        ask()
    finally:
        conn.cursor_factory = before
    assert ExplainingCursor.asked, "no statement was explained"
    return ExplainingCursor.scanned


class ExplainingCursor(psycopg.Cursor[Any]):
    """Asks for the plan of each statement before it runs it."""

    scanned: ClassVar[list[str]] = []
    asked: ClassVar[int] = 0

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query if isinstance(query, str) else query.as_string(self.connection)
        plain = psycopg.Cursor(self.connection, row_factory=scalar_row)
        plan = plain.execute(f"EXPLAIN (FORMAT json) {text}".encode(), params).fetchone()
        ExplainingCursor.asked += 1
        assert plan is not None
        self._walk(plan[0]["Plan"])
        return super().execute(query, params, **options)

    def _walk(self, node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in {"members", "accounts"}:
            ExplainingCursor.scanned.append(node["Relation Name"])
        for part in node.get("Plans", []):
            self._walk(part)


def test_sorts_are_complete() -> None:
    assert {query.sort for query in QUERIES} == set(get_args(Sort))
