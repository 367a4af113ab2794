"""A store that fails: an answer that may be asked for again, nothing half-made, and no wrong byte."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import fsspec
import pytest
import requests

from rinofs.errors import RinofsError
from rinofs.server.blobs.bucket import Bucket
from rinofs.server.maintenance import fsck, gc
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import LiveServer, live_server
from tests.server.client import Api
from tests.server.store_proxy import StoreFault, StoreProxy, store_proxy
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.seaweed import Seaweed

MIB = 1024 * 1024
SMALL, LARGE = os.urandom(300_000), os.urandom(20 * MIB + 1)

FAILING = {
    "500": StoreFault(status=500),
    "503": StoreFault(status=503),
    "no answer": StoreFault(silent=True),
}


@pytest.fixture
def proxy(shared_seaweed: Seaweed, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreProxy]:
    with store_proxy(shared_seaweed.endpoint_url) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint_url)
        yield running


@contextmanager
def serving(s3_url: str, **settings: float) -> Iterator[LiveServer]:
    with live_server(configure=lambda known: replace(known, blobs_url=s3_url, **settings)) as running:
        yield running


@pytest.fixture
def server(proxy: StoreProxy, s3_url: str) -> Iterator[LiveServer]:
    with serving(s3_url) as running:
        yield running


def objects(s3_url: str) -> list[int]:
    """Return the sizes of the objects after a collection of what is known to be needed by nobody."""
    return sorted(size for _, size, _ in Bucket(s3_url).objects("c"))


def collected(server: LiveServer, s3_url: str) -> list[int]:
    gc(server._services)
    return objects(s3_url)


def upload(api: Api, name: str, content: bytes) -> requests.Response:
    return api.session.post(
        api.url("files/upload_multipart"),
        files={"json": (None, f'{{"name": "{name}"}}'), "file": (name, content)},
        timeout=60,
    )


@pytest.mark.parametrize("fault", FAILING)
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_is_refused_and_leaves_nothing(
    server: LiveServer, proxy: StoreProxy, s3_url: str, fault: str, content: bytes
) -> None:
    api = Api(server.endpoint_url, server.token)
    proxy.fault = lambda method, _: FAILING[fault] if method in {"PUT", "POST"} else None
    answer = upload(api, "f", content)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text
    assert "the store that keeps the contents failed" in answer.json()["error"]
    assert api.post("files/children", {}).json()["result"] == []
    proxy.fault = None
    assert upload(api, "f", content).status_code == 201
    assert collected(server, s3_url) == [len(content)]


def test_small_files_of_one_request_are_fetched_together(proxy: StoreProxy, s3_url: str) -> None:
    """Several requests to the store are under way at a time, one for each file."""
    with serving(s3_url) as server:
        api = Api(server.endpoint_url, server.token)
        names = [f"f{number}" for number in range(16)]
        for name in names:
            assert upload(api, name, name.encode()).status_code == 201
        lock, underway, most, asked = threading.Lock(), 0, 0, 0
        together = threading.Event()

        def count(method: str, _path: str) -> None:
            nonlocal underway, most, asked
            if method != "GET":
                return
            with lock:
                underway, asked = underway + 1, asked + 1
                most = max(most, underway)
            if most > 3:
                together.set()
            together.wait(30)
            with lock:
                underway -= 1

        proxy.fault = count
        answer = api.post("files/download_many", {"paths": [[name] for name in names]}, timeout=600)
        proxy.fault = None
    assert answer.status_code == 200
    assert [name for name in names if f"\r\n\r\n{name}\r\n--".encode() not in answer.content] == []
    assert (most > 3, asked) == (True, len(names))


def test_a_store_that_is_late_is_one_that_fails(proxy: StoreProxy, s3_url: str) -> None:
    with serving(s3_url, store_timeout=2.0) as server:
        api = Api(server.endpoint_url, server.token)
        # A busy machine may take longer than that itself.
        wait_until(lambda: upload(api, "f", SMALL).status_code == 201)
        number = api.post("files/children", {}).json()["result"][0]["id"]
        for method in ("PUT", "GET"):
            proxy.fault = lambda used, _, late=method: StoreFault(delay=4.0) if used == late else None
            answer = (
                upload(api, "g", b"other")
                if method == "PUT"
                else api.session.get(api.url("files/download"), params={"id": number}, timeout=60)
            )
            assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text
        proxy.fault = None
        wait_until(lambda: upload(api, "g", b"other").status_code == 201)


@pytest.mark.parametrize("fault", FAILING)
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_download_is_refused(server: LiveServer, proxy: StoreProxy, fault: str, content: bytes) -> None:
    api = Api(server.endpoint_url, server.token)
    number = api.file("f", content)["id"]
    proxy.fault = lambda method, _: FAILING[fault] if method == "GET" else None
    answer = api.session.get(api.url("files/download"), params={"id": number}, timeout=60)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text
    proxy.fault = None
    assert api.content(number) == content


def test_what_breaks_off_is_never_taken_for_whole(server: LiveServer, proxy: StoreProxy) -> None:
    api = Api(server.endpoint_url, server.token)
    number = api.file("f", LARGE)["id"]
    asked = 0

    def later(method: str, _path: str) -> StoreFault | None:
        nonlocal asked
        asked += method == "GET"
        return StoreFault(status=503) if asked > 3 else None

    proxy.fault = later
    with pytest.raises(requests.RequestException):
        api.session.get(api.url("files/download"), params={"id": number}, timeout=60)


def test_a_part_that_breaks_off_is_asked_for_again(server: LiveServer, proxy: StoreProxy) -> None:
    api = Api(server.endpoint_url, server.token)
    number = api.file("f", LARGE)["id"]
    broken = 0

    def now_and_then(method: str, _path: str) -> StoreFault | None:
        nonlocal broken
        broken += method == "GET"
        return StoreFault(cut_after=100_000) if broken % 2 else None

    proxy.fault = now_and_then
    assert api.content(number) == LARGE
    assert broken > 5


def test_wrong_bytes_are_found_by_the_digest(server: LiveServer, proxy: StoreProxy) -> None:
    fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)
    fs.pipe_file("f", SMALL)
    proxy.fault = lambda method, _: StoreFault(wrong_byte=77) if method == "GET" else None
    with pytest.raises((RinofsError, OSError), match=r"digest|checksum|sha|blake3"):
        fs.cat_file("f")
    services = open_services(ServerSettings(server.data_dir))
    proxy.fault = lambda method, path: (
        StoreFault(wrong_byte=77) if method == "GET" and "/c/" in path else None
    )
    problems = fsck(services).problems
    services.close()
    assert len(problems) == 1
    assert "is damaged" in problems[0]
    proxy.fault = None
    assert fs.cat_file("f") == SMALL


@pytest.mark.parametrize("fault", FAILING)
def test_a_server_is_not_ready_while_its_store_is_down(
    server: LiveServer, proxy: StoreProxy, fault: str
) -> None:
    def ready() -> requests.Response:
        return requests.get(f"{server.endpoint_url}/ready", timeout=60)

    wait_until(lambda: ready().status_code == 200)
    proxy.fault = lambda _method, _path: FAILING[fault]
    wait_until(lambda: ready().status_code != 200)
    answer = ready()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert requests.get(f"{server.endpoint_url}/health", timeout=60).status_code == 200
    proxy.fault = None
    wait_until(lambda: ready().status_code == 200)


def test_a_store_that_fails_during_a_collection_loses_nothing(
    server: LiveServer, proxy: StoreProxy, s3_url: str
) -> None:
    api = Api(server.endpoint_url, server.token)
    kept, gone = api.file("kept", SMALL)["id"], api.file("gone", b"gone")["id"]
    api.ok("files/delete", {"id": gone}, 204)
    services = open_services(ServerSettings(server.data_dir, gc_delay=0))
    proxy.fault = lambda method, _: StoreFault(status=503) if method in {"POST", "DELETE"} else None
    with pytest.raises(Exception, match="the store that keeps the contents failed"):
        gc(services)
    proxy.fault = None
    assert objects(s3_url) == [4, len(SMALL)]
    gc(services)
    services.close()
    assert objects(s3_url) == [len(SMALL)]
    assert api.content(kept) == SMALL
