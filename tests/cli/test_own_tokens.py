"""`rinofs token` and `rinofs passwd`: what users do for themselves, through the server's API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rinofs.profiles import ProfileStore
from rinofs.testing import live_server
from tests.cli.conftest import point_to
from tests.server.client import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run

PASSWORD = "a long secret"


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        running.add_user("ada", password=PASSWORD)
        yield running


def opens(server: LiveServer, token: str) -> bool:
    return Api(server.endpoint_url, token).post("files/children", {}).status_code == 200


def stored_token() -> str:
    profile = ProfileStore().load("rino", "default")
    assert profile is not None
    return profile.token


def test_tokens_of_ones_own(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(server, monkeypatch)
    added = run("token", "add", "robot", "--read-only", "--expires-in", "12h")
    assert added.exit_code == 0, added.output
    token = json.loads(added.stdout)["token"]
    assert opens(server, token)
    assert Api(server.endpoint_url, token).post("files/create_folder", {"name": "n"}).status_code == 403
    listed = json.loads(run("token", "list", "--json").stdout)
    assert [one["scope"] for one in listed if one["name"] == "robot"] == ["read"]
    shown = run("token", "list")
    assert "\trobot\tread-only\tends " in shown.stdout
    assert token not in shown.output
    taken = run("token", "add", "robot")
    assert (taken.exit_code, "'robot'" in taken.stderr) == (1, True)
    assert run("token", "revoke", "robot").exit_code == 0
    assert not opens(server, token)
    gone = run("token", "revoke", "robot")
    assert (gone.exit_code, "robot" in gone.stderr) == (1, True)


def test_a_new_password_renews_the_stored_login(run: Run, server: LiveServer) -> None:
    login = ("login", "rino", "--endpoint-url", server.endpoint_url, "--username", "ada", "--password-stdin")
    assert run(*login, input=PASSWORD).exit_code == 0
    before = stored_token()
    wrong = run("passwd", "--passwords-file", "-", input="not the one\nanother secret\n")
    assert (wrong.exit_code, "password" in wrong.stderr) == (1, True)
    short = run("passwd", "--passwords-file", "-", input=f"{PASSWORD}\nshort\n")
    assert (short.exit_code, "8" in short.stderr) == (1, True)
    changed = run("passwd", input=f"{PASSWORD}\nanother secret\nanother secret\n")
    assert changed.exit_code == 0, changed.output
    assert not opens(server, before)
    assert opens(server, stored_token())
    assert "secret" not in changed.output.replace("Present password", "")


def test_a_server_that_has_none_of_it_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_server(extensions=False) as plain:
        point_to(plain, monkeypatch)
        for command in (("token", "list"), ("token", "add", "n"), ("token", "revoke", "n")):
            refused = run(*command)
            assert refused.exit_code == 1
            assert "ask its administrator" in refused.stderr
