"""Torrent clients of Debian on loopback, each driven through its own remote control."""

from __future__ import annotations

import base64
import json
import os
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.kit.installation import free_port
from tests.kit.programs import Program, require_program, until

_LOCAL = "127.0.0.1"


class OtherClient(Protocol):
    """One client with one torrent whose content lies, or will lie, in its folder."""

    tells_completion: bool
    """Whether it announces that it has all; rtorrent 0.9.8 did not, in this short life."""

    def add(self, torrent: bytes) -> None: ...

    def has_all(self) -> bool: ...

    def announced(self) -> bool: ...

    def stop(self) -> tuple[int, int]:
        """Stop the torrent, so that the tracker hears of it; bytes sent and received."""
        ...

    def close(self) -> None: ...


class Transmission:
    """transmission-daemon by its RPC. It never dials 127.0.0.0/8 itself."""

    tells_completion = True

    def __init__(self, folder: Path, state: Path) -> None:
        program = require_program("transmission-daemon", "transmission-daemon")
        folder.mkdir(parents=True, exist_ok=True)
        state.mkdir(parents=True)
        self._folder, self._rpc_port = folder, free_port()
        settings = {
            "bind-address-ipv4": _LOCAL,
            "peer-port": free_port(),
            "rpc-port": self._rpc_port,
            "rpc-bind-address": _LOCAL,
            "rpc-authentication-required": False,
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "utp-enabled": False,
            "port-forwarding-enabled": False,
            "download-dir": str(folder),
        }
        (state / "settings.json").write_text(json.dumps(settings))
        self._program = Program([program, "-f", "-g", str(state)], state / "transmission.log")
        self._session = ""
        self._program.wait_for_port(self._rpc_port)

    def add(self, torrent: bytes) -> None:
        self._call("torrent-add", metainfo=base64.b64encode(torrent).decode(), paused=True)
        self._call("torrent-verify")
        until(lambda: self._torrent()["status"] == 0, what="the check of the content")
        self._call("torrent-start")

    def has_all(self) -> bool:
        return bool(self._torrent()["leftUntilDone"] == 0)

    def announced(self) -> bool:
        trackers = self._torrent()["trackerStats"]
        return any(tracker["lastAnnounceSucceeded"] for tracker in trackers)

    def stop(self) -> tuple[int, int]:
        self._call("torrent-stop")
        until(lambda: self._torrent()["status"] == 0, what="the stop")
        torrent = self._torrent()
        return torrent["uploadedEver"], torrent["downloadedEver"]

    def close(self) -> None:
        self._program.end()

    def _torrent(self) -> dict[str, Any]:
        fields = ["status", "leftUntilDone", "uploadedEver", "downloadedEver", "trackerStats"]
        torrents: list[dict[str, Any]] = self._call("torrent-get", fields=fields)["torrents"]
        return torrents[0]

    def _call(self, method: str, **arguments: object) -> dict[str, Any]:
        url = f"http://{_LOCAL}:{self._rpc_port}/transmission/rpc"
        for _ in range(2):
            reply = httpx.post(
                url,
                json={"method": method, "arguments": arguments},
                headers={"X-Transmission-Session-Id": self._session},
                timeout=20,
            )
            self._session = reply.headers.get("X-Transmission-Session-Id", self._session)
            if reply.status_code != 409:
                break
        answer = reply.json()
        assert answer["result"] == "success", answer
        return dict(answer["arguments"])


class Aria2:
    """aria2c by its JSON-RPC."""

    tells_completion = True

    def __init__(self, folder: Path, state: Path) -> None:
        self._program_path = require_program("aria2c", "aria2")
        folder.mkdir(parents=True, exist_ok=True)
        state.mkdir(parents=True)
        self._rpc_port = free_port()
        self._program = Program(
            [
                self._program_path,
                "--no-conf",
                "--enable-rpc",
                f"--rpc-listen-port={self._rpc_port}",
                f"--interface={_LOCAL}",
                f"--listen-port={free_port()}",
                "--enable-dht=false",
                "--bt-enable-lpd=false",
                "--enable-peer-exchange=false",
                "--seed-time=9999",
                "--seed-ratio=0",
                "--check-integrity=true",
                f"--dir={folder}",
            ],
            state / "aria2.log",
        )
        self._id = ""
        self._program.wait_for_port(self._rpc_port)

    def add(self, torrent: bytes) -> None:
        self._id = self._call("aria2.addTorrent", base64.b64encode(torrent).decode())

    def has_all(self) -> bool:
        status = self._status()
        done = int(status["completedLength"])
        return 0 < done == int(status["totalLength"]) and status.get("seeder") == "true"

    def announced(self) -> bool:
        # aria2 tells nothing of its tracker; a seeder is in the swarm or it is not.
        return self._status()["status"] == "active"

    def stop(self) -> tuple[int, int]:
        # A paused download tells no lengths of its session any more.
        status = self._status()
        self._call("aria2.pause", self._id)
        until(lambda: self._status()["status"] == "paused", what="the pause")
        return int(status["uploadLength"]), int(status["completedLength"])

    def close(self) -> None:
        self._program.end()

    def _status(self) -> dict[str, Any]:
        return dict(self._call("aria2.tellStatus", self._id))

    def _call(self, method: str, *parameters: object) -> Any:
        reply = httpx.post(
            f"http://{_LOCAL}:{self._rpc_port}/jsonrpc",
            json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)},
            timeout=20,
        ).json()
        assert "error" not in reply, reply
        return reply["result"]


class QBittorrent:
    """qbittorrent-nox by its web API."""

    tells_completion = True

    def __init__(self, folder: Path, state: Path) -> None:
        program = require_program("qbittorrent-nox", "qbittorrent-nox")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._port = folder, free_port()
        config = state / "qBittorrent" / "config"
        config.mkdir(parents=True)
        (config / "qBittorrent.conf").write_text(
            "[LegalNotice]\nAccepted=true\n"
            "[BitTorrent]\n"
            f"Session\\InterfaceAddress={_LOCAL}\nSession\\Port={free_port()}\n"
            "Session\\MultiConnectionsPerIp=true\nSession\\DHTEnabled=false\n"
            "Session\\LSDEnabled=false\nSession\\PeXEnabled=false\n"
            "[Preferences]\n"
            f"WebUI\\Address={_LOCAL}\nWebUI\\LocalHostAuth=false\nWebUI\\CSRFProtection=false\n"
        )
        home = {**os.environ, "HOME": str(state), "XDG_DATA_HOME": str(state / "share")}
        self._program = Program(
            [program, f"--profile={state}", f"--webui-port={self._port}"],
            state / "qbittorrent.log",
            environment=home,
        )
        self._program.wait_for_port(self._port)
        self._client = httpx.Client(base_url=f"http://{_LOCAL}:{self._port}/api/v2", timeout=20)

    def add(self, torrent: bytes) -> None:
        seeds = any(self._folder.iterdir())
        reply = self._client.post(
            "/torrents/add",
            data={"savepath": str(self._folder), "skip_checking": str(seeds).lower()},
            files={"torrents": ("t.torrent", torrent, "application/x-bittorrent")},
        )
        assert reply.text == "Ok.", reply.text
        until(lambda: bool(self._torrents()), what="the new torrent")

    def has_all(self) -> bool:
        return bool(
            self._torrents()[0]["amount_left"] == 0 and self._torrents()[0]["progress"] == 1
        )

    def announced(self) -> bool:
        reply = self._client.get("/torrents/trackers", params={"hash": self._torrents()[0]["hash"]})
        return any(tracker["status"] == 2 for tracker in reply.json())

    def stop(self) -> tuple[int, int]:
        self._client.post("/torrents/pause", data={"hashes": "all"})
        until(lambda: self._torrents()[0]["state"].startswith("paused"), what="the pause")
        torrent = self._torrents()[0]
        return torrent["uploaded_session"], torrent["downloaded_session"]

    def close(self) -> None:
        self._client.close()
        self._program.end()

    def _torrents(self) -> list[dict[str, Any]]:
        return list(self._client.get("/torrents/info").json())


class RTorrent:
    """rtorrent by XML-RPC over SCGI."""

    tells_completion = False

    def __init__(self, folder: Path, state: Path) -> None:
        program = require_program("rtorrent", "rtorrent")
        folder.mkdir(parents=True, exist_ok=True)
        state.mkdir(parents=True)
        self._port, self._hash, peer_port = free_port(), "", free_port()
        (state / "rtorrent.rc").write_text(
            f"directory.default.set = {folder}\nsession.path.set = {state}\n"
            f"network.bind_address.set = {_LOCAL}\n"
            f"network.port_range.set = {peer_port}-{peer_port}\n"
            "dht.mode.set = disable\nprotocol.pex.set = no\ntrackers.use_udp.set = no\n"
            f"network.scgi.open_port = {_LOCAL}:{self._port}\nsystem.daemon.set = true\n"
        )
        self._program = Program(
            [program, "-n", "-o", f"import={state / 'rtorrent.rc'}"], state / "rtorrent.log"
        )
        self._program.wait_for_port(self._port)

    def add(self, torrent: bytes) -> None:
        self._call("load.raw_start", "", xmlrpc.client.Binary(torrent))
        until(lambda: bool(self._call("download_list", "")), what="the new torrent")
        self._hash = self._call("download_list", "")[0]

    def has_all(self) -> bool:
        return bool(self._call("d.complete", self._hash))

    def announced(self) -> bool:
        return bool(self._call("t.success_counter", f"{self._hash}:t0"))

    def stop(self) -> tuple[int, int]:
        self._call("d.stop", self._hash)
        until(lambda: not self._call("d.is_active", self._hash), what="the stop")
        return self._call("d.up.total", self._hash), self._call("d.completed_bytes", self._hash)

    def close(self) -> None:
        self._program.end()

    def _call(self, method: str, *parameters: Any) -> Any:
        body = xmlrpc.client.dumps(tuple(parameters), method).encode()
        head = b"CONTENT_LENGTH\x00%d\x00SCGI\x001\x00" % len(body)
        with socket.create_connection((_LOCAL, self._port), timeout=20) as link:
            link.sendall(b"%d:%b,%b" % (len(head), head, body))
            reply = b"".join(iter(lambda: link.recv(65536), b""))
        return xmlrpc.client.loads(reply.partition(b"\r\n\r\n")[2])[0][0]
