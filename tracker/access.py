"""Follows the access feed in Redis: loads the packed chunks, then applies each change."""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from tracker.access_load import LoadedAccess, chunk_of, put_chunk, read_published
from tracker.access_table import AccessTable
from tracker.banned_addresses import BannedAddresses
from tracker.event_loop import EventLoop
from tracker.event_stream import Log
from tracker.redis_link import OnReply, RedisLink
from tracker.resp import RedisError, Reply, pack_command
from tracker.rules import Rules, read_rules
from tracker.wire import (
    ACCESS_ACCOUNTS,
    ACCESS_ADDRESSES,
    ACCESS_CHANGES,
    ACCESS_RULES,
    ACCESS_SEQ,
    ACCESS_SOURCE,
    ACCESS_TORRENTS,
    BANNED_ADDRESS,
    CHANGE_ACCOUNT,
    CHANGE_ADDRESS,
    CHANGE_ENTRY,
    CHANGE_KIND,
    CHANGE_RULES,
    CHANGE_TORRENT,
    BannedAddress,
)

FOLLOW_MILLISECONDS: Final = 1_000
"""How long a quiet read of the change stream waits; the sequences are compared after each."""
_PAUSE_SECONDS: Final = 0.25
_CHANGES_A_READ: Final = 1_000


class AccessFeed:
    """Accounts, torrents and rules as last heard of, on a link of its own.

    A load compares one chunk after the other with the table in use, takes over what differs, and
    forgets at the end what is in no chunk; so it needs no second table, and answers go on between
    two chunks. The sequence is read before the chunks, so these hold at least all changes up to
    it, and the stream is followed from there. What the stream no longer holds (a gap), or a
    sequence that does not fit ours, means a new load; what is known is served meanwhile.
    """

    def __init__(self, loop: EventLoop, rules: Rules, log: Log) -> None:
        """`rules` are in force until others are published, and fill what those leave out."""
        self.table = AccessTable()
        self.banned = BannedAddresses()
        self.rules = rules
        self.loaded = False
        self.seq = 0
        self._base_rules = rules
        self._log = log
        self._loop = loop
        self._link: RedisLink | None = None
        self._fresh_seq = -1
        self._source: bytes | None = None
        self._fresh_source: bytes | None = None
        self._keys: deque[bytes] = deque()
        self._chunks: dict[str, set[int]] = {}
        self._again_at = 0.0
        self._heard_at = loop.now
        self._doubts = 0
        self._adopted = False
        """Whether there is something to follow from that may be old."""
        loop.on_tick(self._tick)

    @property
    def age(self) -> float:
        """Seconds since Redis last said something of the feed; about a second when all is well."""
        return self._loop.now - self._heard_at

    def adopt(self, loaded: LoadedAccess) -> None:
        """Begin with what a start has loaded; the link then follows from there.

        It counts as loaded once it has caught up: a start that waited for the lease may have read
        it days ago, and who was banned since must not get in.
        """
        self.table, self.seq, self._source = loaded.table, loaded.seq, loaded.source
        self._got_rules(loaded.rules)
        self._got_addresses(loaded.addresses)
        self._adopted = True

    def attach(self, link: RedisLink) -> None:
        """Use this link; its owner calls `link_up` and `link_down`."""
        self._link = link

    def link_up(self) -> None:
        """Go on where we were; the first read shows a gap if there is one."""
        self._again_at = 0.0
        if self.loaded or self._adopted:
            self._follow()
        else:
            self._load()

    def link_down(self) -> None:
        """Serve what is known."""
        self._again_at = 0.0
        self._keys.clear()

    def _ask(self, on_reply: OnReply, *words: str | bytes | int) -> None:
        if self._link is not None and self._link.up:
            self._link.request(pack_command(*words), on_reply)

    def _load(self) -> None:
        self._adopted = False
        self._keys.clear()
        self._chunks = {ACCESS_ACCOUNTS: set(), ACCESS_TORRENTS: set()}
        self._ask(self._got_seq, "MGET", ACCESS_SEQ, ACCESS_SOURCE)

    def _got_seq(self, reply: Reply) -> None:
        self._fresh_seq, self._fresh_source = read_published(reply)
        if self._fresh_seq < 0:
            # Not published yet, or being made anew.
            self._again_at = self._loop.now + _PAUSE_SECONDS
            return
        self._ask(self._got_rules, "GET", ACCESS_RULES)
        self._ask(self._got_addresses, "HGETALL", ACCESS_ADDRESSES)
        self._scan(b"0")

    def _got_rules(self, reply: Reply) -> None:
        if isinstance(reply, bytes):
            self._apply_rules(reply)

    def _got_addresses(self, reply: Reply) -> None:
        if not isinstance(reply, list):
            self._restart("the banned addresses could not be read")
            return
        words = [word for word in reply if isinstance(word, bytes)]
        fresh = BannedAddresses()
        try:
            fresh.load(dict(zip(words[::2], words[1::2], strict=False)))
        except struct.error:
            self._log("access.torn_addresses")
            return
        self.banned = fresh

    def _scan(self, cursor: bytes) -> None:
        self._ask(self._got_keys, "SCAN", cursor, "MATCH", "access:*:*", "COUNT", 1_000)

    def _got_keys(self, reply: Reply) -> None:
        match reply:
            case [bytes(cursor), list(keys)]:
                for key in keys:
                    # A scan may give a key twice.
                    place = chunk_of(key) if isinstance(key, bytes) else None
                    if place is not None and place[1] not in self._chunks[place[0]]:
                        self._chunks[place[0]].add(place[1])
                        self._keys.append(f"{place[0]}{place[1]}".encode("ascii"))
            case _:
                self._restart("the list of chunks could not be read")
                return
        if cursor == b"0":
            self._next_chunk()
        else:
            self._scan(cursor)

    def _next_chunk(self) -> None:
        if not self._keys:
            self._finish()
            return
        key = self._keys.popleft()
        # One chunk a reply, so that announces are answered between two of them.
        self._ask(lambda reply: self._got_chunk(key, reply), "GET", key)

    def _got_chunk(self, key: bytes, reply: Reply) -> None:
        try:
            if isinstance(reply, RedisError):
                raise reply
            put_chunk(self.table, key, reply)
        except (RedisError, struct.error):
            self._restart("a chunk could not be read")
            return
        self._next_chunk()

    def _finish(self) -> None:
        self.table.keep_chunks(self._chunks[ACCESS_ACCOUNTS], self._chunks[ACCESS_TORRENTS])
        self.seq, self._source = self._fresh_seq, self._fresh_source
        self.loaded = True
        self._heard_at = self._loop.now
        self._doubts = 0
        self._log("access.loaded", seq=self.seq)
        self._follow()

    def _restart(self, why: str) -> None:
        self._log("access.reload", why=why)
        self._again_at = self._loop.now + _PAUSE_SECONDS

    def _tick(self, now: float) -> None:
        if self._again_at and now >= self._again_at and self._link is not None and self._link.up:
            self._again_at = 0.0
            self._load()

    def _follow(self) -> None:
        # Who has to catch up first does not wait for a change that may never come.
        patience = ("BLOCK", FOLLOW_MILLISECONDS) if self.loaded else ()
        self._ask(
            self._got_changes,
            "XREAD",
            "COUNT",
            _CHANGES_A_READ,
            *patience,
            "STREAMS",
            ACCESS_CHANGES,
            f"{self.seq}-0",
        )

    def _got_changes(self, reply: Reply) -> None:
        self._heard_at = self._loop.now
        match reply:
            case None:
                self._ask(self._got_newest, "XREVRANGE", ACCESS_CHANGES, "+", "-", "COUNT", 1)
            case [[bytes(), [[bytes(first), list()], *_] as entries]]:
                if _sequence(first) == self.seq + 1:
                    self._apply_all(entries)
                    return
                # Numbers may be left out by the writer; only a stream that starts after what
                # we know has lost something.
                self._ask(
                    lambda oldest: self._check_gap(entries, oldest),
                    "XRANGE",
                    ACCESS_CHANGES,
                    "-",
                    "+",
                    "COUNT",
                    1,
                )
            case _:
                self._restart("the change stream could not be read")

    def _check_gap(self, entries: list[Reply], oldest: Reply) -> None:
        match oldest:
            case [[bytes(first), *_]] if _sequence(first) <= self.seq + 1:
                self._apply_all(entries)
            case _:
                self._restart("the change stream does not reach back far enough")

    def _got_newest(self, newest: Reply) -> None:
        match newest:
            case [[bytes(number), *_]]:
                last = _sequence(number)
            case _:
                last = -1
        self._ask(lambda reply: self._compare(last, reply), "MGET", ACCESS_SEQ, ACCESS_SOURCE)

    def _compare(self, last: int, reply: Reply) -> None:
        """A quiet stream is right when its last change, or the published sequence, is ours.

        The chunks may lag behind the stream, so the higher of the two counts. A higher one
        than ours may just have been written; twice in a row it means that changes are lost.
        A lower one is another history, and so is another source.
        """
        published, source = read_published(reply)
        newest = max(last, published)
        self._doubts = self._doubts + 1 if newest > self.seq or newest < 0 else 0
        is_other = 0 <= newest < self.seq or (published >= 0 and source != self._source)
        if self._doubts >= 2 or is_other:
            self._doubts = 0
            self._restart("the published sequence is not ours")
            return
        if not self.loaded and not self._doubts:
            self.loaded = True
            self._log("access.loaded", seq=self.seq)
        self._follow()

    def _apply_all(self, entries: list[Reply]) -> None:
        for entry in entries:
            match entry:
                case [bytes(number), list(fields)]:
                    self._apply(fields)
                    self.seq = _sequence(number)
                case _:
                    self._restart("a change could not be read")
                    return
        self._doubts = 0
        self._follow()

    def _apply(self, fields: list[Reply]) -> None:
        values = dict(zip(fields[::2], fields[1::2], strict=False))
        kind, entry = values.get(CHANGE_KIND), values.get(CHANGE_ENTRY)
        if not isinstance(entry, bytes):
            return
        try:
            if kind == CHANGE_ACCOUNT:
                self.table.put_accounts(entry)
            elif kind == CHANGE_TORRENT:
                self.table.put_torrents(entry)
            elif kind == CHANGE_ADDRESS:
                self.banned.apply(BannedAddress._make(BANNED_ADDRESS.unpack(entry)))
            elif kind == CHANGE_RULES:
                self._apply_rules(entry)
        except struct.error:
            self._log("access.torn_change", seq=self.seq)

    def _apply_rules(self, published: bytes) -> None:
        try:
            self.rules = read_rules(published, self._base_rules)
        except ValueError as fault:
            self._log("access.bad_rules", why=str(fault))


def _sequence(number: bytes) -> int:
    return int(number.partition(b"-")[0])
