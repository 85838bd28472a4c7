"""Socket addresses as bytes: both families, mapped ones, zones."""

from __future__ import annotations

import pytest

from tracker.addresses import AddressReader


@pytest.mark.parametrize(
    ("where", "address"),
    [
        (("192.0.2.1", 5001), bytes((192, 0, 2, 1))),
        (("::1", 5001, 0, 0), bytes(15) + b"\x01"),
        (("::ffff:192.0.2.1", 5001, 0, 0), bytes((192, 0, 2, 1))),
        (("fe80::2%eth0", 5001, 0, 2), b"\xfe\x80" + bytes(13) + b"\x02"),
        # A unix socket's peer has no address.
        ("", bytes((127, 0, 0, 1))),
    ],
)
def test_addresses_are_read(where: object, address: bytes) -> None:
    reader = AddressReader()
    assert reader.read(where) == address
    assert reader.read(where) == address
