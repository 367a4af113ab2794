"""What a proxy says of its clients, and servers that are mounted below a path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.cli.main import main
from rinofs.server.app import REFUSALS, answering
from rinofs.server.settings import ServerSettings
from rinofs.server.web.proxies import check_root_path
from rinofs.testing import LiveServer, live_server
from rinofs.testing.live import serving
from tests.forkserver import server_process
from tests.server.browsing import Browser, Program, query_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

PEER = "127.0.0.1"


async def told(request: Request) -> JSONResponse:
    assert request.client is not None
    return JSONResponse([request.client.host, request.url.scheme, request.headers["host"]])


def asking(folder: Path, *proxies: str) -> Iterator[str]:
    settings = ServerSettings(
        folder, trusted_proxies=proxies, allowed_hosts=("lab.example",), shutdown_timeout=1
    )
    app = Starlette(
        routes=[Route("/told", told)], middleware=answering(settings), exception_handlers=REFUSALS
    )
    app.state.settings = settings
    with serving(app, settings) as url:
        yield url


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from asking(tmp_path_factory.mktemp("data"), "127.0.0.0/8", "10.0.0.1", "2001:db8:ffff::/48")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from asking(tmp_path_factory.mktemp("data"), "192.0.2.1")


def answer_of(url: str, headers: dict[str, str]) -> list[str]:
    answer = requests.get(f"{url}/told", headers={"Host": "localhost", **headers}, timeout=10)
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()
    return found


FORWARDED = [
    ({}, [PEER, "http", "localhost"]),
    ({"X-Forwarded-For": "192.0.2.7"}, ["192.0.2.7", "http", "localhost"]),
    ({"X-Forwarded-For": "192.0.2.7:5123"}, ["192.0.2.7", "http", "localhost"]),
    ({"X-Forwarded-For": "2001:db8::7"}, ["2001:db8::7", "http", "localhost"]),
    ({"X-Forwarded-For": "[2001:db8::7]:512"}, ["2001:db8::7", "http", "localhost"]),
    ({"X-Forwarded-For": "::ffff:192.0.2.7"}, ["192.0.2.7", "http", "localhost"]),
    # What a client made up stands before what the proxy saw.
    ({"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}, ["192.0.2.7", "http", "localhost"]),
    ({"X-Forwarded-For": "192.0.2.7, 10.0.0.1"}, ["192.0.2.7", "http", "localhost"]),
    ({"X-Forwarded-For": "192.0.2.7, 2001:db8:ffff::3, 10.0.0.1"}, ["192.0.2.7", "http", "localhost"]),
    ({"X-Forwarded-For": "192.0.2.7, unknown, 10.0.0.1"}, ["10.0.0.1", "http", "localhost"]),
    ({"X-Forwarded-For": "nonsense"}, [PEER, "http", "localhost"]),
    ({"X-Forwarded-For": ""}, [PEER, "http", "localhost"]),
    ({"X-Forwarded-Proto": "https"}, [PEER, "https", "localhost"]),
    ({"X-Forwarded-Proto": "HTTPS"}, [PEER, "https", "localhost"]),
    ({"X-Forwarded-Proto": "javascript"}, [PEER, "http", "localhost"]),
    ({"X-Forwarded-Proto": "https, http"}, [PEER, "http", "localhost"]),
    (
        {"X-Forwarded-For": "192.0.2.7, 10.0.0.1", "X-Forwarded-Proto": "https, http"},
        ["192.0.2.7", "https", "localhost"],
    ),
    ({"X-Forwarded-Host": "lab.example:8443"}, [PEER, "http", "lab.example:8443"]),
    ({"X-Forwarded-Host": "lab.example", "Host": "inner:80"}, [PEER, "http", "lab.example"]),
    ({"Forwarded": "for=192.0.2.7;proto=https;host=lab.example"}, ["192.0.2.7", "https", "lab.example"]),
    ({"Forwarded": 'For="[2001:db8::7]:4711"; Proto=HTTPS'}, ["2001:db8::7", "https", "localhost"]),
    (
        {
            "Forwarded": "for=198.51.100.1, "
            'for=192.0.2.7;proto=https;host="lab.example:1", for=10.0.0.1;proto=http'
        },
        ["192.0.2.7", "https", "lab.example:1"],
    ),
    ({"Forwarded": "for=_hidden;proto=https"}, [PEER, "https", "localhost"]),
    ({"Forwarded": "for=192.0.2.7;;=,"}, [PEER, "http", "localhost"]),
    ({"Forwarded": 'for="192.0.2.7'}, [PEER, "http", "localhost"]),
    # A proxy that knows only one of them passes the other one on as its client has sent it.
    (
        {"Forwarded": "for=198.51.100.1;host=evil.example", "X-Forwarded-For": "192.0.2.7"},
        ["192.0.2.7", "http", "localhost"],
    ),
]


@pytest.mark.parametrize(("headers", "expected"), FORWARDED)
def test_a_trusted_proxy_is_believed(trusting: str, headers: dict[str, str], expected: list[str]) -> None:
    assert answer_of(trusting, headers) == expected


@pytest.mark.parametrize(("headers", "_expected"), FORWARDED)
def test_nobody_else_is(alone: str, headers: dict[str, str], _expected: list[str]) -> None:
    if headers.get("Host", "localhost") == "localhost":
        assert answer_of(alone, headers) == [PEER, "http", "localhost"]


def test_the_host_that_a_proxy_tells_must_be_the_servers(trusting: str) -> None:
    answer = requests.get(f"{trusting}/told", headers={"X-Forwarded-Host": "evil.example"}, timeout=10)
    assert answer.status_code == 421


# Below a path


@pytest.fixture(scope="module", params=["/lab", "/a/b.c/~d"])
def mounted(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with live_server(configure=lambda settings: replace(settings, root_path=request.param)) as server:
        server.endpoint_url += request.param
        yield server


def root_of(server: LiveServer) -> str:
    return "/" + server.endpoint_url.split("/", 3)[3]


def test_files_and_names_of_any_kind(mounted: LiveServer) -> None:
    fs = RinoFileSystem(endpoint_url=mounted.endpoint_url, token=mounted.token)
    name = "run/lab/ä %2F?#.bin"
    fs.pipe_file(name, b"content" * 1000)
    assert fs.cat_file(name, 7, 14) == b"content"
    assert fs.find("run") == [name]
    fs.rm("run", recursive=True)
    packs = RepovizzFileSystem(endpoint_url=mounted.endpoint_url, token=mounted.token)
    assert isinstance(packs.ls("", detail=False), list)


def test_a_proxy_may_take_the_path_off(mounted: LiveServer) -> None:
    bare = mounted.endpoint_url.removesuffix(root_of(mounted))
    for url in (bare, mounted.endpoint_url):
        assert requests.get(f"{url}/health", timeout=10).json() == {"status": "ok"}
        fs = RinoFileSystem(endpoint_url=url, token=mounted.token)
        assert fs.exists("") is True
        answer = requests.get(f"{url}/nowhere/", timeout=10)
        assert (answer.status_code, answer.json()["error"].split()[0]) == (
            404,
            f"{root_of(mounted)}/nowhere/",
        )
    headers = {"Authorization": f"Token {mounted.token}"}
    doubled = requests.post(f"{mounted.endpoint_url}//api/1/files/children/", headers=headers, timeout=10)
    assert doubled.status_code == 200
    assert "rinocloud-api-extensions" in doubled.headers
    assert requests.get(f"{mounted.endpoint_url}x/health", timeout=10).status_code == 404


def test_a_program_gets_access(mounted: LiveServer) -> None:
    root = root_of(mounted)
    program = Program.register(mounted)
    browser = Browser()
    page = browser.get(program.url())
    style = next(part for part in page.text.split('"') if part.endswith(".css"))
    assert (
        requests.get(urljoin(program.url(), style), timeout=10).headers["content-type"].startswith("text/css")
    )
    assert f"Path={root}/oauth" in page.headers["set-cookie"]
    signed_in = browser.send(page, username=mounted.username, password=mounted.password)
    where = urljoin(program.url(), signed_in.headers["location"])
    assert where == program.url()
    left = browser.send(browser.get(where), decision="leave")
    assert urljoin(where, left.headers["location"]) == program.url()
    browser.send(browser.get(where), username=mounted.username, password=mounted.password)
    allowed = browser.send(browser.get(where), decision="allow")
    code = query_of(allowed.headers["location"])["code"]
    tokens = program.token(code=code)
    assert tokens.status_code == 200, tokens.text
    assert program.opens(tokens.json()["access_token"])


def test_the_page_that_shows_a_code_is_below_it_too(mounted: LiveServer) -> None:
    shown = f"{mounted.endpoint_url}/oauth/show_token"
    Program.register(mounted, redirect_uri=shown)  # admitted, though it has no https
    page = requests.get(f"{shown}?code=abc", timeout=10)
    assert (page.status_code, f'href="{root_of(mounted)}/oauth/style.css"' in page.text) == (200, True)


@pytest.mark.parametrize(
    "path", ["lab", "/a b", "/a/../b", "//", "/x?y", "/api", "/oauth/x", "/health", "/ä"]
)
def test_what_no_server_can_be_mounted_below(path: str) -> None:
    if path == "//":
        assert check_root_path(path) == ""
        return
    with pytest.raises(ValueError, match=r"slash|own paths"):
        check_root_path(path)


def test_the_server_is_the_more_patient_one() -> None:
    """nginx and load balancers rest for 60 s between two requests, and wait as long for more of a body."""
    settings = ServerSettings(Path())
    assert settings.idle_timeout >= 75
    assert min(settings.body_timeout, settings.write_timeout) >= 60


@pytest.mark.parametrize(
    "args", [("--trusted-proxy", "lab.example"), ("--root-path", "lab"), ("--root-path", "/api")]
)
def test_options_that_cannot_be_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["serve", "--data", str(tmp_path), "--port", "0", *args])
    assert ended.value.code == 2
    assert args[1] in capsys.readouterr().err


def test_the_command_serves_below_a_path(tmp_path: Path) -> None:
    with server_process(tmp_path, "--root-path", "/lab/", "--trusted-proxy", "127.0.0.1") as server:
        url = f"{server.endpoint_url}/lab/oauth/show_token?code=x"
        assert 'href="/lab/oauth/style.css"' in requests.get(url, timeout=10).text
        answer = requests.get(url, headers={"X-Forwarded-Host": "evil.example"}, timeout=10)
        assert answer.status_code == 421
