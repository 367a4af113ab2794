"""`rinofs.login` in a notebook: a real kernel shows a link, and waits for who follows it."""

from __future__ import annotations

import html
import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rinofs.profiles import ProfileStore
from rinofs.testing import live_server
from tests.repovizz.logins import Visitor, registered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

pytestmark = pytest.mark.browser

CELL = """
import rinofs
rinofs.login("repovizz", endpoint_url={url!r}, client_id={client!r}, client_secret={secret!r}, port={port})
"""


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


def test_a_notebook_shows_a_link_and_waits(server: LiveServer) -> None:
    from jupyter_client.manager import (
        start_new_kernel,  # not at the top: the rest of the suite runs without it
    )

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    client_id, secret = registered(server, f"http://localhost:{port}")
    manager, kernel = start_new_kernel(kernel_name="python3", env=dict(os.environ))
    shown: list[dict[str, Any]] = []
    visitor = Visitor(server)

    def look(message: dict[str, Any]) -> None:
        if message["msg_type"] in {"display_data", "execute_result", "error"}:
            shown.append(message["content"])
        if message["msg_type"] == "display_data":
            [link] = re.findall('href="([^"]*)"', message["content"]["data"]["text/html"])
            assert visitor.follow(html.unescape(link)).status_code == 200

    try:
        cell = CELL.format(url=server.endpoint_url, client=client_id, secret=secret, port=port)
        reply = kernel.execute_interactive(cell, output_hook=look, timeout=60)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok", shown
    assert shown[-1]["data"]["text/plain"] == repr(server.username)
    stored = ProfileStore().load("repovizz")
    assert stored is not None
    assert stored.token not in str(shown)


def test_ipython_in_a_terminal_prints_the_address(server: LiveServer) -> None:

    program = (
        f"import rinofs; rinofs.login(endpoint_url={server.endpoint_url!r}, client_id='x', port=0, timeout=1)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "BROWSER": "true"},
    )
    assert f"Log in here: {server.endpoint_url}/oauth/authorize?" in done.stdout
    assert "nobody logged in within 1 s" in done.stdout + done.stderr
