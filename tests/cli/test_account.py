"""`whoami`, `logout` and `--profile`, against real servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import fsspec
import pytest
from fsspec.config import conf

from rinofs.profiles import ProfileStore
from rinofs.testing import live_server
from tests.cli.conftest import point_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(scope="module")
def other() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


def log_in(run: Run, server: LiveServer, profile: str = "default") -> None:
    args = ["login", "rino", "--endpoint-url", server.endpoint_url, "--token-stdin", "--profile", profile]
    assert run(*args, input=server.token).exit_code == 0


def test_whoami_names_user_endpoint_and_where_the_token_is_from(
    run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = run("whoami")
    assert nobody.exit_code == 1
    assert "rinofs login" in nobody.stderr
    log_in(run, server)
    shown = run("whoami")
    assert shown.stdout == f"rino: rino at {server.endpoint_url} (token of profile 'default')\n"
    point_to(server, monkeypatch)
    assert "token of the environment" in run("whoami", "rino").stdout
    document = json.loads(run("whoami", "--json").stdout)
    assert [one["username"] for one in document] == ["rino"]
    assert server.token not in shown.output


def test_whoami_at_repovizz(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"endpoint_url": server.endpoint_url, "token": server.token}
    monkeypatch.setitem(conf, "repovizz", options)
    shown = run("whoami", "repovizz")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith(f"repovizz: rino at {server.endpoint_url} ")


def test_whoami_with_a_refused_token_is_an_error(
    run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conf, "rino", {"endpoint_url": server.endpoint_url, "token": "canary"})
    result = run("whoami")
    assert result.exit_code == 1
    assert "canary" not in result.output


def test_logout_deletes_one_login(run: Run, server: LiveServer) -> None:
    log_in(run, server)
    log_in(run, server, "lab")
    assert run("logout", "rino", "--profile", "lab").exit_code == 0
    assert ProfileStore().names("rino") == ["default"]
    again = run("logout", "rino", "--profile", "lab")
    assert again.exit_code == 1
    assert again.stderr.endswith("; stored profiles: default\n")
    assert run("logout", "rino").exit_code == 0
    assert run("logout", "repovizz").exit_code == 1


def test_profile_chooses_a_login_over_the_environment(
    run: Run, server: LiveServer, other: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each, name in ((server, "here"), (other, "there")):
        fs = fsspec.filesystem("rino", endpoint_url=each.endpoint_url, token=each.token)
        fs.pipe_file(f"{name}/a", b"1")
    log_in(run, other, "lab")
    point_to(server, monkeypatch)
    assert run("ls", "rino://").stdout == "here/\n"
    assert run("--profile", "lab", "ls", "rino://").stdout == "there/\n"
    assert run("ls", "rino://").stdout == "here/\n"  # it was chosen for one command
    missing = run("--profile", "nope", "ls", "rino://")
    assert missing.exit_code == 1
    assert "rinofs login rino --profile nope" in missing.stderr
