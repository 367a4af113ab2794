"""Where a content can be read past the server, for those who ask."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from rinofs.protocol.extensions import RINOCLOUD_EXTENSIONS
from rinofs.testing import live_server
from tests.server.client import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

CONTENT = os.urandom(300_000)


@pytest.fixture
def server(s3_url: str) -> Iterator[LiveServer]:
    with live_server(configure=lambda settings: replace(settings, blobs_url=s3_url)) as running:
        yield running


def test_a_content_is_read_from_the_store(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    made = api.file("f", CONTENT)
    answer = api.post("files/direct", {"id": made["id"]})
    assert answer.headers["cache-control"] == "no-store"
    assert "direct" in answer.headers[RINOCLOUD_EXTENSIONS].split(", ")
    told = answer.json()
    assert (told["size"], told["etag"], told["expires_in"]) == (len(CONTENT), made["etag"], 300)
    assert told["sha256"] == made["sha256"]
    assert server.token not in told["url"]
    read = requests.get(told["url"], timeout=30)
    assert read.content == CONTENT
    assert read.headers["etag"].strip('"') == told["store_etag"]
    part = requests.get(told["url"], headers={"Range": "bytes=5-9"}, timeout=30)
    assert (part.status_code, part.content) == (206, CONTENT[5:10])
    assert api.post("files/direct", {"path": ["f"]}).json()["size"] == len(CONTENT)


def test_small_contents_and_those_of_others_are_not(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    assert api.post("files/direct", {"id": api.file("small", b"1,2")["id"]}).json()["url"] is None
    number = api.file("f", CONTENT)["id"]
    other = Api(server.endpoint_url, server.add_user("ada"))
    assert other.post("files/direct", {"id": number}).status_code == 404
    folder = api.ok("files/create_folder", {"name": "folder"}, 201)["id"]
    assert api.post("files/direct", {"id": folder}).status_code == 400


def test_nobody_is_redirected_who_does_not_ask(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    number = api.file("f", CONTENT)["id"]
    answer = api.session.get(
        api.url("files/download"), params={"id": number}, allow_redirects=False, timeout=30
    )
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_server_without_a_store_has_no_such_extension() -> None:
    with live_server() as server:
        api = Api(server.endpoint_url, server.token)
        answer = api.post("files/direct", {"id": api.file("f", CONTENT)["id"]})
        assert (answer.status_code, answer.json()["url"]) == (200, None)
        assert "direct" not in answer.headers[RINOCLOUD_EXTENSIONS].split(", ")


def test_a_token_that_only_reads_is_enough(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    number = api.file("f", CONTENT)["id"]
    made = api.ok("users/create_token", {"name": "reader", "scope": "read"}, 201)
    reader = Api(server.endpoint_url, made["token"])
    assert reader.post("files/direct", {"id": number}).json()["url"] is not None
