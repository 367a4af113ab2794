"""Everything through nginx, as ``examples/deploy/nginx.conf`` has it: TLS, another port, and a sub-path."""

from __future__ import annotations

import hashlib
import os
import random
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import trustme
from blake3 import blake3

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.errors import AuthenticationError, TooLargeError, UnavailableError
from tests.campaign import rounds
from tests.server.browsing import Browser, Program, query_of
from tests.server.nginx import SCALE, Front, free_port, fronted, nginx, slowed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trustme.CA]:
    made = trustme.CA()
    bundle = tmp_path_factory.mktemp("authority") / "authority.pem"
    made.cert_pem.write_to_path(str(bundle))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        yield made


@pytest.fixture(scope="module")
def front(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronted(authority, tmp_path_factory.mktemp("nginx")) as made:
        yield made


@pytest.fixture(scope="module")
def below(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronted(authority, tmp_path_factory.mktemp("nginx"), "/lab") as made:
        yield made


def filesystem(front: Front, port: int | None = None) -> RinoFileSystem:
    url = front.server.endpoint_url.replace(str(front.port), str(port or front.port))
    return RinoFileSystem(endpoint_url=url, token=front.server.token, skip_instance_cache=True)


@pytest.mark.parametrize("which", ["front", "below"])
def test_files_datapacks_and_logins(which: str, request: pytest.FixtureRequest) -> None:
    front: Front = request.getfixturevalue(which)
    fs = filesystem(front)
    odd = ["exp/ä b.csv", "exp/100%2F?#.csv", "exp/lab/api/1/files"]
    fs.pipe({path: path.encode() for path in odd})
    fs.pipe({f"exp/many/{number}": b"x" * number for number in range(1, 100)})
    assert fs.cat(odd) == {path: path.encode() for path in odd}
    assert fs.du("exp/many") == sum(range(100))
    fs.set_metadata(odd[0], {"rate": 100})
    assert fs.count(rate=100) == 1
    assert fs.cat_ranges([odd[0]] * 2, [1, 3], [2, 5]) == [b"x", odd[0].encode()[3:5]]
    packs = RepovizzFileSystem(endpoint_url=front.server.endpoint_url, token=front.server.token)
    assert packs.ls("", detail=False) == []

    program = Program.register(front.server)
    browser = Browser()
    browser.session.verify = os.environ["REQUESTS_CA_BUNDLE"]
    page = browser.get(program.url())
    assert "; secure" in page.headers["set-cookie"].lower()
    style = next(part for part in page.text.split('"') if part.endswith(".css"))
    assert browser.get(urljoin(program.url(), style)).status_code == 200
    headers = {"origin": front.server.endpoint_url.removesuffix("/lab")}
    answer = browser.send(
        page, headers=headers, username=front.server.username, password=front.server.password
    )
    assert urljoin(program.url(), answer.headers["location"]) == program.url()
    code = query_of(browser.send(browser.get(program.url()), decision="allow").headers["location"])["code"]
    assert program.opens(program.token(code=code).json()["access_token"])


def made(path: Path, size: int) -> str:
    """Write a file that no compression makes smaller, and return its digest."""
    block = random.Random(size).randbytes(MIB)
    digest = blake3()
    with path.open("wb") as file:
        for number in range(size // MIB):
            piece = number.to_bytes(8, "big") + block[8:]
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, blake3).hexdigest()


def test_64_mib_at_a_megabyte_a_second(front: Front, tmp_path: Path) -> None:
    """Both take longer than any timeout on the way, and never pause for one."""
    expected = made(tmp_path / "up", 64 * MIB)
    with slowed(front.port, SCALE * MIB) as port:
        fs = filesystem(front, port)
        fs.put_file(tmp_path / "up", "slow.bin")
        fs.get_file("slow.bin", tmp_path / "down")
    assert fs.info("slow.bin")["blake3"] == digest_of(tmp_path / "down") == expected


@pytest.mark.soak
def test_large_files_are_whole(below: Front, tmp_path: Path) -> None:
    expected = made(tmp_path / "up", rounds(quick=192, soak=2048) * MIB)
    fs = filesystem(below)
    fs.put_file(tmp_path / "up", "large.bin")
    fs.get_file("large.bin", tmp_path / "down")
    assert fs.info("large.bin")["blake3"] == digest_of(tmp_path / "down") == expected


def test_an_upload_that_is_refused_says_why(front: Front, tmp_path: Path) -> None:
    """The server answers before the body is in; nginx must not make a 502 of that."""
    made(tmp_path / "up", 32 * MIB)
    url = front.server.endpoint_url
    with pytest.raises(AuthenticationError):
        RinoFileSystem(endpoint_url=url, token="wrong").put_file(tmp_path / "up", "refused.bin")


def test_the_limit_of_nginx_is_named(authority: trustme.CA, tmp_path: Path) -> None:
    with fronted(authority, tmp_path, without="client_max_body_size") as front:
        made(tmp_path / "up", 8 * MIB)
        fs = filesystem(front)
        with pytest.raises(TooLargeError, match=r"a proxy \(nginx\).*413.*client_max_body_size"):
            fs.put_file(tmp_path / "up", "large.bin")
        assert not fs.exists("large.bin")


def test_a_server_that_is_down_is_told_from_the_proxy(authority: trustme.CA, tmp_path: Path) -> None:
    with nginx(authority, tmp_path, f"127.0.0.1:{free_port()}", "") as port:
        fs = RinoFileSystem(endpoint_url=f"https://localhost:{port}", token="x")
        with pytest.raises(UnavailableError, match=r"a proxy \(nginx\).*502"):
            fs.cat_file("a")
