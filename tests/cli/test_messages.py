"""What people read when their first steps go wrong: what happened, to what, and what to do next."""

from __future__ import annotations

import errno
import pickle
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
from fsspec.config import conf

from rinofs.profiles import Profile, ProfileStore
from tests.cli.conftest import point_to

if TYPE_CHECKING:
    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


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
        "rino://: the token was refused (401); it came from fsspec's configuration: "
        "replace it there, or remove it and run `rinofs login rino`"
    )


def test_a_wrong_token_of_the_environment(
    run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSSPEC_RINO_TOKEN", "expired")
    configure(monkeypatch, token="expired")
    assert said(run, "ls", "rino://") == (
        "rino://: the token was refused (401); it came from the environment variable FSSPEC_RINO_TOKEN: "
        "set a valid token there, or unset it"
    )


def test_a_wrong_token_of_a_profile(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ProfileStore()
    store.save(Profile("rino", "old", server.endpoint_url, token="expired"))
    monkeypatch.delitem(conf, "rino")
    monkeypatch.setitem(conf, "rino", {"profile": "old"})
    line = said(run, "ls", "rino://")
    assert line.startswith("rino://: the token was refused (401); it came from the profile 'old' in ")
    assert str(store.path) in line
    assert line.endswith(
        f"log in again with `rinofs login rino --endpoint-url {server.endpoint_url} --profile old`"
    )


def test_a_wrong_token_of_the_code(server: LiveServer) -> None:
    fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token="expired")
    with pytest.raises(PermissionError) as failed:
        fs.ls("")
    assert str(failed.value) == (
        "[Errno 13] the token was refused (401): 'rino://'; "
        "it came from the option token=: pass a valid token"
    )


def test_a_missing_file_in_python(server: LiveServer) -> None:
    fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)
    fs.pipe_file("exp4/a.csv", b"1")
    with pytest.raises(FileNotFoundError) as failed:
        fs.info("exp4/run 9.csv")
    assert failed.value.errno == errno.ENOENT
    assert failed.value.filename == "rino://exp4/run 9.csv"
    assert str(failed.value) == "[Errno 2] No such file or folder: 'rino://exp4/run 9.csv' ('exp4' exists)"
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)


def test_no_token(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(conf, "rino")
    assert said(run, "ls", "rino://") == (
        "no token for this endpoint; set FSSPEC_RINO_TOKEN, or run `rinofs login "
        "rino --endpoint-url https://rinocloud.com`; for another server, set FSSPEC_RINO_ENDPOINT_URL as well"
    )


def test_no_server(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    configure(monkeypatch, endpoint_url=f"http://{host}")
    assert said(run, "ls", "rino://exp1") == (
        f"rino://exp1: could not connect to {host} (Connection refused); "
        "is the server running, and is its URL right?"
    )


def test_https_where_there_is_none(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, endpoint_url=server.endpoint_url.replace("http:", "https:"))
    assert f"does not speak https: is it {server.endpoint_url}?" in said(run, "ls", "rino://exp1")


LOGINS = [
    "me:s3cret",
    "s3cret",
    "me:pa/s3cret",
    "me:pa?s3cret",
    "me:pa#s3cret",
    "me:p@s3cret",
    "me:[s3cret",
    "s3cret:",
]
NAMING = {
    "an endpoint": ("ls", "rino://"),
    "another endpoint": ("ls", "repovizz://"),
    "a login": ("login", "rino", "--token-stdin", "--endpoint-url", "https://LOGIN@127.0.0.1:1/x"),
    "a login with a browser": ("login", "repovizz", "--endpoint-url", "https://LOGIN@127.0.0.1:1/x"),
    "a file": ("cat", "https://LOGIN@127.0.0.1:1/x"),
    "a file to copy": ("cp", "https://LOGIN@127.0.0.1:1/x", "copy"),
    "a pack": ("datapack", "import", "https://LOGIN@127.0.0.1:1/x.zip", "copy"),
    "a database": ("serve", "--data", "data", "--database", "postgresql://LOGIN@127.0.0.1:1/x"),
    "a store": ("serve", "--data", "data", "--blobs", "s3://LOGIN@bucket/x"),
    "the address of a store": ("admin", "check-storage", "s3://bucket/x"),
    "a program": ("admin", "client", "add", "x", "--redirect-uri", "https://LOGIN@h/", "--data", "data"),
}


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("naming", NAMING)
def test_no_message_shows_the_login_in_a_url(
    run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, naming: str, login: str
) -> None:
    """Also not where the URL is malformed since the password is not percent-encoded."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir(mode=0o700)
    url = f"https://{login}@127.0.0.1:1/x"
    for name in ("rino", "repovizz"):
        monkeypatch.setitem(conf, name, {"endpoint_url": url, "token": "t"})
    for name, value in (("ENDPOINT_URL", url), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("PGPASSFILE", "none")
    result = run(*(argument.replace("LOGIN", login) for argument in NAMING[naming]))
    assert result.exit_code != 0
    assert result.stderr.startswith("rinofs: ")
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    "url", ["rino://a:b@c/x", "rino://@987654", "https://127.0.0.1:1/a@b", "https://[::1]:1/a@b"]
)
def test_a_path_with_such_a_sign_is_shown(run: Run, server: LiveServer, url: str) -> None:
    assert said(run, "cat", url).startswith(url)


def test_an_endpoint_that_is_too_long(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, endpoint_url=f"{server.endpoint_url}/api/1/")
    assert "remove /api/1 from the endpoint URL" in said(run, "ls", "rino://exp1")


def test_a_missing_file(run: Run, server: LiveServer) -> None:
    running = server.endpoint_url
    fsspec.filesystem("rino", endpoint_url=running, token=server.token).pipe_file("exp2/a.csv", b"1")
    for command in ("cat", "info", "ls"):
        top = said(run, command, "rino://exp1/a.csv")
        assert top == "rino://exp1/a.csv: no such file or folder ('exp1' does not exist at the top level)"
        deep = said(run, command, "rino://exp2/run 9.csv")
        assert deep == "rino://exp2/run 9.csv: no such file or folder ('exp2' exists)"


def test_a_message_speaks_of_options_and_not_of_arguments(run: Run, server: LiveServer) -> None:
    fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)
    fs.pipe_file("exp3/a.csv", b"1")
    for line in (
        said(run, "rm", "rino://exp3"),
        said(run, "mv", "rino://exp3", "rino://exp3/b"),
        said(run, "cat", "rino://exp3/a.csv@99999"),
        said(run, "meta", "set", "rino://exp9", "a=1"),
    ):
        assert "=True" not in line
        assert line.startswith("rino://exp")


def test_a_missing_program_of_the_server(run: Run, server: LiveServer) -> None:
    assert said(run, "admin", "client", "remove", "nobody", "--data", str(server.data_dir)) == (
        "nobody: no such program; `rinofs admin client list` shows them all"
    )


@pytest.mark.parametrize("args", [(), ("login",), ("admin",), ("admin", "user"), ("datapack",)])
def test_a_group_without_a_command_shows_its_help(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    shown = result.stderr.splitlines()
    assert shown[0] == " ".join(["Usage: rinofs", *args, "[OPTIONS] COMMAND [ARGS]..."])
    assert "Commands:" in shown


@pytest.mark.parametrize("command", ["get", "put", "cp", "mv"])
def test_one_path_alone_lacks_the_destination(run: Run, command: str) -> None:
    result = run(command, "rino://exp")
    assert result.exit_code == 2
    said = "rinofs: rino://exp: the DESTINATION is missing, such as `.` for this folder"
    assert result.stderr == f"{said} (see `rinofs {command} --help`)\n"


@pytest.mark.parametrize("url", ["rino:/exp", "rino:exp", "repovizz:exp"])
def test_a_url_with_too_few_slashes_is_understood(run: Run, url: str) -> None:
    result = run("ls", url)
    right = f"{url.partition(':')[0]}://exp"
    assert result.stderr == f"rinofs: {url}: no such file; did you mean {right}?\n"


def test_a_local_file_may_have_such_a_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rino:exp").write_text("x")
    assert run("cat", "rino:exp").stdout == "x"
