"""The lease of a shard: one process at a time, and an epoch that fences the one before."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tracker.event_loop import EventLoop
from tracker.event_stream import ShardLost
from tracker.redis_link import RedisCalls, RedisLink
from tracker.resp import RedisError, Reply, pack_command
from tracker.wire import epoch_name, lease_name

LEASE_SECONDS: Final = 6
_RENEW_SECONDS: Final = 2.0

# Renew what is ours or free. A free lease that another had in between costs nothing: its
# epoch is higher, so the stream refuses ours.
_RENEW: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def process_mark() -> str:
    """Words that name this process among all that can reach the same Redis.

    Host, boot and pid namespace, then pid, its start time and a random part. From the first
    three another process can tell whether it may ask the kernel about the last ones.
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    place = boot.read_text("ascii").strip() if boot.exists() else "?"
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = "?"
    pid = os.getpid()
    started = _start_time(pid) or 0
    return f"{socket.gethostname()}|{place}|{space}|{pid}|{started}|{secrets.token_hex(8)}"


def is_dead(mark: str, own: str) -> bool:
    """Whether the process of `mark` is known to be gone; False where we cannot tell."""
    theirs, ours = mark.split("|"), own.split("|")
    if len(theirs) != 6 or theirs[:3] != ours[:3] or "?" in theirs[:3]:
        return False
    if not theirs[3].isdigit():
        return False
    return str(_start_time(int(theirs[3])) or 0) != theirs[4]


def _start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (proc(5), field 22); None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = stat[stat.rfind(")") + 2 :].split()
    return None if fields[0] == "Z" else int(fields[19])


class ShardLease:
    """Taken before the start, renewed while running, given back at a clean stop."""

    def __init__(self, layout: int, shard: int, mark: str) -> None:
        self._key = lease_name(layout, shard)
        self._epoch_key = epoch_name(layout, shard)
        self._mark = mark
        self._link: RedisLink | None = None
        self._next = 0.0
        self._asked = False

    def take(self, calls: RedisCalls) -> int | None:
        """The epoch of a lease that is ours now, or None while another process holds it.

        A holder that died on this machine does not keep us waiting. Raises RedisError, OSError.
        """
        renew = self._renewal()
        if calls.call(renew) != 1:
            holder = calls.call(pack_command("GET", self._key))
            if not isinstance(holder, bytes):
                return None
            if not is_dead(holder.decode("utf-8", "replace"), self._mark):
                return None
            calls.call(pack_command("EVAL", _RELEASE, 1, self._key, holder))
            if calls.call(renew) != 1:
                return None
        epoch = calls.call(pack_command("INCR", self._epoch_key))
        if not isinstance(epoch, int):
            raise RedisError("the epoch counter gave no number")
        return epoch

    def give_back(self, calls: RedisCalls) -> None:
        """Give a lease back that was taken by a blocking call. Raises RedisError, OSError."""
        calls.call(pack_command("EVAL", _RELEASE, 1, self._key, self._mark))

    def keep(self, calls: RedisCalls, now: float) -> bool:
        """Renew during a long start, when it is due at `now` (monotonic seconds).

        False when another process has the lease. Raises RedisError, OSError.
        """
        if now < self._next:
            return True
        self._next = now + _RENEW_SECONDS
        return calls.call(self._renewal()) == 1

    @staticmethod
    def fence(calls: RedisCalls, stream: str, epoch: int) -> None:
        """From here on the stream refuses what an earlier holder may still have on its way.

        Raises RedisError where the counter is behind the stream (it was lost or restored):
        taking the lease again raises it.
        """
        try:
            calls.call(pack_command("XSETID", stream, f"{epoch}-0"))
        except RedisError as fault:
            if "no such key" not in fault.text:
                raise

    def renew_on(self, loop: EventLoop, link: RedisLink) -> None:
        """Keep the lease from now on. The loop raises ShardLost when another has it."""
        self._link = link
        loop.on_tick(self._tick)

    def link_down(self) -> None:
        """Ask anew when the link is back."""
        self._asked = False
        self._next = 0.0

    def release(self, done: Callable[[Reply], None]) -> bool:
        """Give the lease back; False when the link is down, then it runs out by itself."""
        if self._link is None or not self._link.up:
            return False
        command = pack_command("EVAL", _RELEASE, 1, self._key, self._mark)
        self._next = float("inf")
        self._link.request(command, done)
        return True

    def _renewal(self) -> bytes:
        return pack_command("EVAL", _RENEW, 1, self._key, self._mark, LEASE_SECONDS * 1000)

    def _tick(self, now: float) -> None:
        if self._link is None or not self._link.up or self._asked or now < self._next:
            return
        self._asked = True
        self._next = now + _RENEW_SECONDS
        self._link.request(self._renewal(), self._renewed)

    def _renewed(self, reply: Reply) -> None:
        self._asked = False
        # An error (out of memory, a replica) says nothing about the holder: asked again soon.
        if reply == 0:
            raise ShardLost("another process has taken over this tracker shard")
