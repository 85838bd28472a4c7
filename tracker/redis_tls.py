"""TLS to Redis (`rediss://`): the options of the URL, and sockets wrapped by them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WANTS_MORE: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a non-blocking socket raises, plain or TLS, when it cannot go on at the moment."""
_REQUIREMENTS: Final = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
_OPTIONS: Final = frozenset(
    {
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
    }
)


@dataclass(frozen=True)
class RedisTls:
    """How to prove the server, and ourselves to it; paths of PEM files, empty for none.

    Without a file of authorities those of the system count.
    """

    host: str
    authorities: str = ""
    certificate: str = ""
    key: str = ""
    requirement: ssl.VerifyMode = ssl.CERT_REQUIRED
    check_host: bool = True

    def wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        """A connected socket, before its handshake. Raises OSError, also for unreadable files."""
        context = ssl.create_default_context(cafile=self.authorities or None)
        context.check_hostname = self.check_host and self.requirement == ssl.CERT_REQUIRED
        context.verify_mode = self.requirement
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key or None)
        return context.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)


def read_tls_options(host: str, query: Mapping[str, str]) -> RedisTls:
    """The `ssl_…` options of a URL, spelled as redis-py spells them. Raises ValueError."""
    unknown = {name for name in query if name.startswith("ssl_")} - _OPTIONS
    if unknown:
        raise ValueError(f"the Redis URL has an option unknown here: {min(unknown)}")
    requirement = _REQUIREMENTS.get(query.get("ssl_cert_reqs", "required"))
    if requirement is None:
        raise ValueError("ssl_cert_reqs in the Redis URL must be required, optional or none")
    return RedisTls(
        host,
        query.get("ssl_ca_certs", ""),
        query.get("ssl_certfile", ""),
        query.get("ssl_keyfile", ""),
        requirement,
        query.get("ssl_check_hostname", "true").lower() in {"true", "1", "yes"},
    )
