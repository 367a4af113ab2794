from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import argon2
import pytest
import requests
from click.testing import CliRunner

from rinofs.cli.main import main
from rinofs.testing import ServerProcess, live_server
from rinofs.testing import server_process as started_process
from tests.forkserver import server_process
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    RunHere = Callable[..., tuple[int, str, str]]


def run(*args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that ends at once in this process, which is faster, and give it a standard input."""
    done = CliRunner().invoke(main, args, input=stdin, prog_name="rinofs")
    return subprocess.CompletedProcess(args, done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def run_here(capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run a command that ends at once in this process, which is faster."""

    def run_here(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main.main(list(args))
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return run_here


def status_with(server: ServerProcess, token: str | None, scheme: str = "Token") -> int:
    return requests.post(
        f"{server.endpoint_url}/api/1/files/children/",
        headers={"Authorization": f"{scheme} {token}"},
        timeout=10,
    ).status_code


def log_in(server: ServerProcess, username: str, password: str) -> requests.Response:
    form = {"grant_type": "password", "client_id": "x", "username": username, "password": password}
    return requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=10)


def test_first_start_makes_and_prints_secrets_once(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    with started_process(data) as server:
        first = server.output
        assert requests.get(f"{server.endpoint_url}/health", timeout=10).status_code == 200
        assert re.fullmatch(r"rino_[\w-]{43,}", server.token or "")
        assert status_with(server, server.token) == 200
        password = re.search(r"^password: (\S+)", first, re.MULTILINE)
        assert password
        assert log_in(server, "rino", password[1]).status_code == 200
        assert first == (
            f"endpoint: {server.endpoint_url}\n"
            "username: rino\n"
            f"password: {password[1]} (not shown again)\n"
            f"export FSSPEC_RINO_ENDPOINT_URL={server.endpoint_url}\n"
            f"export FSSPEC_RINO_TOKEN={server.token}\n"
            f"export FSSPEC_REPOVIZZ_ENDPOINT_URL={server.endpoint_url}\n"
            f"export FSSPEC_REPOVIZZ_TOKEN={server.token}\n"
            "Press Ctrl-C to stop.\n"
        )
        token = server.token
        assert server.terminate() == 0
    with closing(sqlite3.connect(data / "rinofs.sqlite3")) as connection:
        [[stored]] = connection.execute("SELECT password FROM users")
    # RFC 9106, section 4; the servers in the processes of tests hash with less memory.
    assert argon2.extract_parameters(stored) == argon2.profiles.RFC_9106_LOW_MEMORY
    with server_process(data) as server:
        assert "TOKEN" not in server.output
        assert "password" not in server.output
        assert status_with(server, token) == 200
        assert log_in(server, "rino", password[1]).status_code == 200
    kept = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert token
    assert token.encode() not in kept
    assert password[1].encode() not in kept


def test_a_folder_that_it_makes_is_closed_to_others(tmp_path: Path) -> None:
    with server_process(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_given_secrets_hold_from_this_start_on(tmp_path: Path) -> None:
    with server_process(tmp_path, "--token", "first$token", "--password", "password one") as server:
        assert server.token == "first$token"
        assert "'first$token'" in server.output  # quoted for the shell
        assert "password" not in server.output
    with server_process(tmp_path, "--token", "second") as server:
        assert [status_with(server, token) for token in ("first$token", "second")] == [401, 200]
        assert log_in(server, "rino", "password one").status_code == 200
    with server_process(tmp_path, "--password", "password two") as server:
        assert status_with(server, "second") == 200
        assert "TOKEN" not in server.output
        assert log_in(server, "rino", "password one").status_code in (400, 401)
        assert log_in(server, "rino", "password two").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly_and_fast(tmp_path: Path, number: signal.Signals) -> None:
    with started_process(tmp_path) as server:
        with requests.Session() as session:
            session.get(f"{server.endpoint_url}/health", timeout=10)
            server._process.send_signal(number)
            assert server._process.wait(PATIENCE) == 0
        assert server.errors() == ""


def connected(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.endpoint_url.rpartition(":")[2])), timeout=10)


def creating(server: ServerProcess, length: int) -> bytes:
    head = f"POST /api/1/files/create_object/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
    return f"{head}Authorization: Token {server.token}\r\n\r\n".encode()


def test_a_signal_lets_requests_under_way_end(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        body = b'{"name": "late"}'
        with socket.create_connection(("127.0.0.1", int(server.endpoint_url.rpartition(":")[2]))) as client:
            head = (
                f"POST /api/1/files/create_object/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
            )
            client.sendall(f"{head}\r\nAuthorization: Token {server.token}\r\n\r\n".encode() + body[:5])
            requests.get(f"{server.endpoint_url}/health", timeout=10)
            server._process.send_signal(signal.SIGTERM)
            while True:  # until it no longer listens
                try:
                    requests.get(f"{server.endpoint_url}/health", timeout=10)
                except requests.ConnectionError:
                    break
            client.sendall(body[5:])
            assert client.recv(65536).startswith(b"HTTP/1.1 201 ")
        assert server._process.wait(PATIENCE) == 0


def test_a_signal_waits_for_no_stalled_request(tmp_path: Path) -> None:
    with server_process(tmp_path) as server, connected(server) as client:
        client.sendall(creating(server, 100) + b"{")
        requests.get(f"{server.endpoint_url}/health", timeout=10)
        assert server.terminate() == 0
        assert "the server's end ended a request that was under way" in server.errors()
        assert "Traceback" not in server.errors()


def test_one_server_for_one_folder(tmp_path: Path) -> None:
    with server_process(tmp_path):
        second = run("serve", "--data", str(tmp_path), "--port", "0")
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr == f"rinofs: {tmp_path} is being served by another process\n"
    with live_server(data_dir=tmp_path):
        assert run("serve", "--data", str(tmp_path), "--port", "0").returncode == 1


def test_a_killed_server_leaves_no_lock(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.kill()
    with server_process(tmp_path) as server:
        assert requests.get(f"{server.endpoint_url}/health", timeout=10).ok


def test_busy_port(tmp_path: Path, run_here: RunHere) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output, errors = run_here("serve", "--data", str(tmp_path), "--port", str(port))
    assert (code, output) == (1, "")
    assert errors == f"rinofs: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_the_port_that_was_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with server_process(tmp_path, "--port", str(port)) as server:
        assert server.endpoint_url == f"http://127.0.0.1:{port}"


def test_ipv6(tmp_path: Path) -> None:
    with server_process(tmp_path, "--host", "::1") as server:
        assert server.endpoint_url.startswith("http://[::1]:")
        assert requests.get(f"{server.endpoint_url}/health", timeout=10).ok


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "lab.example.org", ""])
def test_other_addresses_than_loopback_need_consent(tmp_path: Path, run_here: RunHere, host: str) -> None:
    code, _, errors = run_here("serve", "--data", str(tmp_path / "data"), "--host", host, "--port", "0")
    assert code == 2
    assert "--allow-insecure" in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_consent_and_names(tmp_path: Path) -> None:
    args = ("--host", "0.0.0.0", "--allow-insecure", "--allowed-host", "lab.example.org")
    with server_process(tmp_path, *args) as server:
        port = server.endpoint_url.rpartition(":")[2]
        assert server.endpoint_url == f"http://lab.example.org:{port}"
        for host, status in (("lab.example.org", 200), ("evil.example", 421), ("localhost", 200)):
            url = f"http://127.0.0.1:{port}"
            answer = requests.get(f"{url}/oauth/style.css", headers={"Host": host}, timeout=10)
            assert answer.status_code == status
            assert requests.get(f"{url}/health", headers={"Host": host}, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--data",),
        ("--data", "DIR", "--port", "x"),
        ("--data", "DIR", "--port", "70000"),
        ("--data", "DIR", "--no-such-option"),
        ("--data", "DIR", "extra"),
        ("--data", "DIR", "--token", "with space", "--port", "0"),
        ("--data", "DIR", "--token", "ü", "--port", "0"),
        ("--data", "DIR", "--token", "", "--port", "0"),
        ("--data", "DIR", "--password", "", "--port", "0"),
        ("--data", "DIR", "--password", "seven77", "--port", "0"),
        ("--data", __file__),
    ],
)
def test_wrong_use(tmp_path: Path, run_here: RunHere, args: tuple[str, ...]) -> None:
    code, output, errors = run_here("serve", *(str(tmp_path) if arg == "DIR" else arg for arg in args))
    assert (code, output) == (2, "")
    assert re.fullmatch(r"rinofs: .+\n", errors)


def test_a_folder_that_cannot_be_made(tmp_path: Path, run_here: RunHere) -> None:
    (tmp_path / "file").write_text("")
    code, _, errors = run_here("serve", "--data", str(tmp_path / "file" / "data"), "--port", "0")
    assert code == 1
    assert re.fullmatch(r"rinofs: .+\n", errors)


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        f"sys.argv = ['rinofs', 'serve', '--data', {str(tmp_path)!r}]\n"
        "from rinofs.cli.main import main; main()"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert "pip install 'rinofs[server]'" in answer.stderr


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "from rinofs.cli.main import main; main()",
            "`rinofs serve` does not run on this system; the server",
        ),
        ("import rinofs.testing", "rinofs.testing does not run on this system: the server"),
    ],
)
def test_a_system_without_its_locks_is_named(program: str, message: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        f"sys.argv = ['rinofs', 'serve', '--data', {str(tmp_path)!r}]\n{program}"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert message in answer.stderr
    assert "pip install" not in answer.stderr


# Looking after a folder


def test_users_are_added_while_the_server_runs(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        adding = ("admin", "user", "add", "Ada Lovelace", "--data", str(tmp_path))
        added = run(*adding, "--password-stdin", stdin="a password\n")
        assert added.returncode == 0, added.stderr
        document = json.loads(added.stdout)
        assert document.keys() == {"username", "token"}
        assert document["username"] == "Ada Lovelace"
        assert status_with(server, document["token"]) == 200
        assert log_in(server, "Ada Lovelace", "a password").status_code == 200
        again = run(*adding)
        assert (again.returncode, again.stdout) == (1, "")
        assert "'Ada Lovelace' is taken" in again.stderr


def test_a_user_without_password_cannot_log_in_by_one(tmp_path: Path) -> None:
    document = json.loads(run("admin", "user", "add", "ada", "--data", str(tmp_path)).stdout)
    with server_process(tmp_path) as server:
        assert status_with(server, document["token"]) == 200
        assert log_in(server, "ada", "").status_code in (400, 401)


@pytest.mark.parametrize("command", [("user", "add", "x"), ("gc",), ("fsck",)])
def test_admin_needs_a_folder_that_is_there(
    tmp_path: Path, run_here: RunHere, command: tuple[str, ...]
) -> None:
    assert run_here("admin", *command, "--data", str(tmp_path / "typo"))[0] == 2
    assert not (tmp_path / "typo").exists()


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    answer = run("admin", "user", "add", "x", "--data", str(tmp_path), "--password-stdin", stdin="\n")
    assert answer.returncode == 2


def blob_files(data: Path) -> list[Path]:
    return [path for path in (data / "blobs").rglob("*") if path.is_file()]


def test_gc_and_fsck(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    with server_process(tmp_path) as server:
        base = f"{server.endpoint_url}/api/1/files"
        session = requests.Session()
        session.headers["Authorization"] = f"Token {server.token}"
        ids = [
            session.post(f"{base}/upload/", files={"file": (name, name.encode())}, timeout=10).json()["id"]
            for name in ("keep", "drop", "lost")
        ]
        session.post(f"{base}/delete/", json={"id": ids[1]}, timeout=10)
        assert len(blob_files(tmp_path)) == 2
        with sqlite3.connect(tmp_path / "rinofs.sqlite3") as connection:  # as after a crash
            connection.execute("DELETE FROM objects WHERE id = ?", (ids[2],))
        connection.close()
        collected = run("admin", "gc", *data, "--json")
        assert json.loads(collected.stdout) == {
            "blobs_removed": 1,
            "bytes_removed": 4,
            "temporary_removed": 0,
        }
        assert session.get(f"{base}/download/", params={"id": ids[0]}, timeout=10).content == b"keep"
        clean = run("admin", "fsck", *data, "--json")
        assert (clean.returncode, json.loads(clean.stdout)["problems"]) == (0, [])
    (kept,) = blob_files(tmp_path)
    kept.chmod(0o600)
    kept.write_bytes(b"kEep")
    damaged = run("admin", "fsck", *data)
    assert damaged.returncode == 1
    assert kept.name in damaged.stdout
    assert "1 problems" in damaged.stdout


def test_a_start_collects_what_a_crash_left(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        session = requests.Session()
        session.headers["Authorization"] = f"Token {server.token}"
        url = f"{server.endpoint_url}/api/1/files/upload/"
        session.post(url, files={"file": ("f", b"content")}, timeout=10)
        server.kill()
    # As if the process had died between storing the content and referring to it.
    with sqlite3.connect(tmp_path / "rinofs.sqlite3") as connection:
        connection.execute("DELETE FROM objects")
    connection.close()
    with server_process(tmp_path) as server:
        wait_until(lambda: not blob_files(tmp_path))
        assert server.terminate() == 0
