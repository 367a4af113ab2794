"""A bit that flips on the way is found by each digest, however a content is read."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.errors import ContentMismatchError
from rinofs.fs.blocks import shared_blocks
from rinofs.fs.transfer import splitting
from rinofs.http.content.verify import INLINE
from rinofs.protocol.digests import BLAKE3, DIGESTS, parse_repr_digest, repr_digest
from rinofs.protocol.extensions import (
    REPOVIZZ_EXTENSIONS,
    REPR_DIGEST,
    RINOCLOUD_EXTENSIONS,
    RinocloudExtension,
    extensions_in,
)
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.rinocloud.proxy import proxy_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.rinocloud.proxy import Answer, Exchange, Proxy

Read = Callable[[Any, str, "Path"], bytes]
ROUNDS = rounds(3, 1000)
SIZES = [3_000_000, 1000, INLINE + 1, 200_000, INLINE, 1][:ROUNDS]


class Way:
    """What happens between the two: one digest is offered, and a bit flips in what is sent."""

    def __init__(self, digest: str, seed: int) -> None:
        self.digest = digest
        self.bundles = False
        self.chance = random.Random(seed)
        self.contents: list[bytes] = []
        self.flips = False

    def __call__(self, exchange: Exchange) -> Callable[[Exchange], None]:
        return self._pass

    def _pass(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        answer.headers = list(map(self._offered, answer.headers))
        if self.flips and exchange.method == ("POST" if self.bundles else "GET"):
            self._flip(answer)
        exchange.answer(answer)

    def _offered(self, header: tuple[str, str]) -> tuple[str, str]:
        """Have one digest offered, as a server that knows no other one would."""
        name, value = header[0].lower(), header[1]
        if name in {RINOCLOUD_EXTENSIONS, REPOVIZZ_EXTENSIONS}:
            offered = extensions_in(value) - ({RinocloudExtension.BLAKE3} if self.digest != BLAKE3 else set())
            return name, ", ".join(sorted(offered))
        if name == REPR_DIGEST:
            digests = parse_repr_digest(value)
            return name, repr_digest({key: digests[key] for key in digests if key == self.digest})
        return header

    def _flip(self, answer: Answer) -> None:
        body = bytearray(answer.body)
        for content in self.contents:
            start = answer.body.find(content)
            if start < 0 and content.find(answer.body) >= 0:  # a part of it
                start, content = 0, answer.body
            if start >= 0 and content:
                body[start + self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
        answer.body = bytes(body)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@contextmanager
def damaging(server: LiveServer, digest: str, seed: int) -> Iterator[tuple[Way, Proxy]]:
    with proxy_to(server.endpoint_url) as between:
        between.faults = way = Way(digest, seed)
        yield way, between


# Ways of reading


def cat_file(fs: Any, path: str, _: Path) -> bytes:
    return bytes(fs.cat_file(path))


def get_file(fs: Any, path: str, target: Path) -> bytes:
    fs.get_file(path, target)
    return target.read_bytes()


def read_in_pieces(fs: Any, path: str, _: Path) -> bytes:
    with fs.open(path, "rb") as file:
        return b"".join(iter(lambda: file.read(100_000), b""))


def read_whole(fs: Any, path: str, _: Path) -> bytes:
    with fs.open(path, "rb") as file:
        return bytes(file.read())


WAYS = [cat_file, get_file, read_in_pieces, read_whole]


@pytest.mark.soak
@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize("digest", [*DIGESTS, "etag"])
def test_a_flipped_bit_is_found(server: LiveServer, tmp_path: Path, digest: str, read: Read) -> None:
    with damaging(server, digest, 1) as (way, between):
        fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
        transfers(fs, way, read, f"{digest}-{read.__name__}", tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("digest", [*DIGESTS, "etag"])
def test_a_flipped_bit_on_one_of_several_connections_is_found(
    server: LiveServer, tmp_path: Path, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "PART", 65_536)
    with damaging(server, digest, 2) as (way, between):
        fs = RinoFileSystem(endpoint_url=between.url, token=server.token, parallel_ranges=3)
        transfers(fs, way, get_file, f"parts-{digest}", tmp_path)
        assert between.seen.count("download") > ROUNDS


@pytest.mark.soak
@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize("digest", DIGESTS)
def test_a_flipped_bit_in_the_content_of_a_node_is_found(
    server: LiveServer, tmp_path: Path, digest: str, read: Read
) -> None:
    with damaging(server, digest, 3) as (way, between):
        fs = RepovizzFileSystem(endpoint_url=between.url, token=server.token)
        transfers(fs, way, read, f"{digest} {read.__name__}", tmp_path)


def transfers(fs: Any, way: Way, read: Read, folder: str, tmp_path: Path) -> None:
    """Read contents of each size, some damaged on the way: those raise, and nothing of them stays."""
    contents = {}
    for size in SIZES:
        contents[f"{folder}/{size}"] = way.chance.randbytes(size)
        fs.pipe_file(f"{folder}/{size}", contents[f"{folder}/{size}"])
    target = tmp_path / "target"
    for number in range(ROUNDS):
        path = [*contents][number % len(contents)]
        way.contents, way.flips = [contents[path]], number < 2 or way.chance.random() < 0.5
        fs.invalidate_cache()
        shared_blocks._start_empty()  # what was read whole before is not requested again
        if not way.flips:
            assert read(fs, path, target) == contents[path]
            target.unlink(missing_ok=True)
            continue
        with pytest.raises(ContentMismatchError, match=f"the {way.digest} of the received bytes"):
            read(fs, path, target)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.parametrize("digest", DIGESTS)
def test_flipped_bits_among_many_small_files_are_found(server: LiveServer, digest: str) -> None:
    chance = random.Random(4)
    files = {f"many-{digest}/{number}": chance.randbytes(2000 + number) for number in range(100)}
    with damaging(server, digest, 4) as (way, between):
        fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
        fs.pipe(files)
        way.bundles = True
        for number in range(rounds(2, 100)):
            paths = way.chance.sample([*files], way.chance.randrange(20, len(files)))
            wrong = paths[: number % len(paths)]
            way.contents, way.flips = [files[path] for path in wrong], True
            between.seen.clear()
            assert fs.cat(paths) == {path: files[path] for path in paths}
            assert between.seen.count("download") == len(wrong)
