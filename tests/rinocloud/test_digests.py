"""The best digest that client and server both have: in uploads, downloads and records, with any server."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.errors import InvalidRequestError
from rinofs.http.content.verify import INLINE
from rinofs.protocol.digests import BLAKE3, DIGESTS, SHA256, new_hasher
from rinofs.protocol.extensions import (
    REPOVIZZ_EXTENSIONS,
    RINOCLOUD_EXTENSIONS,
    WANT_REPR_DIGEST,
    RinocloudExtension,
    extensions_in,
)
from rinofs.testing import live_server
from tests.rinocloud.proxy import proxy_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer
    from tests.rinocloud.proxy import Exchange, Proxy

SMALL, LARGE = b"small", bytes(INLINE + 1)
UPLOADS = {"upload_multipart", "upload_many", "content"}


def digest_of(data: bytes, name: str) -> str:
    hasher = new_hasher(name)
    hasher.update(data)
    return hasher.hexdigest()


class Listener:
    """Passes everything on, and notes the digests in uploads and the headers of reads."""

    def __init__(self, *without: str) -> None:
        self.without = set(without)
        self.damages = False
        self.sent: list[str] = []
        self.wanted: list[str] = []

    def __call__(self, exchange: Exchange) -> Any:
        return self._exchange

    def _exchange(self, exchange: Exchange) -> None:
        if exchange.endpoint == "download_many":
            self.wanted.append(exchange.headers.get(WANT_REPR_DIGEST, ""))
        if exchange.endpoint in UPLOADS:
            body = exchange.reader.read(exchange.length)
            self.sent += re.findall(r'(?:name="|")(blake3|sha256)"', body.decode("latin-1"))
            if self.damages:
                body = body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1 :]
            exchange.reader = io.BytesIO(body)
        answer = exchange.forward()
        answer.headers = [
            (name, ", ".join(sorted(extensions_in(value) - self.without)))
            if name.lower() in {RINOCLOUD_EXTENSIONS, REPOVIZZ_EXTENSIONS}
            else (name, value)
            for name, value in answer.headers
        ]
        exchange.answer(answer)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@pytest.fixture
def between(server: LiveServer) -> Iterator[Proxy]:
    with proxy_to(server.endpoint_url) as between:
        yield between


@pytest.mark.parametrize(
    ("without", "expected"), [([], BLAKE3), (["blake3"], SHA256), (["blake3", "digest"], None)]
)
def test_uploads_end_with_the_best_digest(
    server: LiveServer, between: Proxy, without: list[str], expected: str | None
) -> None:
    between.faults = seen = Listener(*without)
    fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
    fs.pipe_file("up/small", SMALL)
    fs.pipe_file("up/large", LARGE)
    with fs.open("up/written", "wb") as file:
        file.write(SMALL)
    with fs.open("up/written", "ab") as file:
        file.write(SMALL)
    assert set(seen.sent) == ({expected} if expected else set())
    assert len(seen.sent) == (4 if expected else 0)
    assert [fs.cat_file(f"up/{name}") for name in ("small", "large", "written")] == [SMALL, LARGE, SMALL * 2]
    assert fs.get_metadata("up/large") == {}


@pytest.mark.parametrize(("without", "expected"), [([], BLAKE3), (["blake3"], SHA256)])
def test_bundles_have_the_best_digest(
    server: LiveServer, between: Proxy, without: list[str], expected: str
) -> None:
    between.faults = seen = Listener(*without)
    fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
    files = {f"bundle {expected}/{number}": b"%d" % number for number in range(20)}
    fs.pipe(files)
    assert seen.sent == [expected] * 20
    assert fs.cat([*files]) == files
    assert seen.wanted == [f"{DIGESTS[expected]}=10"]
    assert between.seen.count("download") == 0


@pytest.mark.parametrize(("without", "expected"), [([], [BLAKE3]), (["blake3"], [])])
def test_uploads_of_nodes(
    server: LiveServer, between: Proxy, without: list[str], expected: list[str]
) -> None:
    between.faults = seen = Listener(*without)
    fs = RepovizzFileSystem(endpoint_url=between.url, token=server.token)
    fs.ls("")
    for name, data in {"small": SMALL, "large": LARGE}.items():
        fs.pipe_file(f"nodes {expected}/{name}", data)
        assert fs.cat_file(f"nodes {expected}/{name}") == data
    assert seen.sent == expected * 2


@pytest.mark.parametrize("data", [SMALL * 1000, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("digest", DIGESTS)
def test_what_is_damaged_on_the_way_in_is_refused(
    server: LiveServer, between: Proxy, digest: str, data: bytes
) -> None:
    behind = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    between.faults = way = Listener(*({RinocloudExtension.BLAKE3} - {digest}))
    fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
    fs.pipe_file("damaged", b"before")
    way.damages = True
    with pytest.raises(InvalidRequestError, match=digest):
        fs.pipe_file("damaged", data)
    with pytest.raises(InvalidRequestError, match=digest), fs.open("damaged", "wb") as file:
        file.write(data)
    behind.invalidate_cache()
    assert behind.cat_file("damaged") == b"before"


def test_records_have_it(server: LiveServer) -> None:
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    fs.pipe({"records/small": SMALL, "records/large": LARGE})
    for info in [*fs.ls("records"), fs.info("records/small")]:
        data = SMALL if info["name"].endswith("small") else LARGE
        assert info[BLAKE3] == digest_of(data, BLAKE3)
        assert info[SHA256] in {None, digest_of(data, SHA256)}
        assert fs.digests_of(info).keys() >= {BLAKE3, "etag"}
    for scan in (False, True):
        wanted = digest_of(LARGE, BLAKE3)
        assert [info["name"] for info in fs.query("records", blake3=wanted, scan=scan)] == ["records/large"]


def test_a_server_without_it_takes_the_name_for_metadata(server: LiveServer, between: Proxy) -> None:
    between.faults = Listener(RinocloudExtension.BLAKE3)
    fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
    fs.pipe_file("scanned/a", SMALL)
    assert not [*fs.query("scanned", blake3=digest_of(SMALL, BLAKE3), scan=True)]
    assert [*fs.query("scanned", sha256=digest_of(SMALL, SHA256), scan=True)]


WITHOUT_MODULE = """
import json, sys
sys.modules["blake3"] = None
from rinofs import RepovizzFileSystem, RinoFileSystem, sync
endpoint_url, token, folder = sys.argv[1:]
options = {"endpoint_url": endpoint_url, "token": token}
fs, packs = RinoFileSystem(**options), RepovizzFileSystem(**options)
files = {f"bare/{number}": bytes(number * 200_000) for number in range(12)}
fs.pipe(files)
assert fs.cat([*files]) == files
for path, data in files.items():
    assert fs.cat_file(path) == data
    with fs.open(path) as file:
        assert file.read() == data
fs.get("bare/", folder, recursive=True)
assert sync(folder, "rino://bare", target_options=options).unchanged == 12
packs.pipe_file("bare/node", bytes(2_000_000))
assert packs.cat_file("bare/node") == bytes(2_000_000)
print(json.dumps(fs.info("bare/11")["blake3"]))
"""


def test_without_the_module_everything_works(server: LiveServer, between: Proxy, tmp_path: Any) -> None:
    between.faults = seen = Listener()
    command = [sys.executable, "-c", WITHOUT_MODULE, between.url, server.token, str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(seen.sent) == {SHA256}
    assert set(seen.wanted) == {f"{DIGESTS[SHA256]}=10"}
    assert json.loads(done.stdout) == digest_of(bytes(2_200_000), BLAKE3)


def test_an_upload_is_not_repeated_with_a_digest_that_the_server_no_longer_knows(
    server: LiveServer, between: Proxy
) -> None:
    fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
    fs.ls("")
    old = Listener(RinocloudExtension.BLAKE3)

    def replaced(exchange: Exchange) -> None:
        between.faults = old
        fs.ls("", refresh=True)  # by now it is known that another server is there
        exchange.hang_up()

    between.faults = lambda exchange: replaced if exchange.endpoint == "upload_multipart" else None
    fs.pipe_file("again", LARGE)
    assert old.sent == [SHA256]
    assert fs.cat_file("again") == LARGE
