"""No secret is shown, logged, raised or stored by mistake."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

import fsspec
import pytest
from fsspec.config import conf

from rinofs import RinoFileSystem
from rinofs.credentials import ConfiguredToken, find_credentials
from rinofs.http.session import retry
from rinofs.profiles import Profile, ProfileStore
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

CANARY = "rino_canary-Xy7Zq0-in-the-mine"
PLAIN_CANARY = "3fa9c1d2e4b5a697canary88"  # looks like no token of ours
TOKENS = [CANARY, PLAIN_CANARY]

Make = Callable[["LiveServer", str], RinoFileSystem]


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, LiveServer]]:
    with live_server(token=CANARY) as one, live_server(token=PLAIN_CANARY) as other:
        yield {CANARY: one, PLAIN_CANARY: other}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.005)


@pytest.fixture(params=TOKENS)
def token(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(running: dict[str, LiveServer], token: str) -> Iterator[LiveServer]:
    running[token].reset()
    yield running[token]
    running[token].reset()


def _passed(server: LiveServer, token: str) -> RinoFileSystem:
    return RinoFileSystem(endpoint_url=server.endpoint_url, token=token, timeout=60)


def _configured(server: LiveServer, token: str) -> RinoFileSystem:
    conf["rino"] = {"endpoint_url": server.endpoint_url, "token": token}
    return RinoFileSystem(timeout=60)


def _logged_in(server: LiveServer, token: str) -> RinoFileSystem:
    ProfileStore().save(Profile("rino", "lab", server.endpoint_url, "rino", token))
    return RinoFileSystem(profile="lab", timeout=60)


@pytest.fixture(params=[_passed, _configured, _logged_in])
def fs(request: pytest.FixtureRequest, server: LiveServer, token: str) -> Iterator[RinoFileSystem]:
    yield request.param(server, token)
    conf.pop("rino", None)


@pytest.fixture(params=[_configured, _logged_in])
def stored(request: pytest.FixtureRequest, server: LiveServer, token: str) -> Iterator[RinoFileSystem]:
    """Return a filesystem whose token the code never saw."""
    yield request.param(server, token)
    conf.pop("rino", None)


def test_the_repr_of_a_filesystem_shows_it_however_it_came(fs: RinoFileSystem, token: str) -> None:
    for shown in (fs, fs._backend.session, fs.fsid, fsspec.core.OpenFile(fs, "a"), fs.unstrip_protocol("a")):
        assert token not in repr(shown)
        assert token not in str(shown)


def test_no_text_form_holds_it(fs: RinoFileSystem, token: str) -> None:
    assert token not in fs.to_json() + fs.to_json(include_password=False)
    assert token not in json.dumps([fs.to_dict(), fs.to_dict(include_password=False)])
    wrapped = fsspec.filesystem("dir", path="exp1", fs=fs)
    assert token not in repr(wrapped)
    assert token not in str(fs.__hash__()) + fs._fs_token


def test_no_pickle_holds_what_was_stored(stored: RinoFileSystem, token: str) -> None:
    stored.pipe_file("a.bin", bytes(300_000))
    with stored.open("a.bin") as reader:
        for thing in (stored, reader, fsspec.core.OpenFile(stored, "a.bin"), stored.get_mapper("x")):
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                assert token.encode() not in pickle.dumps(thing, protocol)
    assert copy.copy(stored) == stored == copy.deepcopy(stored)


def test_what_knows_it_is_not_pickled(stored: RinoFileSystem) -> None:
    for secret in (stored._backend.session, stored._backend.session._shared.auth):
        with pytest.raises(TypeError):
            pickle.dumps(secret)


def test_configured_tokens_do_not_show_themselves(server: LiveServer, token: str) -> None:
    configured = ConfiguredToken(token)
    assert token not in repr(configured) + repr({"token": configured}) + repr([configured])
    credentials = find_credentials(
        RinoFileSystem.service, endpoint_url=server.endpoint_url, token=token, profile=None
    )
    assert token not in repr(credentials)
    assert token not in credentials.identity


@pytest.mark.parametrize("name", ["a.csv", "deep/er/b.csv"])
def test_what_is_stored_with_objects_is_not_the_token(
    name: str, fs: RinoFileSystem, server: LiveServer, token: str
) -> None:
    with contextlib.suppress(FileExistsError):
        fs.mkdir("deep")
    fs.pipe_file(name, b"1", metadata={"by": "a test"})
    assert token not in repr(fs.info(name)) + repr(fs.ls("")) + repr(fs.versions(name))
    assert all(token not in request.query + request.path for request in server.requests)
    assert {request.headers_in["authorization"] for request in server.requests} == {f"Token {token}"}
