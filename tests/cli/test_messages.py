"""What people read when their first steps go wrong: what happened, to what, and what to do next."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from fsspec.config import conf

from rinofs.testing import live_server
from tests.cli.conftest import point_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def running() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@pytest.fixture
def server(running: LiveServer, monkeypatch: pytest.MonkeyPatch) -> LiveServer:
    point_to(running, monkeypatch)
    return running


def said(run: Run, *args: str, code: int = 1) -> str:
    result = run(*args)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr.removeprefix("rinofs: ").removesuffix("\n")


def configure(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    monkeypatch.setitem(conf, "rino", {**conf["rino"], **settings})


def test_a_wrong_token(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, token="wrong")
    assert said(run, "ls", "rino://") == (
        "the token was refused (401): rino://; the service says: invalid token; "
        "log in again with `rinofs login`, or pass a token"
    )


def test_no_token(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(conf, "rino")
    assert said(run, "ls", "rino://") == (
        "there is no token for this endpoint: pass token=..., set FSSPEC_RINO_TOKEN, or run `rinofs login "
        "rino --endpoint-url https://rinocloud.com`; for another server, set FSSPEC_RINO_ENDPOINT_URL as well"
    )


def test_no_server(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    configure(monkeypatch, endpoint_url=f"http://{host}")
    assert said(run, "ls", "rino://exp1") == (
        f"could not connect to {host} (Connection refused): rino://exp1; "
        "is the server running, and is endpoint_url right?"
    )


def test_https_where_there_is_none(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, endpoint_url=server.endpoint_url.replace("http:", "https:"))
    assert f"does not speak https: is it {server.endpoint_url}?" in said(run, "ls", "rino://exp1")


def test_an_endpoint_that_is_too_long(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, endpoint_url=f"{server.endpoint_url}/api/1/")
    assert "an endpoint URL is the server's, without /api/1" in said(run, "ls", "rino://exp1")


def test_a_missing_file(run: Run, server: LiveServer) -> None:
    assert said(run, "cat", "rino://exp1/a.csv") == (
        "not found (404): rino://exp1/a.csv; the service says: path: 'exp1' does not exist at the top level"
    )


@pytest.mark.parametrize("args", [(), ("login",), ("admin",), ("admin", "user"), ("datapack",)])
def test_a_group_without_a_command_shows_its_help(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    shown = result.stderr.splitlines()
    assert shown[0] == " ".join(["Usage: rinofs", *args, "[OPTIONS] COMMAND [ARGS]..."])
    assert "Commands:" in shown
