"""``rinofs admin client``, beside a server that runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests

from rinofs.cli.main import main
from rinofs.testing import live_server
from tests.server.browsing import REDIRECT, Browser, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


class Admin:
    def __init__(self, server: LiveServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self.capsys = capsys

    def __call__(self, *args: str) -> tuple[int, str, str]:
        command = ["admin", "client", *args, "--data", str(self.server.data_dir)]
        with pytest.raises(SystemExit) as ended:
            main.main(command)
        assert isinstance(ended.value.code, int)
        return ended.value.code, *self.capsys.readouterr()


@pytest.fixture
def admin(server: LiveServer, capsys: pytest.CaptureFixture[str]) -> Admin:
    return Admin(server, capsys)


def test_a_program_can_be_used_at_once_until_it_is_removed(server: LiveServer, admin: Admin) -> None:
    code, out, _ = admin("add", "Notebook", "--redirect-uri", REDIRECT)
    made = json.loads(out)
    assert (code, set(made)) == (0, {"client_id", "client_secret"})
    program = Program(server, made["client_id"], made["client_secret"])
    granted = program.token(code=Browser().allow(program)["code"]).json()
    assert program.opens(granted["access_token"])
    assert admin("remove", made["client_id"]) == (0, "", "")
    assert not program.opens(granted["access_token"])
    assert requests.get(program.url(), timeout=30).status_code == 400


def test_programs_are_listed_without_secrets(admin: Admin) -> None:
    _, out, _ = admin(
        "add", "App", "--public", "--redirect-uri", REDIRECT, "--redirect-uri", "com.example.app:/cb"
    )
    public = json.loads(out)
    assert public["client_secret"] is None
    secret = json.loads(admin("add", "Other", "--redirect-uri", REDIRECT)[1])["client_secret"]
    listed = json.loads(admin("list", "--json")[1])
    assert listed[-2] == {
        "client_id": public["client_id"],
        "name": "App",
        "redirect_uris": [REDIRECT, "com.example.app:/cb"],
        "public": True,
    }
    assert listed[-1]["public"] is False
    _, text, _ = admin("list")
    assert f"{public['client_id']}  App (public)" in text
    assert secret not in text + json.dumps(listed)


@pytest.mark.parametrize("uri", ["", "http://lab.example/cb", "javascript:alert(1)", "https://x.example/#a"])
def test_unsafe_redirects_are_refused(admin: Admin, uri: str) -> None:
    code, out, err = admin("add", "Notebook", "--redirect-uri", uri)
    assert (code, out) == (1, "")
    assert err.startswith("rinofs: redirect_uri: ")
    assert err.count("\n") == 1


def test_wrong_use(admin: Admin) -> None:
    assert admin("add", "Notebook")[0] == 2
    code, out, err = admin("remove", "unknown")
    assert (code, out) == (1, "")
    assert "unknown" in err
