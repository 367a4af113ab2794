"""Logging in: `rinofs login repovizz` and `rinofs.login`, with a browser that does what users do."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import requests
from click.testing import CliRunner, Result

import rinofs
from rinofs import RepovizzFileSystem
from rinofs.cli.main import main
from rinofs.errors import AuthenticationError, CredentialsError, DeadlineError, InvalidOptionError
from rinofs.profiles import ProfileStore
from rinofs.repovizz.login.listener import listening
from rinofs.repovizz.login.login import log_in, log_in_by_hand
from rinofs.repovizz.login.oauth import OAuthClient
from rinofs.testing import live_server
from tests.few_threads import few_threads, finished
from tests.forkserver import in_own_process
from tests.repovizz.logins import Visitor, query_of, registered
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(scope="module")
def visitor(server: LiveServer) -> Visitor:
    return Visitor(server)


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(tmp_path / "settings"))


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def redirect(port: int) -> str:
    return f"http://localhost:{port}"


def run(*args: Any, **options: Any) -> Result:
    return CliRunner().invoke(main, ["login", "repovizz", *map(str, args)], prog_name="rinofs", **options)


def test_the_command_opens_a_browser_and_keeps_the_tokens(
    server: LiveServer, visitor: Visitor, port: int, redirect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id, secret = registered(server, redirect)
    monkeypatch.setattr("webbrowser.open", visitor.opens)
    args = ["--endpoint-url", server.endpoint_url, "--client-id", client_id, "--port", port]
    result = run(*args, "--client-secret", secret)
    assert result.exit_code == 0, result.stderr
    profile = ProfileStore().load("repovizz")
    assert profile is not None
    assert (profile.username, profile.endpoint_url) == (server.username, server.endpoint_url)
    assert (profile.client_id, profile.client_secret) == (client_id, secret)
    assert profile.refresh_token
    for secret_text in (profile.token, profile.refresh_token, str(secret)):
        assert secret_text not in result.output
        assert secret_text not in result.stderr
    RepovizzFileSystem.clear_instance_cache()
    RepovizzFileSystem().ls("")  # of this login
    again = run(*args[:2], "--port", port)
    assert again.exit_code == 0, again.stderr  # the client of the last login


def test_a_client_without_a_secret_and_a_profile_of_its_own(
    server: LiveServer, visitor: Visitor, port: int, redirect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id, _ = registered(server, redirect, public=True)
    monkeypatch.setattr("webbrowser.open", visitor.opens)
    args = ["--endpoint-url", server.endpoint_url, "--client-id", client_id, "--port", port]
    result = run(*args, "--profile", "lab")
    assert result.exit_code == 0, result.stderr
    assert "FSSPEC_REPOVIZZ_PROFILE=lab" in result.stdout
    assert ProfileStore().names("repovizz") == ["lab"]


def test_without_a_browser_the_code_is_pasted(server: LiveServer, visitor: Visitor) -> None:
    client_id, secret = registered(server, f"{server.endpoint_url}/oauth/show_token")
    client = OAuthClient(server.endpoint_url, client_id, secret)
    shown: list[str] = []

    def paste_code(url: str) -> str:
        shown.append(visitor.where_allowed(url))
        return f"  {query_of(shown[-1])['code']}\n"

    assert log_in_by_hand(client, paste_code).refresh
    assert shown[0].startswith(f"{server.endpoint_url}/oauth/show_token?")
    assert query_of(shown[0])["code"] in requests.get(shown[0], timeout=30).text
    assert log_in_by_hand(client, visitor.where_allowed).access  # the whole address does too
    with pytest.raises(AuthenticationError, match="another login"):
        log_in_by_hand(client, lambda url: visitor.where_allowed(url).replace("state=", "state=x"))


def test_the_command_without_a_browser(server: LiveServer) -> None:
    client_id, secret = registered(server, f"{server.endpoint_url}/oauth/show_token")
    args = ["--endpoint-url", server.endpoint_url, "--client-id", client_id, "--client-secret", secret]
    result = run(*args, "--no-browser", input="no-such-code\n")
    assert result.exit_code == 1
    assert f"{server.endpoint_url}/oauth/authorize?" in result.stderr
    assert "no-such-code" not in result.stderr.replace("The code that is shown then: no-such-code", "")
    assert ProfileStore().names("repovizz") == []


def test_a_script_shows_the_link_and_waits(
    server: LiveServer,
    visitor: Visitor,
    port: int,
    redirect: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client_id, secret = registered(server, redirect)
    monkeypatch.setattr("webbrowser.open", visitor.opens)
    options = {"endpoint_url": server.endpoint_url, "client_id": client_id, "client_secret": secret}
    assert rinofs.login("repovizz", **options, port=port) == server.username
    assert f"{server.endpoint_url}/oauth/authorize?" in capsys.readouterr().out
    with pytest.raises(InvalidOptionError, match="rinofs login rino"):
        rinofs.login("rino")


def test_whoever_does_not_know_the_state_is_not_listened_to(
    server: LiveServer, visitor: Visitor, port: int, redirect: str
) -> None:
    client_id, secret = registered(server, redirect)
    client = OAuthClient(server.endpoint_url, client_id, secret)
    answers: list[int] = []

    def attack_then_follow(url: str) -> None:
        queries: list[dict[str, str]] = [
            {"code": "stolen", "state": "wrong"},
            {"code": "stolen"},
            {"error": "access_denied", "state": ""},
            {"state": query_of(url)["state"]},
            {},
        ]
        asked = (requests.get(f"{redirect}/?{urlencode(query)}", timeout=10) for query in queries)
        answers.extend(answer.status_code for answer in asked)
        answers.append(visitor.follow(url).status_code)

    tokens = log_in(client, attack_then_follow, port=port, timeout=30)
    assert tokens.access
    assert answers == [400] * 5 + [200]


def test_who_does_not_allow_is_told_so(
    server: LiveServer, visitor: Visitor, port: int, redirect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id, secret = registered(server, redirect)
    monkeypatch.setattr("webbrowser.open", lambda url: requests.get(visitor.refuse(url), timeout=10).ok)
    args = ["--endpoint-url", server.endpoint_url, "--client-id", client_id, "--client-secret", secret]
    result = run(*args, "--port", port)
    assert result.exit_code == 1
    assert "the login was denied (access_denied)" in result.stderr.splitlines()[-1]


def test_nobody_comes(server: LiveServer, port: int) -> None:
    client = OAuthClient(server.endpoint_url, "some-client")
    with pytest.raises(DeadlineError, match="no login within 1 s"):
        log_in(client, lambda _url: None, port=port, timeout=1)


def test_a_busy_port_is_told_at_once(server: LiveServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        args = ["--endpoint-url", server.endpoint_url, "--client-id", "some-client", "--port", port]
        result = run(*args)
    assert result.exit_code == 1
    assert f"cannot listen on port {port}" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_client_is_needed(server: LiveServer) -> None:
    result = run("--endpoint-url", server.endpoint_url)
    assert result.exit_code == 1
    assert "--client-id" in result.stderr


def test_a_wrong_secret_is_refused(server: LiveServer, visitor: Visitor, port: int, redirect: str) -> None:
    client_id, secret = registered(server, redirect)
    client = OAuthClient(server.endpoint_url, client_id, "wrong")
    with pytest.raises(AuthenticationError, match="401"):
        log_in(client, visitor.opens, port=port, timeout=30)
    assert str(secret) not in repr(OAuthClient(server.endpoint_url, client_id, secret))


def test_codes_are_not_sent_in_the_clear() -> None:
    with pytest.raises(CredentialsError, match="https"):
        OAuthClient("http://repovizz.example", "some-client")
    assert OAuthClient("http://localhost:1", "some-client").endpoint_url == "http://localhost:1"


@in_own_process
def test_the_listener_ends_with_the_login(port: int) -> None:
    threads = threading.active_count()
    with listening(port) as listener:
        assert listener.redirect_uri == f"http://localhost:{port}"
        assert requests.get(listener.redirect_uri, timeout=10).status_code == 400
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}", timeout=10)
    wait_until(lambda: threading.active_count() == threads)


def test_a_listener_that_cannot_start_says_so(port: int) -> None:
    def listen() -> None:
        with few_threads(0, "listener"), listening(port):
            pass

    with pytest.raises(RuntimeError, match="can't start"):
        finished(listen)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}", timeout=10)


def test_the_request_has_what_the_rules_ask_for(server: LiveServer) -> None:
    asked = OAuthClient(server.endpoint_url, "some-client").authorization("http://localhost:50009")
    query = query_of(asked.url)
    assert (query["response_type"], query["scope"]) == ("code", "basic")
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    assert len(query["state"]) >= 32
    assert asked.verifier not in asked.url
    assert asked.verifier not in repr(asked)
