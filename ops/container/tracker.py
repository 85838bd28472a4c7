"""The tracker process: one shard on the announce ports."""

from __future__ import annotations

from typing import Any

import structlog

from ops.container.process import redis_url, stop_on_signals
from ops.inherited import HTTP, SHARD, UDP, inherited
from ops.keyring_file import KeyringFile
from ops.listening import open_announce_listeners, open_shard_link, open_udp_sockets
from ops.readiness import announce_prepared, announce_ready
from ops.run_state import secret_value
from ops.scheduling import SHORT_SLICE, take_slices
from ops.settings import Settings
from tracker.forwarding import ShardPlace
from tracker.http_server import HttpLimits
from tracker.rules import Rules
from tracker.service import TrackerConfig, TrackerService
from tracker.shard import ShardNumbers
from tracker.snapshot import SnapshotKeys
from tracker.snapshot_folder import SnapshotPlace


def run(settings: Settings) -> None:
    """Serve announces until a stop signal."""
    stop = stop_on_signals()
    network = settings.network
    processes = settings.processes
    place = ShardPlace(processes.tracker_shard, processes.tracker_shards, settings.storage.run_dir)
    sockets, udp_sockets, links = inherited(HTTP), inherited(UDP), inherited(SHARD)
    if sockets is None:
        sockets = open_announce_listeners(network, settings.tracker.socket)
    if udp_sockets is None:
        udp_sockets = open_udp_sockets(network)
    if links is None:
        links = [open_shard_link(place.folder, place.shard)] if place.shards > 1 else []
    keyring = KeyringFile(settings.storage.keyring_path).load_or_create()
    config = TrackerConfig(
        redis_url=redis_url(settings),
        passkey_keys=keyring.materials("passkeys"),
        connection_id_keys=keyring.materials("connection_ids"),
        metrics_token=_metrics_token(settings),
        place=place,
        numbers=shard_numbers(settings),
        snapshots=SnapshotPlace(
            settings.storage.snapshot_dir,
            SnapshotKeys(keyring.active("snapshots").id, keyring.materials("snapshots")),
            settings.tracker.snapshot_seconds,
        ),
    )
    service = TrackerService(config, sockets, udp_sockets, log=_log, links=links)
    take_slices(SHORT_SLICE)
    try:
        service.run(stop, announce_ready, announce_prepared)
    finally:
        for listener in (*sockets, *udp_sockets, *links):
            listener.close()


def shard_numbers(settings: Settings) -> ShardNumbers:
    """The settings of the announce path in the tracker's own terms."""
    given = settings.tracker
    return ShardNumbers(
        rules=Rules(
            interval=given.interval,
            spread_percent=given.interval_spread_percent,
            min_interval=given.min_interval,
            numwant_default=given.numwant_default,
            numwant_max=given.numwant_max,
            seats=given.seats,
            announces_per_minute=given.announces_per_minute,
        ),
        limits=HttpLimits(
            request_bytes=given.request_bytes,
            header_seconds=given.header_seconds,
            idle_seconds=given.idle_seconds,
            connections=given.connections,
            connections_per_address=given.connections_per_address,
        ),
        trusted_proxies=settings.network.trusted_proxies,
        pending_answers=given.pending_answers,
        pending_seconds=given.pending_seconds,
        allow_weak_redis=settings.storage.allow_weak_redis,
    )


def _metrics_token(settings: Settings) -> bytes | None:
    token = secret_value(settings.tracker.metrics_token)
    return token.encode() if token else None


def _log(event: str, **fields: Any) -> None:
    structlog.get_logger("tracker").info(event, **fields)
