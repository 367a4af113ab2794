"""The whole server on each place for contents: nothing but the store knows where they are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from rinofs.protocol.digests import parse_repr_digest
from rinofs.server.blobs.bucket import Bucket
from rinofs.server.blobs.memory import MemoryBlobStore
from rinofs.server.blobs.store import is_object_key
from rinofs.server.maintenance import fsck, gc
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import LiveServer, live_server
from tests.server import packs
from tests.server.client import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from rinofs.server.blobs.store import BlobStore
    from rinofs.server.services import Services

MIB = 1024 * 1024
LARGE = os.urandom(3 * MIB + 1)

STORES = ["disk", "memory", *(pytest.param(name, marks=pytest.mark.s3) for name in ("s3", "cached"))]


class Running:
    """A server, and what it works with, opened once more."""

    def __init__(self, server: LiveServer, blobs: BlobStore | None, url: str | None) -> None:
        self.server = server
        self.api = Api(server.endpoint_url, server.token)
        self.delayed = url is not None
        self._blobs = blobs
        self._url = url

    @contextmanager
    def services(self) -> Iterator[Services]:
        services = open_services(ServerSettings(self.server.data_dir, gc_delay=0), blobs=self._blobs)
        yield services
        services.close()

    def damage(self, damaged: Callable[[bytes], bytes]) -> None:
        """Change the bytes of every content where it is kept, past the server."""
        with self.services() as services:
            for key, size in list(services.blobs.stored()):
                with services.blobs.open_range(key, size) as reader:
                    content = damaged(reader.read())
                path = services.blobs.local_path(key)
                if isinstance(self._blobs, MemoryBlobStore):
                    self._blobs._contents[key] = content
                elif is_object_key(key):
                    Bucket(str(self._url)).put(key, content)
                elif path is not None:
                    path.write_bytes(content)
        shutil.rmtree(self.server.data_dir / "cache", ignore_errors=True)

    def get(self, number: int, **headers: str) -> requests.Response:
        answer = self.api.session.get(
            self.api.url("files/download"), params={"id": number}, headers=headers, timeout=30
        )
        assert "error" not in answer.headers.get("content-type", ""), answer.text
        return answer


@pytest.fixture(params=STORES)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    blobs = MemoryBlobStore() if request.param == "memory" else None
    in_bucket = request.param in {"s3", "cached"}
    url = request.getfixturevalue("s3_url") if in_bucket else None
    cache_size = 64 * MIB if request.param == "cached" else 0

    def configure(settings: ServerSettings) -> ServerSettings:
        return replace(settings, blobs_url=url, cache_size=cache_size)

    with live_server(blobs=blobs, configure=configure) as server:
        yield Running(server, blobs, url)


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_files_come_back_whole_and_in_parts(running: Running, content: bytes) -> None:
    number = running.api.file("f", content)["id"]
    whole = running.get(number)
    assert whole.content == content
    assert parse_repr_digest(whole.headers["repr-digest"])["blake3"] == blake3(content).hexdigest()
    head = running.api.session.head(running.api.url("files/download"), params={"id": number})
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")
    if content:
        for start, stop in [(0, 1), (1, len(content) - 1), (len(content) - 1, len(content))]:
            part = running.get(number, range=f"bytes={start}-{stop - 1}")
            assert (part.status_code, part.content) == (206, content[start:stop])


def test_several_ranges_come_in_one_answer(running: Running) -> None:
    number = running.api.file("f", LARGE)["id"]
    spans = [(5, 2_000_000), (2_500_000, 2_500_001), (3_000_000, len(LARGE))]
    asked = ",".join(f"{start}-{stop - 1}" for start, stop in spans)
    answer = running.get(number, range=f"bytes={asked}")
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    parts = answer.content.split(b"\r\n--" + boundary)
    assert len(answer.content) == int(answer.headers["content-length"])
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [
        LARGE[start:stop] for start, stop in spans
    ]


def test_many_small_files_by_one_request(running: Running) -> None:
    contents = {f"f{number}": str(number).encode() * number for number in range(1, 20)}
    files = [{"name": name, "size": len(content)} for name, content in contents.items()]
    parts: Any = {"json": (None, json.dumps({"files": files})), "file": ("f", b"".join(contents.values()))}
    made = running.api.session.post(running.api.url("files/upload_many"), files=parts, timeout=30)
    assert made.status_code == 201, made.text
    paths = [[name] for name in contents]
    answer = running.api.post("files/download_many", {"paths": paths}, timeout=30)
    assert answer.status_code == 200
    for content in contents.values():
        assert b"\r\n\r\n" + content + b"\r\n--" in answer.content


def test_appending(running: Running) -> None:
    number = running.api.file("f", b"first")["id"]
    running.api.ok("files/append", {"id": number, "chunk": ", second"})
    assert running.api.content(number) == b"first, second"


def test_what_was_deleted_is_removed_and_nothing_else(running: Running) -> None:
    kept, gone = running.api.file("kept", LARGE)["id"], running.api.file("gone", b"gone")["id"]
    running.api.ok("files/delete", {"id": gone}, 204)
    with running.services() as services:
        sizes = sorted(size for _, size in services.blobs.stored())
        assert sizes == ([4] if running.delayed else []) + [len(LARGE)]
        assert fsck(services).problems == ()
        assert gc(services).blobs_removed == (1 if running.delayed else 0)
        assert [size for _, size in services.blobs.stored()] == [len(LARGE)]
        checked = fsck(services)
    assert (checked.blobs_checked, checked.bytes_checked, checked.problems) == (1, len(LARGE), ())
    assert running.api.content(kept) == LARGE


def test_a_content_that_is_missing_is_named_and_answered_with_503(running: Running) -> None:
    number = running.api.file("f", LARGE)["id"]
    with running.services() as services:
        services.blobs.remove([key for key, _ in services.blobs.stored()], lambda _: set())
        problems = fsck(services).problems
    assert len(problems) == 1
    assert f"object {number}" in problems[0]
    assert "is missing" in problems[0]
    answer = running.get(number)
    assert answer.status_code == 503
    assert "error" in answer.json()


def in_one_request(running: Running, contents: dict[str, bytes]) -> None:
    one_by_one(running, {name: content for name, content in contents.items() if len(content) >= MIB})
    contents = {name: content for name, content in contents.items() if len(content) < MIB}
    files = [{"name": name, "size": len(content)} for name, content in contents.items()]
    parts: Any = {"json": (None, json.dumps({"files": files})), "file": ("f", b"".join(contents.values()))}
    made = running.api.session.post(running.api.url("files/upload_many"), files=parts, timeout=30)
    assert made.status_code == 201, made.text


def one_by_one(running: Running, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        running.api.file(name, content)


def in_a_datapack(running: Running, contents: dict[str, bytes]) -> None:
    api = packs.Api(running.server.endpoint_url, running.server.token)
    nodes = [packs.data(name, f"{name}.mp4") for name in contents]
    identifier = api.create(packs.pack(os.urandom(4).hex(), *nodes))
    for name, content in contents.items():
        assert api.put(identifier, f"{name}.mp4", content).status_code == 200


@pytest.mark.parametrize("same", [True, False], ids=["same names", "other names"])
@pytest.mark.parametrize("upload", [one_by_one, in_one_request, in_a_datapack])
def test_uploading_damaged_contents_again_repairs_them(
    running: Running, upload: Callable[[Running, dict[str, bytes]], None], same: bool
) -> None:
    contents = {"large": LARGE, **{f"f{number}": os.urandom(100 * number) for number in range(1, 5)}}
    numbers = {name: running.api.file(name, content)["id"] for name, content in contents.items()}
    damages: list[Callable[[bytes], bytes]] = [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:-1],
        lambda content: content + b"more",
        lambda _content: b"",
    ]
    for damaged in damages:
        running.damage(damaged)
        with running.services() as services:
            assert len(fsck(services).problems) == len(contents)
        upload(running, {name if same else f"{name} 2": content for name, content in contents.items()})
        with running.services() as services:
            assert fsck(services).problems == ()
            gc(services)
            assert len(list(services.blobs.stored())) == len(contents)
            assert fsck(services).problems == ()
        for name, content in contents.items():
            assert running.get(numbers[name]).content == content


def test_contents_of_datapacks(running: Running) -> None:
    api = packs.Api(running.server.endpoint_url, running.server.token)
    identifier = api.create(packs.pack("p", packs.data("video", "video.mp4")))
    assert api.put(identifier, "video.mp4", LARGE).status_code == 200
    sha1 = hashlib.sha1(LARGE).hexdigest()
    path = f"/datapacks/{identifier}/content/repovizz:{sha1}"
    assert api.get(path).content == LARGE
    part = api.get(path, headers={"range": "bytes=7-2000000"})
    assert (part.status_code, part.content) == (206, LARGE[7:2_000_001])
    with running.services() as services:
        assert gc(services).blobs_removed == 0
        assert fsck(services).problems == ()
