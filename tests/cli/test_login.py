"""`login`, against a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs.profiles import ProfileStore
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


def authenticated(server: LiveServer, token: str) -> int:
    """Return the status that a request with this token gets."""
    import requests

    answer = requests.get(
        f"{server.endpoint_url}/api/1/users/token/", headers={"Authorization": f"Token {token}"}, timeout=10
    )
    return answer.status_code


def test_a_password_becomes_a_stored_token(run: Run, server: LiveServer) -> None:
    result = run(
        "login",
        "rino",
        "--endpoint-url",
        server.endpoint_url,
        input=f"{server.username}\n{server.password}\n",
    )
    assert result.exit_code == 0, result.stderr
    profile = ProfileStore().load("rino")
    assert profile is not None
    assert (profile.username, profile.endpoint_url) == (server.username, server.endpoint_url)
    assert authenticated(server, profile.token) == 200
    assert profile.token != server.token
    for shown in (result.output, result.stderr):
        assert server.password not in shown
        assert profile.token not in shown


def test_a_password_comes_from_a_program_too(run: Run, server: LiveServer) -> None:
    args = ["login", "rino", "--endpoint-url", server.endpoint_url, "--username", server.username]
    result = run(*args, "--password-stdin", "--profile", "lab", input=f"{server.password}\n")
    assert result.exit_code == 0, result.stderr
    assert "FSSPEC_RINO_PROFILE=lab" in result.stdout
    assert ProfileStore().names("rino") == ["lab"]


def test_a_token_is_checked_and_stored_as_it_is(run: Run, server: LiveServer) -> None:
    args = ["login", "rino", "--endpoint-url", server.endpoint_url, "--token-stdin"]
    assert run(*args, input=server.token).exit_code == 0
    profile = ProfileStore().load("rino")
    assert profile is not None
    assert (profile.token, profile.username) == (server.token, server.username)
    refused = run(*args, "--profile", "other", input="rino_no-such-token\n")
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "no-such-token" not in refused.stderr
    assert ProfileStore().names("rino") == ["default"]


def test_secrets_come_from_files(run: Run, server: LiveServer, tmp_path: Path) -> None:
    password, token = tmp_path / "password", tmp_path / "token"
    password.write_text(f"{server.password}\n")
    token.write_text(f"{server.token}\n")
    for file in (password, token):
        file.chmod(0o600)
    login = ("login", "rino", "--endpoint-url", server.endpoint_url)
    signed_in = run(*login, "--username", server.username, "--password-file", str(password))
    assert (signed_in.exit_code, signed_in.stderr) == (0, "")
    assert run(*login, "--token-file", str(token), "--profile", "second").exit_code == 0
    found = ProfileStore().load("rino", "second")
    assert found is not None
    assert found.token == server.token
    token.chmod(0o644)
    assert "chmod 600" in run(*login, "--token-file", str(token)).stderr
    missing = run(*login, "--token-file", str(tmp_path / "none"))
    assert missing.exit_code == 1
    assert missing.stderr.startswith(f"rinofs: {tmp_path / 'none'}: cannot read the token")


@pytest.mark.parametrize("username", ["rino", "nobody"])
def test_a_wrong_password_is_one_line_and_stores_nothing(run: Run, server: LiveServer, username: str) -> None:
    result = run("login", "rino", "--endpoint-url", server.endpoint_url, input=f"{username}\npw-canary\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(
        f"rinofs: {server.endpoint_url}: the login was refused: "
    )
    assert "canary" not in result.output
    assert ProfileStore().names("rino") == []


def test_nothing_is_sent_in_the_clear_to_another_machine(run: Run) -> None:
    result = run("login", "rino", "--endpoint-url", "http://192.0.2.1", input="ada\npw\n")
    assert result.exit_code == 1
    assert "only sent over https" in result.stderr


def test_a_server_that_is_not_there_is_named(run: Run) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = run("login", "rino", "--endpoint-url", url, input="ada\npw\n")
    assert result.exit_code == 1
    assert url in result.stderr


def test_a_file_that_cannot_be_used_is_found_before_a_password_is_asked(run: Run, server: LiveServer) -> None:
    path = ProfileStore().path
    path.parent.mkdir()
    path.write_text("damaged")
    result = run("login", "rino", "--endpoint-url", server.endpoint_url)
    assert result.exit_code == 1
    assert "Password" not in result.output
    assert path.read_text() == "damaged"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--token-stdin", "--username", "ada"], 2),
        (["--password-stdin", "--token-stdin"], 2),
        (["--password-stdin", "--password-file", "x"], 2),
        (["--token-file", "x", "--username", "ada"], 2),
        (["--profile", "a/b"], 1),
        (["--endpoint-url", "lab.example", "--token-stdin"], 1),
    ],
)
def test_wrong_use(run: Run, args: list[str], code: int) -> None:
    result = run("login", "rino", *args, input="x\n")
    assert result.exit_code == code
    assert result.stderr.count("\n") == 1


def test_no_input_is_an_error_not_a_traceback(run: Run, server: LiveServer) -> None:
    result = run("login", "rino", "--endpoint-url", server.endpoint_url, input="")
    assert result.exit_code == 1
    assert "input ended" in result.stderr
