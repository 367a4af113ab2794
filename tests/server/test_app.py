from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
from starlette.applications import Starlette
from starlette.routing import Route

from rinofs.protocol.extensions import RinocloudExtension
from rinofs.server.app import REFUSALS, answering
from rinofs.server.settings import ServerSettings
from rinofs.server.web.responses import stream_json_list
from rinofs.testing import live_server
from rinofs.testing.live import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

HEADER = "rinocloud-api-extensions"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Handlers that fail, behind everything that stands before the real ones."""

    async def fail(_request: Request) -> Response:
        raise RuntimeError("on purpose")

    async def listing(request: Request) -> Response:
        count, size, broken = (int(request.query_params[name]) for name in ("pages", "size", "broken"))

        def pages() -> Iterator[list[object]]:
            for number in range(count):
                if number == broken:
                    raise RuntimeError("on purpose")
                yield [{"n": number * size + at} for at in range(size)]

        return stream_json_list(pages(), rest={"count": count * size})

    settings = ServerSettings(tmp_path_factory.mktemp("data"), shutdown_timeout=1.0)
    app = Starlette(
        routes=[Route("/fail/", fail), Route("/list/", listing)],
        middleware=answering(settings),
        exception_handlers=REFUSALS,
    )
    app.state.settings = settings
    with serving(app, settings) as url:
        yield url


def test_a_failure_is_an_honest_answer(url: str) -> None:
    with requests.Session() as session:
        for _ in range(2):
            answer = session.get(f"{url}/fail/", timeout=10)
            assert answer.status_code == 500
            assert answer.json() == {"error": "the server failed; its log says why"}


@pytest.mark.parametrize(("pages", "size"), [(0, 0), (1, 0), (1, 3), (3, 0), (2, 2), (50, 100)])
def test_lists_are_whole_in_pieces_of_any_size(url: str, pages: int, size: int) -> None:
    answer = requests.get(f"{url}/list/?pages={pages}&size={size}&broken=-1", timeout=10)
    assert answer.json() == {"result": [{"n": n} for n in range(pages * size)], "count": pages * size}
    in_one_piece = pages * (size > 0) < 2
    assert ("Content-Length" in answer.headers) == in_one_piece


def test_a_list_that_fails_at_once_is_an_error(url: str) -> None:
    for broken in (0, 1):
        answer = requests.get(f"{url}/list/?pages=3&size=2&broken={broken}", timeout=10)
        assert answer.status_code == 500


def test_a_list_that_fails_later_is_not_whole(url: str) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{url}/list/?pages=9&size=2&broken=5", timeout=10)


@pytest.mark.parametrize("extensions", [True, False])
def test_every_answer_of_the_api_says_what_the_server_can(extensions: bool) -> None:
    # Contents in a folder have no addresses of their own.
    offered = [one for one in RinocloudExtension if one is not RinocloudExtension.DIRECT]
    with live_server(extensions=extensions) as server:
        url = server.endpoint_url
        asked = [
            ("GET", "/health", {}, 200),
            ("GET", "/api/1/files/children", {}, 404),
            ("GET", "/nowhere/", {}, 404),
            ("PUT", "/health", {}, 405),
            ("POST", "/api/1/files/children/", {}, 401),
            ("POST", "/api/1/files/children/", {"Authorization": "Token wrong"}, 401),
            ("POST", "/api/1/files/children/", {"Authorization": f"Token {server.token}"}, 200),
            ("GET", "/health", {"Host": "evil.example"}, 200),
            ("GET", "/nowhere/", {"Host": "evil.example"}, 421),
        ]
        for method, path, headers, status in asked:
            answer = requests.request(method, url + path, headers=headers, timeout=10, allow_redirects=False)
            assert answer.status_code == status
            in_api = path.startswith("/api/1/")
            assert answer.headers.get(HEADER) == (", ".join(offered) if extensions and in_api else None)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Type"] == "application/json"
            if status == 401:
                assert answer.json().keys() == {"detail"}
                assert answer.headers["WWW-Authenticate"] == "Token"
            elif status >= 400:
                assert answer.json().keys() == {"error"}
            if status == 405:
                assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_a_path_without_its_slash_is_named_and_not_redirected() -> None:
    with live_server() as server:
        answer = requests.post(f"{server.endpoint_url}/api/1/files/upload", timeout=10, allow_redirects=False)
    assert answer.status_code == 404
    assert "end with a slash" in answer.json()["error"]


def test_health_needs_no_token() -> None:
    with live_server() as server:
        assert requests.get(f"{server.endpoint_url}/health", timeout=10).json() == {"status": "ok"}
        assert requests.head(f"{server.endpoint_url}/health", timeout=10).status_code == 200


def test_a_folder_is_released(tmp_path: Path) -> None:
    for _ in range(2):
        with live_server(data_dir=tmp_path) as server:
            assert server.data_dir == tmp_path
