"""A secret is in nothing that is shown, logged, raised or stored by mistake."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.config import conf

from rinofs import RinoFileSystem
from rinofs.credentials import ConfiguredToken, find_credentials
from rinofs.errors import RinofsError
from rinofs.http.session import retry
from rinofs.http.session.shared import StaticAuth
from rinofs.profiles import Profile, ProfileStore
from rinofs.testing import Fault, live_server

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
    """A filesystem whose token the code never saw."""
    yield request.param(server, token)
    conf.pop("rino", None)


def _everything_in(value: object, depth: int = 3) -> Iterator[str]:
    """Yield the reprs of an object and of all that it holds, but for the one place that must know."""
    yield repr(value)
    yield str(value)
    if depth and not isinstance(value, (StaticAuth, str)):
        held = getattr(value, "__dict__", {})
        for name, inner in held.items():
            yield name
            yield from _everything_in(inner, depth - 1)


def test_no_repr_shows_it(stored: RinoFileSystem, token: str) -> None:
    stored.pipe_file("a.bin", bytes(300_000))
    with stored.open("a.bin") as reader, stored.open("b.bin", "wb") as writer:
        reader.read(10)
        shown = [*_everything_in(stored), *_everything_in(reader), *_everything_in(writer)]
    assert not [text for text in shown if token in text]


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


def _attempts(fs: RinoFileSystem) -> Iterator[Callable[[], Any]]:
    yield lambda: fs.ls("", refresh=True)
    yield lambda: fs.info("a", refresh=True)
    yield lambda: fs.cat_file("a")
    yield lambda: fs.open("a").read()
    yield lambda: fs.pipe_file("a", b"1")
    yield lambda: fs.rm("a")
    yield lambda: fs.mv("a", "b")
    yield lambda: fs.cp_file("a", "b")
    yield lambda: fs.mkdir("new")
    yield lambda: fs.find("")
    yield lambda: fs.open("a/\0")
    yield lambda: fs.versions("a")


def _faults(token: str) -> dict[str, Fault]:
    """Answers that tell the token back, in every place where an answer can."""
    echo = f"You sent Authorization: Token {token} (token={token})"
    as_json = {"content-type": "application/json"}
    return {
        "refused": Fault(status=401, body=json.dumps({"detail": echo}).encode(), headers=as_json),
        "forbidden": Fault(status=403, body=json.dumps({"error": echo}).encode(), headers=as_json),
        "missing": Fault(status=404, body=json.dumps({"error": echo}).encode(), headers=as_json),
        "bad": Fault(status=400, body=json.dumps({"error": echo}).encode(), headers=as_json),
        "a page": Fault(status=200, body=f"<html>{echo}".encode(), headers={"content-type": "text/html"}),
        "no JSON": Fault(status=200, body=echo.encode(), headers=as_json),
        "other JSON": Fault(status=200, body=json.dumps({token: echo}).encode(), headers=as_json),
        "elsewhere": Fault(status=302, headers={"location": f"http://127.0.0.1:9/?token={token}"}),
        "reason": Fault(status=418, body=echo.encode(), headers={"x-echo": echo}),
    }


@pytest.mark.parametrize("fault", sorted(_faults("")))
def test_no_error_and_no_log_tells_it(
    fault: str, fs: RinoFileSystem, server: LiveServer, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = lambda _method, _path: _faults(token)[fault]
    told = []
    with caplog.at_level(logging.DEBUG):
        for attempt in _attempts(fs):
            try:
                attempt()
            except (OSError, ValueError) as error:
                told += traceback.format_exception(error)
                told += [repr(error), str(error), str(error.__dict__), pickle.dumps(error).decode("latin-1")]
    assert told
    assert not [text for text in told if token in text]
    lines = [record.getMessage() + repr(record.args) + repr(record.__dict__) for record in caplog.records]
    assert any(record.name.startswith("rinofs") for record in caplog.records)
    assert not [line for line in lines if token in line]


def test_a_server_that_is_gone(token: str, caplog: pytest.LogCaptureFixture) -> None:
    with live_server() as server:
        fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=token, timeout=0.2)
    with caplog.at_level(logging.DEBUG), pytest.raises(RinofsError) as caught:
        fs.ls("")
    assert token not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_an_option_that_is_refused_does_not_tell_its_value(server: LiveServer, token: str) -> None:
    attempts: list[dict[str, Any]] = [
        {"tokn": token},
        {"password": token},
        {"endpoint_url": f"http://user:{token}@127.0.0.1:9", "token": "x"},
        {"endpoint_url": f"http://127.0.0.1:9/?token={token}", "token": "x"},
        {"token": f"{token} {token}"},
        {"token": token.encode()},
        {"token": [token]},
        {"token": f"{token}\n"},
    ]
    for options in attempts:
        with pytest.raises((RinofsError, TypeError)) as caught:
            RinoFileSystem(**options)
        assert token not in "".join(traceback.format_exception(caught.value))


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
