"""A real BitTorrent client (libtorrent) on loopback, driven step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libtorrent as lt

LOOPBACK_ONLY: dict[str, Any] = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # As the file says: HTTP in the first tier. By default UDP would go first whatever its tier.
    "prefer_udp_trackers": False,
    "announce_to_all_trackers": True,
    "allow_multiple_connections_per_ip": True,
    "in_enc_policy": 2,
    "out_enc_policy": 2,
    "alert_mask": int(lt.alert.category_t.all_categories),
    "tracker_completion_timeout": 10,
    "stop_tracker_timeout": 10,
    "user_agent": "libtorrent/2.1",
}


class TorrentClient:
    """One libtorrent session with at most one torrent at a time."""

    def __init__(self, folder: Path, *, listen: str = "127.0.0.1:0", upload_limit: int = 0) -> None:
        """`upload_limit` is in bytes per second, 0 for none."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        settings = {"listen_interfaces": listen, "upload_rate_limit": upload_limit}
        self._session = lt.session({**LOOPBACK_ONLY, **settings})
        # Peers on loopback are in a class without limits unless they are put into the global one.
        everyone = lt.ip_filter()
        everyone.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
        self._session.set_peer_class_filter(everyone)
        self._handle: Any = None
        self._alerts: list[Any] = []
        self.replies: list[str] = []
        self.tracker_errors: list[str] = []

    def add(self, torrent: bytes) -> None:
        """Start seeding or leeching, depending on what lies in the folder."""
        params = lt.load_torrent_buffer(torrent)
        params.save_path = str(self.folder)
        self._handle = self._session.add_torrent(params)

    def announce(self) -> None:
        """Announce now, whatever the interval says."""
        self._handle.force_reannounce(0, -1, lt.reannounce_flags_t.ignore_min_interval)

    @property
    def status(self) -> Any:
        return self._handle.status()

    @property
    def uploaded(self) -> int:
        """Payload bytes sent, as told to the tracker."""
        return int(self.status.total_payload_upload)

    @property
    def downloaded(self) -> int:
        """Payload bytes received, as told to the tracker: what came twice or broken is left out."""
        status = self.status
        spare = status.total_redundant_bytes + status.total_failed_bytes
        return int(status.total_payload_download - spare)

    def is_seeding(self) -> bool:
        return bool(self.status.is_seeding)

    def connect(self, other: TorrentClient) -> None:
        """Meet another client at once instead of at the next announce."""
        self._handle.connect_peer(("127.0.0.1", other.port))

    @property
    def port(self) -> int:
        return int(self._session.listen_port())

    def wait(self, condition: Callable[[], bool], *, what: str, seconds: float = 45) -> None:
        """Poll `condition` until it holds; AssertionError naming `what` when time is up."""
        end = time.monotonic() + seconds
        while not condition():
            self._drain()
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not happen; tracker said {self.tracker_errors}")
            self._session.wait_for_alert(100)
        self._drain()

    def wait_for_reply(self, *, more_than: int = 0) -> None:
        """Wait until the tracker answered more than `more_than` announces."""
        seen = len(self.tracker_errors)

        def replied() -> bool:
            # Refused when it came before the tracker knew of the torrent, it would wait longer than
            # a test does; a user would ask again.
            nonlocal seen
            if len(self.tracker_errors) > seen:
                seen = len(self.tracker_errors)
                time.sleep(0.5)
                self._handle.force_reannounce()
            return len(self.replies) > more_than

        self.wait(replied, what="an announce reply")

    def stop(self) -> tuple[int, int]:
        """Pause, wait until the tracker took `stopped`; the payload bytes sent and received."""
        self._drain()
        before = len(self.replies)
        self._handle.unset_flags(lt.torrent_flags.auto_managed)
        self._handle.pause()
        self.wait_for_reply(more_than=before)
        return self.uploaded, self.downloaded

    def close(self) -> None:
        self._session.pause()
        self._handle = None
        del self._session

    def _drain(self) -> None:
        for alert in self._session.pop_alerts():
            if isinstance(alert, lt.tracker_reply_alert):
                self.replies.append(alert.message())
            elif isinstance(alert, lt.tracker_error_alert):
                # Over UDP only this holds the tracker's own words.
                said = alert.failure_reason()
                self.tracker_errors.append(f"{alert.message()} {said}".rstrip())
