"""`rinofs admin user` and `rinofs admin token`, beside a server that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import requests

from rinofs.testing import live_server
from tests.server.client import Api
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run

Admin = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with live_server(data_dir=tmp_path / "data") as running:
        yield running


@pytest.fixture
def admin(run: Run, server: LiveServer) -> Admin:
    """Run a command of `rinofs admin` that is to succeed, and return what it printed."""

    def run_it(*args: str, **options: Any) -> Any:
        done = run("admin", *args, "--data", server.data_dir, **options)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if done.stdout[:1] in "[{" else done.stdout

    return run_it


@pytest.fixture
def fails(run: Run, server: LiveServer) -> Callable[..., str]:
    """Run a command of `rinofs admin` that is to fail, and return what it says."""

    def run_it(*args: str, code: int = 1, **options: Any) -> str:
        done = run("admin", *args, "--data", server.data_dir, **options)
        assert (done.exit_code, done.stdout) == (code, ""), done.output
        return done.stderr

    return run_it


def log_in(server: LiveServer, username: str, password: str) -> int:
    form = {"grant_type": "password", "client_id": "x", "username": username, "password": password}
    return requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=60).status_code


def status(server: LiveServer, token: str) -> int:
    return Api(server.endpoint_url, token).post("files/children", {}).status_code


def test_users_are_listed(admin: Admin, server: LiveServer) -> None:
    token = admin("user", "add", "ada")["token"]
    Api(server.endpoint_url, token).folder("runs")
    by_name = {one["username"]: one for one in admin("user", "list", "--json")}
    assert by_name.keys() == {"ada", "rino"}
    shown = {key: by_name["ada"][key] for key in ("password", "tokens", "objects", "datapacks")}
    assert shown == {"password": False, "tokens": 1, "objects": 1, "datapacks": 0}
    assert "ada: no password, 1 token, 1 object, 0 datapacks\n" in admin("user", "list")


def test_a_password_is_set_and_changed(admin: Admin, server: LiveServer, tmp_path: Path) -> None:
    admin("user", "add", "ada", "--password-file", "-", input="the first one\n")
    assert log_in(server, "ada", "the first one") == 200
    secret = tmp_path / "secret"
    secret.write_text("the second one\n")
    secret.chmod(0o600)
    admin("user", "password", "ada", "--password-file", str(secret))
    assert [log_in(server, "ada", f"the {which} one") for which in ("first", "second")] == [400, 200]
    admin("user", "password", "ada", "--ask-password", input="the third one\nthe third one\n")
    assert log_in(server, "ada", "the third one") == 200


@pytest.mark.parametrize("password", ["", "seven77"])
@pytest.mark.parametrize("command", [("add", "bob"), ("password", "rino")])
def test_short_passwords_are_refused(
    fails: Callable[..., str], command: tuple[str, ...], password: str, server: LiveServer
) -> None:
    said = fails("user", *command, "--password-file", "-", input=f"{password}\n", code=1 if password else 2)
    assert "password" in said or "standard input is empty" in said
    assert server._services.accounts.user("bob") is None


def test_a_user_is_removed(admin: Admin, fails: Callable[..., str], server: LiveServer) -> None:
    token = admin("user", "add", "ada", "--password-stdin", input="a password\n")["token"]
    api = Api(server.endpoint_url, token)
    folder = api.folder("runs")
    api.file("a.csv", b"1", parent=folder["id"])
    api.file("a.csv", b"2", parent=folder["id"])
    assert "--with-data" in fails("user", "remove", "ada")
    assert status(server, token) == 200
    admin("user", "remove", "ada", "--with-data")
    wait_until(lambda: status(server, token) == 401)
    assert log_in(server, "ada", "a password") == 400
    assert [one["username"] for one in admin("user", "list", "--json")] == ["rino"]
    assert admin("fsck", "--json")["problems"] == []
    assert "no such user" in fails("user", "remove", "ada")


def test_tokens_are_added_listed_and_revoked(
    admin: Admin, fails: Callable[..., str], server: LiveServer
) -> None:
    added = admin("token", "add", "rino", "laptop", "--expires-in", "30d")
    assert added.keys() == {"username", "name", "token"}
    reading = admin("token", "add", "rino", "robot", "--read-only")["token"]
    assert status(server, added["token"]) == status(server, reading) == 200
    by_name = {one["name"]: one for one in admin("token", "list", "rino", "--json")}
    laptop, robot = by_name["laptop"], by_name["robot"]
    assert abs(laptop["expires"] - time.time() - 30 * 24 * 3600) < 600
    assert (laptop["scope"], robot["scope"], robot["expires"]) == ("all", "read", None)
    wait_until(lambda: admin("token", "list", "rino", "--json")[-1]["last_used"] is not None)
    shown = admin("token", "list", "rino")
    assert f"{robot['id']}\trobot\tread-only\tno end\tlast used " in shown
    assert added["token"] not in shown
    assert "'laptop'" in fails("token", "add", "rino", "laptop")
    admin("token", "revoke", "rino", "laptop")
    admin("token", "revoke", "rino", str(robot["id"]))
    wait_until(lambda: status(server, added["token"]) == status(server, reading) == 401)
    assert "laptop" in fails("token", "revoke", "rino", "laptop")
    assert "no such user" in fails("token", "list", "nobody")


@pytest.mark.parametrize("span", ["0d", "30", "d", "-1d", "1y", ""])
def test_spans_of_time(fails: Callable[..., str], span: str) -> None:
    assert "30d" in fails("token", "add", "rino", "n", "--expires-in", span, code=2)


def test_the_audit_log_tells_what_happened(admin: Admin, server: LiveServer) -> None:
    admin("user", "add", "ada", "--password-stdin", input="a password\n")
    assert log_in(server, "ada", "a password") == 200
    assert log_in(server, "ada", "not the password") == 400
    assert log_in(server, "a password", "typed in the wrong field") == 400
    api = Api(server.endpoint_url, server.token)
    api.ok("files/delete", {"id": api.folder("runs")["id"]}, 204)
    info = {"name": "pack", "author": "", "description": "", "keywords": []}
    pack = {"name": "pack", "structure": {"info": info, "children": []}}
    headers = {"Authorization": f"Token {server.token}"}
    base = f"{server.endpoint_url}/api/v1.0/datapacks"
    assert requests.post(base, json=pack, headers=headers, timeout=60).ok
    listed = requests.get(base, headers=headers, timeout=60).json()["items"]
    requests.delete(f"{base}/{listed[0]['id']}", headers=headers, timeout=60)
    admin("gc")
    entries = admin("audit", "--json")
    events = [(one["event"], one["username"]) for one in entries if one["username"] != "rino"]
    assert events == [
        ("user-added", "ada"),
        ("token-added", "ada"),
        ("sign-in", "ada"),
        ("sign-in-failed", "ada"),
        ("sign-in-failed", None),
        ("admin", None),
    ]
    deleted = [one["details"] for one in entries if one["event"] == "deleted"]
    assert deleted[0]["names"] == ["runs"]
    assert deleted[1]["name"] == "pack"
    assert "a password" not in json.dumps(entries)
    asked_for = {"sign-in", "sign-in-failed", "deleted"}
    assert {one["source"] for one in entries if one["event"] in asked_for} == {"127.0.0.1"}
    only = admin("audit", "--json", "--user", "ada", "--event", "sign-in", "--limit", "1")
    assert [one["event"] for one in only] == ["sign-in"]
    assert "\tsign-in-failed\tada\t127.0.0.1\t" in admin("audit")
