"""Another server at the same address: what was known of the one before it is not held against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs import RinoFileSystem
from rinofs.testing import live_server
from tests.rinocloud import proxy
from tests.rinocloud.proxy import proxy_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer
    from tests.rinocloud.proxy import Exchange, Proxy


@pytest.fixture
def plain_server() -> Iterator[LiveServer]:
    with live_server(extensions=False, token="rino_" + "t" * 43) as server:
        yield server


@pytest.fixture
def replaced(plain_server: LiveServer) -> Iterator[tuple[RinoFileSystem, Proxy]]:
    """A filesystem that knows an extended server, in whose place there is a plain one by now."""
    with live_server(token=plain_server.token) as extended, proxy_to(extended.endpoint_url) as between:
        fs = RinoFileSystem(endpoint_url=between.url, token=plain_server.token, timeout=5)
        fs.ls("")
        between.lead_to(plain_server.endpoint_url)
        yield fs, between


def test_an_upload_is_not_sent_again_once_its_answer_tells(
    replaced: tuple[RinoFileSystem, Proxy], plain_server: LiveServer
) -> None:
    fs, between = replaced
    between.faults = lambda exchange: proxy.reset_midway if exchange.endpoint == "upload_multipart" else None
    fs.pipe_file("a", b"content")
    assert between.seen.count("upload_multipart") == 1
    direct = RinoFileSystem(endpoint_url=plain_server.endpoint_url, token=plain_server.token)
    assert direct.cat_file("a") == b"content"
    assert direct.info("a", refresh=True)["versions"] == []


def test_what_somebody_else_made_after_a_lost_request_is_not_covered(
    replaced: tuple[RinoFileSystem, Proxy], plain_server: LiveServer
) -> None:
    fs, between = replaced
    direct = RinoFileSystem(endpoint_url=plain_server.endpoint_url, token=plain_server.token)

    def lost(exchange: Exchange) -> None:
        direct.pipe_file("b", b"theirs")
        between.faults = lambda _: None
        exchange.hang_up()

    fs.ls("", refresh=True)  # by now it is known that the server is a plain one
    between.faults = lambda exchange: lost if exchange.endpoint == "upload_multipart" else None
    with pytest.raises(FileExistsError):
        fs.pipe_file("b", b"mine", mode="create")
    assert direct.cat_file("b") == b"theirs"
    assert between.seen.count("upload_multipart") == 1
