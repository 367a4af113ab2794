from __future__ import annotations

import pytest

from rinofs.protocol.names import is_loopback


@pytest.mark.parametrize("host", ["localhost", "rino.localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_a_host_on_the_machine_itself(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.org",
        "localhost.example.org",
        "notlocalhost",
        "127.0.0.1.example.org",
        "10.0.0.1",
        "0.0.0.0",
        "::",
        "2130706433",
        "[::1]",
    ],
)
def test_a_host_that_may_be_another_machine(host: str) -> None:
    assert not is_loopback(host)
