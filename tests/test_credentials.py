"""Which token goes to which endpoint, seen by the servers that get it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import fsspec
import pytest
from fsspec.config import conf, set_conf_env

from rinofs import RinoFileSystem
from rinofs.errors import AuthenticationError, CredentialsError, InvalidOptionError
from rinofs.profiles import Profile, ProfileStore
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer

Heard: TypeAlias = Callable[..., tuple[str, str]]

# fsspec reads environment variables as text before 2026.3; later versions parse those that are JSON.
_as_fsspec_reads_it: dict[str, dict[str, Any]] = {}
set_conf_env(_as_fsspec_reads_it, {"FSSPEC_RINO_TOKEN": "1e5"})
READS_JSON = _as_fsspec_reads_it["rino"]["token"] == 1e5

# Texts that fsspec would misread as other types.
MISREAD = [
    "1e5",
    "30",
    "007",
    "0x1F",
    "1_000",
    "true",
    "NaN",
    "-Infinity",
    "1.50",
    '{"a":1}',
    "[1,2]",
]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, LiveServer]]:
    with live_server() as one, live_server() as other:
        yield {"one": one, "other": other}


@pytest.fixture
def one(servers: dict[str, LiveServer]) -> LiveServer:
    return servers["one"]


@pytest.fixture
def other(servers: dict[str, LiveServer]) -> LiveServer:
    return servers["other"]


@pytest.fixture
def heard(servers: dict[str, LiveServer]) -> Heard:
    """Use a filesystem; return the server that received the request, and the token."""

    def ask(filesystem: RinoFileSystem | None = None, **options: Any) -> tuple[str, str]:
        for server in servers.values():
            server.reset()
        asking = filesystem or RinoFileSystem(**options)
        with contextlib.suppress(AuthenticationError):
            asking.ls("", refresh=True)
        [(name, tokens)] = [
            (name, {request.headers_in["authorization"] for request in server.requests})
            for name, server in servers.items()
            if server.requests
        ]
        [header] = tokens
        scheme, _, token = header.partition(" ")
        assert scheme == "Token"
        return name, token

    return ask


def _login(server: LiveServer, token: str, name: str = "default", username: str | None = "ada") -> None:
    ProfileStore().save(Profile("rino", name, server.endpoint_url, username, token))


def _configure(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    monkeypatch.setitem(conf, "rino", settings)


# Where a token comes from


def test_a_token_that_is_passed_goes_first(one: LiveServer, heard: Heard, monkeypatch: Any) -> None:
    _configure(monkeypatch, token="from-conf", endpoint_url=one.endpoint_url)
    _login(one, "from-login")
    assert heard(endpoint_url=one.endpoint_url, token="passed") == ("one", "passed")
    assert heard(token="passed") == ("one", "passed")


def test_then_the_configuration(one: LiveServer, heard: Heard, monkeypatch: Any) -> None:
    _configure(monkeypatch, token="from-conf", endpoint_url=one.endpoint_url)
    _login(one, "from-login")
    assert heard() == ("one", "from-conf")
    assert heard(endpoint_url=one.endpoint_url) == ("one", "from-conf")


def test_then_the_login(one: LiveServer, heard: Heard) -> None:
    _login(one, "from-login")
    assert heard() == ("one", "from-login")
    assert heard(endpoint_url=one.endpoint_url.upper().replace("HTTP", "http") + "/") == ("one", "from-login")


def test_a_named_login_goes_before_the_configuration(
    one: LiveServer, other: LiveServer, heard: Heard, monkeypatch: Any
) -> None:
    _configure(monkeypatch, token="from-conf", endpoint_url=one.endpoint_url)
    _login(other, "from-lab", "lab")
    # The endpoint is configured for another token; that login has its own.
    assert heard(profile="lab", endpoint_url=other.endpoint_url) == ("other", "from-lab")


def test_a_login_may_be_named_in_the_configuration(one: LiveServer, heard: Heard, monkeypatch: Any) -> None:
    _configure(monkeypatch, profile="lab")
    _login(one, "from-lab", "lab")
    assert heard() == ("one", "from-lab")


def test_without_any_the_error_says_what_to_do() -> None:
    with pytest.raises(
        CredentialsError, match=r"pass token=.*FSSPEC_RINO_TOKEN.*rinofs login rino"
    ) as caught:
        RinoFileSystem(endpoint_url="http://127.0.0.1:9")
    assert isinstance(caught.value, PermissionError)
    assert caught.value.filename == "http://127.0.0.1:9"


def test_a_login_that_is_not_there_is_named() -> None:
    with pytest.raises(CredentialsError, match=r"no rino profile 'lab'.*rinofs login rino --profile lab"):
        RinoFileSystem(profile="lab")


# Which endpoint it is for


def test_a_login_is_sent_to_its_endpoint_alone(one: LiveServer, other: LiveServer) -> None:
    _login(one, "from-login")
    with pytest.raises(CredentialsError, match="no token for this endpoint"):
        RinoFileSystem(endpoint_url=other.endpoint_url)
    with pytest.raises(CredentialsError, match="is for another server"):
        RinoFileSystem(endpoint_url=other.endpoint_url, profile="default")


def test_a_configured_token_is_sent_to_its_endpoint_alone(
    one: LiveServer, other: LiveServer, heard: Heard, monkeypatch: Any
) -> None:
    _configure(monkeypatch, token="from-conf", endpoint_url=one.endpoint_url)
    with pytest.raises(CredentialsError, match="no token for this endpoint"):
        RinoFileSystem(endpoint_url=other.endpoint_url)
    _login(other, "from-login")
    assert heard(endpoint_url=other.endpoint_url) == ("other", "from-login")


def test_a_configured_token_without_endpoint_is_for_the_service(one: LiveServer, monkeypatch: Any) -> None:
    _configure(monkeypatch, token="from-conf")
    assert RinoFileSystem().endpoint_url == "https://rinocloud.com"
    with pytest.raises(CredentialsError):
        RinoFileSystem(endpoint_url=one.endpoint_url)


def test_a_configured_endpoint_is_no_reason_to_send_the_token_of_a_login(
    one: LiveServer, other: LiveServer, monkeypatch: Any
) -> None:
    _login(one, "from-login")
    _configure(monkeypatch, endpoint_url=other.endpoint_url)
    with pytest.raises(CredentialsError):
        RinoFileSystem()


def test_a_later_login_is_used_when_the_token_is_refused(one: LiveServer) -> None:
    _login(one, "rino_revoked-by-now")
    filesystem = RinoFileSystem()
    _login(one, one.token)
    assert filesystem.ls("") == []


# Text stays text


@pytest.mark.parametrize("token", MISREAD)
def test_a_token_in_the_environment_stays_the_text_it_is(
    token: str, one: LiveServer, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"FSSPEC_RINO_TOKEN": token, "FSSPEC_RINO_ENDPOINT_URL": one.endpoint_url}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    read: dict[str, dict[str, Any]] = {}
    set_conf_env(read, environment)
    _configure(monkeypatch, **read["rino"])
    assert heard() == ("one", token)
    pickled = pickle.dumps(RinoFileSystem())
    assert token.encode() not in pickled.replace(one.endpoint_url.encode(), b"")  # a port is a number, too
    assert json.loads(RinoFileSystem().to_json()).keys().isdisjoint({"token"})


def test_quotes_around_a_token_in_the_environment_are_json(
    one: LiveServer, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, dict[str, Any]] = {}
    set_conf_env(read, {"FSSPEC_RINO_TOKEN": '"1e5"', "FSSPEC_RINO_ENDPOINT_URL": one.endpoint_url})
    _configure(monkeypatch, **read["rino"])
    assert heard() == ("one", "1e5" if READS_JSON else '"1e5"')


@pytest.mark.parametrize("written", ['{"token": 1e5}', '{"token": "1e5"}'])
def test_a_token_in_a_json_setting_stays_the_text_it_is(
    written: str, one: LiveServer, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSSPEC_RINO", written)
    _configure(monkeypatch, **json.loads(written), endpoint_url=one.endpoint_url)
    assert heard() == ("one", "1e5")


_PROGRAM = """
import json, pickle, sys
import fsspec
from fsspec.config import conf
fs = fsspec.filesystem("rino")
answer = {
    "read by fsspec as": type(conf["rino"]["token"]).__name__,
    "listing": fs.ls("", detail=False),
    "pickle": pickle.dumps(fs).hex(),
    "json": fs.to_json(),
    "options": repr(fs.storage_options) + repr(fs) + str(fs.__dict__),
}
again = pickle.loads(bytes.fromhex(answer["pickle"]))
answer["same"] = again is fs and fsspec.AbstractFileSystem.from_json(answer["json"]) == fs
print(json.dumps(answer))
"""


def test_the_environment_of_a_process(tmp_path: Path) -> None:
    token = "314159e271"  # looks like a number, and is too long to occur by chance
    with live_server(token=token) as server:
        RinoFileSystem(endpoint_url=server.endpoint_url, token=token).pipe_file("a.txt", b"")
        environment = {
            **os.environ,
            "FSSPEC_RINO_TOKEN": token,
            "FSSPEC_RINO_ENDPOINT_URL": server.endpoint_url,
            "FSSPEC_CONFIG_DIR": str(tmp_path),
        }
        command = [sys.executable, "-c", _PROGRAM]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(answer.stdout)
    assert told["read by fsspec as"] == ("float" if READS_JSON else "str")  # the reason for all this
    assert told["listing"] == ["a.txt"]
    assert told["same"]
    for text in (bytes.fromhex(told["pickle"]).decode("latin-1"), told["json"], told["options"]):
        assert token not in text
        assert str(float(token)) not in text


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nend", "tab\t", "ünï", b"bytes", 5, ["list"]])
def test_what_no_header_carries_is_no_token(token: Any) -> None:
    with pytest.raises((InvalidOptionError, CredentialsError)) as caught:
        RinoFileSystem(endpoint_url="http://127.0.0.1:9", token=token)
    assert "two words" not in str(caught.value)


# Who shares what


def test_two_tokens_never_share_an_instance(one: LiveServer, monkeypatch: Any) -> None:
    first = RinoFileSystem(endpoint_url=one.endpoint_url, token=one.token)
    second = RinoFileSystem(endpoint_url=one.endpoint_url, token=one.add_user("second"))
    assert first is not second
    assert first != second
    assert first._backend.session is not second._backend.session
    assert first.fsid != second.fsid
    first.pipe_file("mine.txt", b"mine")
    assert first.ls("", detail=False) == ["mine.txt"]
    assert second.ls("", detail=False) == []
    assert first is RinoFileSystem(endpoint_url=one.endpoint_url, token=one.token)
    first.rm("mine.txt")


def test_a_configured_token_that_changes_makes_another_instance(
    one: LiveServer, heard: Heard, monkeypatch: Any
) -> None:
    _configure(monkeypatch, token="first", endpoint_url=one.endpoint_url)
    first = RinoFileSystem()
    _configure(monkeypatch, token="second", endpoint_url=one.endpoint_url)
    second = RinoFileSystem()
    assert first != second
    assert heard(second) == ("one", "second")
    assert heard(first) == ("one", "first")


def test_another_login_makes_another_instance(one: LiveServer, other: LiveServer, heard: Heard) -> None:
    made = []
    for server, token, username in [
        (one, "of-carla", "carla"),
        (one, "of-bob", "bob"),
        (one, "unknown", None),
        (one, "unknown-too", None),
        (other, "of-carla", "carla"),
    ]:
        _login(server, token, username=username)
        made.append(RinoFileSystem())
        assert RinoFileSystem() is made[-1]
        assert heard(made[-1]) == ("one" if server is one else "other", token)
    assert len(set(made)) == 5
    assert heard(made[0]) == ("one", "of-carla")


def test_a_login_that_was_removed_makes_no_further_instance(one: LiveServer) -> None:
    _login(one, one.token)
    RinoFileSystem(profile="default")
    ProfileStore().remove("rino", "default")
    with pytest.raises(CredentialsError):
        RinoFileSystem(profile="default")


def test_both_protocols_and_classes_of_options_make_one_instance(one: LiveServer) -> None:
    options = {"endpoint_url": one.endpoint_url, "token": one.token}
    made = fsspec.filesystem("rino", **options)
    assert fsspec.filesystem("rinocloud", **options) is made
    assert fsspec.core.url_to_fs("rino://a", **options)[0] is made


def test_a_new_token_of_a_login_keeps_what_was_read(one: LiveServer) -> None:
    _login(one, one.token, username="rino")
    first = RinoFileSystem()
    first.pipe_file("a.bin", bytes(200_000))
    with first.open("a.bin") as file:
        file.read()
    _login(one, one.token, "again", username="rino")
    second = RinoFileSystem(profile="again")
    one.reset()
    assert second.info("a.bin")["size"] == 200_000
    with second.open("a.bin") as file:
        assert file.read() == bytes(200_000)
    assert not [request for request in one.requests if "download" in request.path]
    second.rm("a.bin")


# Settings travel, secrets of the machine do not


def test_a_token_that_the_code_passed_travels_with_a_pickle(one: LiveServer, heard: Heard) -> None:
    made = RinoFileSystem(endpoint_url=one.endpoint_url, token="passed")
    assert heard(pickle.loads(pickle.dumps(made))) == ("one", "passed")
    assert "passed" not in made.to_json()
    assert "token" not in made.to_dict()
    for again in (
        fsspec.AbstractFileSystem.from_json(made.to_json(include_password=True)),
        fsspec.AbstractFileSystem.from_dict(made.to_dict(include_password=True)),
    ):
        assert again is made
        assert heard(again) == ("one", "passed")


def test_a_pickle_takes_the_token_of_where_it_is_loaded(
    one: LiveServer, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(monkeypatch, token="of-here", endpoint_url=one.endpoint_url)
    pickled = pickle.dumps(RinoFileSystem())
    assert b"of-here" not in pickled
    assert "of-here" not in RinoFileSystem().to_json(include_password=True)
    _configure(monkeypatch, token="of-there", endpoint_url=one.endpoint_url)
    assert heard(pickle.loads(pickled)) == ("one", "of-there")


def test_the_name_of_a_login_travels_its_token_does_not(one: LiveServer, heard: Heard) -> None:
    _login(one, "of-lab", "lab")
    made = RinoFileSystem(profile="lab")
    assert made.storage_options == {"profile": "lab"}
    assert type(made.storage_options["profile"]) is str
    pickled = pickle.dumps(made)
    assert b"of-lab" not in pickled
    assert pickle.loads(pickled) is made
    assert fsspec.AbstractFileSystem.from_json(made.to_json()) is made
    _login(one, "of-default")
    assert RinoFileSystem().storage_options == {}


def test_a_pickle_loaded_without_login_says_so_when_it_is_used(
    one: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(monkeypatch, token="of-here", endpoint_url=one.endpoint_url)
    pickled = pickle.dumps(RinoFileSystem())
    monkeypatch.delitem(conf, "rino")
    loaded = pickle.loads(pickled)
    with pytest.raises(CredentialsError, match="no token for this endpoint"):
        loaded.ls("")
    assert pickle.dumps(loaded) == pickled
    _configure(monkeypatch, token=one.token, endpoint_url=one.endpoint_url)
    assert loaded.ls("") == []  # after logging in, it is as good as any
