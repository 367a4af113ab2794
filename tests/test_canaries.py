"""No secret is anywhere but where it must be: search all files, output and responses for secrets.

If possible, the code says what to try: the routes of the server, the commands, the classes of errors.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import sqlite3
import subprocess
import traceback
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import fsspec
import psutil
import pytest
import requests
from click.testing import CliRunner
from starlette.routing import Route

from rinofs import RepovizzFileSystem, RinoFileSystem, errors
from rinofs.cli.main import main
from rinofs.credentials import find_credentials
from rinofs.fs.upath import RemotePath
from rinofs.http.session import retry
from rinofs.http.session.shared import StaticAuth
from rinofs.profiles import Profile, ProfileStore
from rinofs.server.app import create_app
from rinofs.server.settings import ServerSettings
from rinofs.testing import Fault, live_server
from rinofs.testing.process import COMMAND, ServerProcess
from tests.server.browsing import Browser, Program, hidden_fields, query_of
from tests.server.packs import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from rinofs.testing import LiveServer

TOKEN = "7c1fa9tokencanary0b62e4"  # looks like no token of ours
PASSWORD = "passwordcanary 51d8"
DEAD = "http://127.0.0.1:9"


@dataclass
class Seen:
    """The secrets, and everything written or shown, by place."""

    secrets: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, place: str, *texts: object) -> None:
        shown = [text.decode("latin-1") if isinstance(text, bytes) else str(text) for text in texts]
        self.places.setdefault(place, []).extend(shown)

    def found(self, place: str) -> set[str]:
        """Return the secrets that are in a place."""
        whole = "\n".join(self.places[place])
        return {name for name, secret in self.secrets.items() if secret in whole}


# The secrets that a place may show, because they were requested; other places may show none.
ALLOWED: dict[str, set[str]] = {
    "answer: POST /api/1/users/details/": {"token"},
    "answer: POST /api/1/users/token": {"token"},
    "answer: GET /api/1/users/token": {"token"},
    "answer: POST /api/1/users/token/": {"token"},
    "answer: GET /api/1/users/token/": {"token"},
    "answer: POST /api/1/users/create_token/": {"API token"},
    "answer: POST /o/token/": {"sign-in token"},
    "answer: GET /oauth/authorize": {"form key", "second form key", "first cookie", "cookie"},
    "answer: POST /oauth/authorize": {"cookie", "code"},
    "answer: POST /oauth/token": {"access token", "refresh token"},
    "answer: GET /oauth/show_token": {"code"},  # to be copied by hand
    # Only digests are stored.
    "data folder": {"hash of the token", "hash of the password", "hash of the refresh token"},
    "backup": {"hash of the token", "hash of the password", "hash of the refresh token"},
    "admin client add": {"client secret"},
}


class Recorder:
    """Record every response while it is installed."""

    def __init__(self, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
        send = requests.Session.send

        def noting(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> Any:
            answer = send(session, request, **options)
            path = (request.path_url).partition("?")[0]
            if path in known:
                text = f"{answer.status_code} {answer.reason} {answer.headers} {answer.text}"
                seen.add(f"answer: {request.method} {path}", text)
            return answer

        known = PATHS
        monkeypatch.setattr(requests.Session, "send", noting)


FILLED = {"{id}": "1", "{link:link}": "a/link", "{name}": "rino"}
PATHS: set[str] = set()


def routes(folder: Path) -> list[tuple[str, str]]:
    app = create_app(ServerSettings(folder))
    app.state.services.close()
    found = []
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path
        for parameter, value in FILLED.items():
            path = path.replace(parameter, value)
        assert "{" not in path, f"give {path} a value"
        found += [(method, path) for method in sorted(route.methods or ())]
    PATHS.update(path for _, path in found)
    return found


# Actions at the server


def sign_in(seen: Seen, server: Any, client_id: str, secret: str) -> None:
    """Obtain one secret of each kind."""
    base, token = f"{server.endpoint_url}/api/1", {"Authorization": f"Token {TOKEN}"}
    form = {"grant_type": "password", "client_id": "x", "username": "rino", "password": PASSWORD}
    answer = requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=60)
    seen.secrets["sign-in token"] = answer.json()["access_token"]
    answer = requests.post(f"{base}/users/create_token/", json={"name": "a"}, headers=token, timeout=60)
    seen.secrets["API token"] = answer.json()["token"]
    program, browser = Program(server, client_id, secret), Browser()
    page = browser.get(program.url())
    seen.secrets["form key"] = max(hidden_fields(page).values(), key=len)
    seen.secrets["first cookie"] = max(browser.session.cookies.values(), key=len)
    page = browser.log_in(program.url(), "rino", PASSWORD)
    seen.secrets["second form key"] = max(hidden_fields(page).values(), key=len)
    seen.secrets["cookie"] = max(browser.session.cookies.values(), key=len)
    told = query_of(browser.send(page, decision="allow").headers["location"])
    seen.secrets |= {"code": told["code"], "verifier": program.verifier}
    granted = program.token(code=told["code"]).json()
    seen.secrets |= {"access token": granted["access_token"], "refresh token": granted["refresh_token"]}


def misuse(seen: Seen, url: str, every: list[tuple[str, str]]) -> None:
    """Send every secret to every route, in all places where it does not belong."""
    secrets = [secret for name, secret in seen.secrets.items() if not name.startswith("hash ")]
    session = requests.Session()
    session.cookies.set("rinofs_session", seen.secrets["cookie"])
    wrong = {"id": TOKEN, "name": secrets, "parent": TOKEN, "path": [[one] for one in secrets]}
    wrong |= {"limit": TOKEN, "query": {"$or": secrets}, "grant_type": TOKEN, "sort": [TOKEN], "items": TOKEN}
    query = {name.replace(" ", "_"): secret for name, secret in seen.secrets.items()}
    query |= {"token": TOKEN, "password": PASSWORD}
    options: dict[str, Any] = {"timeout": 60, "allow_redirects": False}
    part = f'--b\r\nContent-Disposition: form-data; name="x"; filename="{TOKEN}"\r\n\r\n{secrets}\r\n--b'
    for number, (method, path) in enumerate(every):
        own = {"Authorization": f"Token {TOKEN}", "Idempotency-Key": TOKEN, "X-Request-ID": "r"}
        other = {
            "Authorization": f"Bearer {secrets[number % len(secrets)]}x",
            "Range": TOKEN,
            "If-Match": TOKEN,
        }
        broken = {**own, "Content-Type": "multipart/form-data; boundary=b", "Host": "localhost"}
        where = url + path
        session.request(method, where, json=wrong, headers=own, **options)
        session.request(method, where, params=query, data=wrong, headers=other, **options)
        session.request(method, where, data=part.encode(), headers=broken, **options)
    session.get(f"{url}/health", headers={"Authorization": f"Token {TOKEN}\x80", "Host": TOKEN}, timeout=60)


def break_database(data: Path, url: str) -> None:
    """Make the server fail while it works with secrets."""
    tables = ("tokens", "objects", "oauth_grants", "oauth_codes", "throttles", "sessions", "users")
    with closing(sqlite3.connect(data / "rinofs.sqlite3", timeout=60)) as database:
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for name in [name for name in there if name in tables or "token" in name or "grant" in name]:
            database.execute(f'ALTER TABLE "{name}" RENAME TO "gone_{name}"')
        database.commit()
    form = {"grant_type": "password", "client_id": "x", "username": "rino", "password": PASSWORD}
    own = {"Authorization": f"Token {TOKEN}"}
    refresh = {"grant_type": "refresh_token", "refresh_token": TOKEN, "client_id": TOKEN}
    sent: list[tuple[str, dict[str, Any]]] = [
        ("/api/1/files/children/", {"json": {}, "headers": {"Authorization": f"Token {TOKEN}x"}}),
        ("/api/1/files/query/", {"json": {"query": {"a": TOKEN}}, "headers": own}),
        ("/o/token/", {"data": form}),
        ("/oauth/token", {"data": refresh}),
    ]
    failed = [requests.post(url + path, timeout=60, **body).status_code >= 500 for path, body in sent]
    assert any(failed)


# Actions at the command line


def leaves(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


INSTEAD: dict[str, list[str]] = {
    "serve": ["--data", "/"],  # which it refuses
    "demo": ["--help"],  # it makes what it shows
    "plot": ["--help"],  # it takes a second to load, and opens URLs as `cat` does
    "login repovizz": ["--no-browser", "--client-id", "x", "--client-secret-file", "{secret}"],
    "login rino": ["--username", "rino", "--password-file", "{password}"],
}


def arguments(name: str, command: click.Command, data: Path, files: Mapping[str, str]) -> list[str]:
    if name in INSTEAD:
        return [text.format(**files) for text in INSTEAD[name]]
    given = []
    for parameter in command.params:
        if parameter.name == "data_dir" and isinstance(parameter, click.Option):
            given += [parameter.opts[-1], str(data)]
        elif isinstance(parameter, click.Argument):
            given += _values(parameter)
        elif parameter.required:
            given += [parameter.opts[-1], "http://localhost:1"]
    return given


def _values(parameter: click.Argument) -> list[str]:
    if isinstance(parameter.type, click.Choice):
        return [str(parameter.type.choices[0])]
    value = "1" if parameter.type is click.INT else "rino://nothing"
    return [value] * (2 if parameter.nargs == -1 else parameter.nargs)


def use_commands(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, url: str, data: Path, files: Mapping[str, str]
) -> None:
    """Run every command, with the secrets in its environment, its files and its input."""
    for where in (url, DEAD):
        monkeypatch.setenv("FSSPEC_RINO_ENDPOINT_URL", where)
        monkeypatch.setenv("FSSPEC_RINO_TOKEN", TOKEN)
        monkeypatch.setenv("RINOFS_PASSWORD", PASSWORD)
        for path, command in leaves(main):
            name = " ".join(path)
            if where == DEAD and path[0] in {"admin", "serve", "demo"}:
                continue
            # Prompts for names and codes show what is typed; those for passwords must not.
            typed = "code\n" if path[0] == "login" else f"{PASSWORD}\n" * 4
            for given in (arguments(name, command, data, files), ["--help"])[: 1 if where == DEAD else 2]:
                result = CliRunner().invoke(main, ["--debug", *path, *given], input=typed, prog_name="rinofs")
                told = traceback.format_exception(*result.exc_info) if result.exc_info else []
                seen.add("commands", result.output, *told)


# Actions in Python


def echoes(secrets: str) -> dict[str, Fault]:
    """Return responses that echo secrets in every possible place."""
    echo = f"You sent {secrets}"
    as_json = {"content-type": "application/json"}
    body = json.dumps({"error": echo, "detail": echo}).encode()
    refusals = {str(status): Fault(status=status, body=body, headers=as_json) for status in STATUSES}
    return refusals | {
        "a page": Fault(status=200, body=f"<html>{echo}".encode(), headers={"content-type": "text/html"}),
        "no JSON": Fault(status=200, body=echo.encode(), headers=as_json),
        "other JSON": Fault(status=200, body=json.dumps({echo: echo}).encode(), headers=as_json),
        "elsewhere": Fault(status=302, headers={"location": f"http://127.0.0.1:9/?{secrets}"}),
        "headers": Fault(status=418, body=echo.encode(), headers={"x-echo": echo, "etag": f'"{secrets}"'}),
    }


STATUSES = (400, 401, 403, 404, 409, 412, 413, 422, 429, 500, 503)
NOT_RAISED = {
    # Their messages come from the user's own files and arguments, never from a login or a response.
    *{"InvalidDatapackError", "UnknownDatatypeError", "NotWrittenWarning"},
    # They need a fault during a transfer; see tests/http/test_secrets.py.
    *{"ContentChangedError", "ContentMismatchError", "OutcomeUnknownError", "DeadlineError"},
}


def attempts(fs: Any) -> Iterator[Callable[[], Any]]:
    yield lambda: fs.ls("", refresh=True)
    yield lambda: fs.info("a", refresh=True)
    yield lambda: fs.cat_file("a")
    yield lambda: fs.open("a").read()
    yield lambda: fs.pipe_file("a", b"1")
    yield lambda: fs.rm("a")
    yield lambda: fs.mv("a", "b")
    yield lambda: fs.find("")
    yield lambda: fs.open("a/\0")


def every_exception(error: BaseException) -> Iterator[BaseException]:
    found: list[BaseException] = [error]
    for one in found:
        yield one
        found += [held for held in (one.__cause__, one.__context__) if held is not None and held not in found]


def catch(seen: Seen, raised: set[str], attempt: Callable[[], Any]) -> None:
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 (whatever it is, it must not tell)
        seen.add("errors", *traceback.format_exception(error))
        for one in every_exception(error):
            raised.add(type(one).__name__)
            seen.add("errors", repr(one), str(one), repr(one.args), repr(vars(one)))
        with suppress(TypeError, pickle.PicklingError, AttributeError):
            seen.add("errors", pickle.dumps(error))


def use_python(seen: Seen, server: LiveServer) -> None:
    """Use the filesystems, with logins that the code never saw, at a server that echoes everything."""
    url, raised = server.endpoint_url, set[str]()
    token, refresh = server.token, seen.secrets["refresh token"]
    profile = Profile("rino", "default", url, "rino", token)
    secret = seen.secrets["client secret"]
    other = Profile("repovizz", "default", url, "rino", token, refresh, None, "id", secret)
    for one in (profile, other):
        ProfileStore().save(one)
    rino, repovizz = RinoFileSystem(timeout=30), RepovizzFileSystem(timeout=30)
    rino.pipe_file("a.bin", bytes(300_000))
    credentials = find_credentials(RinoFileSystem.service, endpoint_url=None, token=None, profile=None)
    with rino.open("a.bin") as reader, rino.open("b.bin", "wb") as writer:
        reader.read(10)
        shown: list[Any] = [rino, repovizz, reader, writer, profile, other, credentials, ProfileStore()]
        shown += [rino.get_mapper(""), fsspec.core.OpenFile(rino, "a.bin"), RemotePath("rino://a.bin")]
        shown += [
            rino._backend,
            rino._backend.session,
            repovizz._backend,
            fsspec.filesystem("dir", path="/", fs=rino),
        ]
        shown += [rino.info("a.bin"), rino.ls(""), rino.versions("a.bin")]
        for thing in shown:
            seen.add("objects", *everything_in(thing))
            with suppress(Exception):  # most objects with a secret refuse
                seen.add("pickles", pickle.dumps(thing))
        for fs in (rino, repovizz):
            seen.add("pickles", pickle.dumps(fs), fs.to_json(), fs.to_json(include_password=False))
    told = f"Token {token} token={token} refresh={refresh} {secret}"
    for fault in echoes(told).values():
        server.faults = lambda _method, _path, fault=fault: fault
        for fs in (rino, repovizz):
            for attempt in attempts(fs):
                catch(seen, raised, attempt)
    server.reset()
    for options in (
        {"endpoint_url": DEAD, "token": token, "timeout": 0.2},
        {"endpoint_url": f"http://user:{token}@127.0.0.1:9", "token": "x"},
        {"endpoint_url": f"http://127.0.0.1:9/?token={token}", "token": "x"},
        {"endpoint_url": url, "token": f"{token}\n"},
        {"endpoint_url": url, "token": [token]},
        {"endpoint_url": url, "token": f"{token} {token}"},
        {"endpoint_url": url, "token": token.encode()},
        {"tokn": token},
        {"password": token},
    ):
        catch(seen, raised, lambda options=options: RinoFileSystem(**options).ls(""))
    missing = {
        name
        for name in errors.__all__
        if not any(base in raised for base in (name, *_below(getattr(errors, name))))
    }
    assert missing <= NOT_RAISED, "raise them here, or say why not"


def _below(error: type) -> set[str]:
    return {name for one in error.__subclasses__() for name in (one.__name__, *_below(one))}


def everything_in(value: object, depth: int = 3) -> Iterator[str]:
    """Yield the texts of an object and of everything in it, except the objects that must hold a secret."""
    yield repr(value)
    yield str(value)
    if depth and not isinstance(value, (Profile, StaticAuth, str)):
        for name, inner in getattr(value, "__dict__", {}).items():
            yield name
            yield from everything_in(inner, depth - 1)


class Kept(logging.Handler):
    """Format every log record of this process, except those of urllib3, which logs addresses."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(logging.DEBUG)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("urllib3"):
            self._seen.add("log of this process", self.format(record))


def process_list() -> Iterator[str]:
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.Error):
            yield " ".join(process.cmdline())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    tmp, seen = tmp_path_factory.mktemp("canaries"), Seen()
    data, log = tmp / "data", tmp / "access.log"
    every = routes(tmp / "routes")
    files = {"token": TOKEN, "password": PASSWORD}
    for name, text in files.items():
        (tmp / name).write_text(text)
        (tmp / name).chmod(0o600)
    level = logging.getLogger().level
    with ExitStack() as stack, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.005)
        for name in [name for name in os.environ if name.startswith(("FSSPEC_", "RINOFS_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("RINOFS_CONFIG_DIR", str(tmp / "settings"))
        monkeypatch.chdir(tmp)
        errors_file = stack.enter_context((tmp / "stderr").open("w+"))
        given = [f"--{name}-file={tmp / name}" for name in files]
        command = [*COMMAND, "--debug", "serve", "--data", str(data), "--port", "0", "--access-log", str(log)]
        process = stack.enter_context(
            subprocess.Popen([*command, *given], stdout=subprocess.PIPE, stderr=errors_file, text=True)
        )
        stack.callback(process.kill)
        server = ServerProcess(process, errors_file)
        seen.secrets |= {"token": TOKEN, "password": PASSWORD}
        added = CliRunner().invoke(
            main,
            ["admin", "client", "add", "N", "--data", str(data), "--redirect-uri", "http://localhost:50009"],
        )
        client = json.loads(added.output)
        seen.secrets["client secret"] = client["client_secret"]
        (tmp / "secret").write_text(client["client_secret"])
        Recorder(seen, monkeypatch)
        known = SimpleNamespace(endpoint_url=server.endpoint_url, username="rino", password=PASSWORD)
        sign_in(seen, known, client["client_id"], client["client_secret"])
        seen.secrets |= hashes(seen, data)
        own = {"Authorization": f"Token {TOKEN}"}
        for path in ("users/details", "users/token", "users/tokens"):
            assert requests.post(f"{server.endpoint_url}/api/1/{path}/", headers=own, timeout=60).ok
        body = {"name": "p", "structure": pack("p")}
        requests.post(f"{server.endpoint_url}/api/v1.0/datapacks", json=body, headers=own, timeout=60)
        misuse(seen, server.endpoint_url, every)
        seen.add("process list", *process_list())
        handler = Kept(seen)
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.DEBUG)
        stack.callback(logging.getLogger().setLevel, level)
        stack.callback(logging.getLogger().removeHandler, handler)
        with live_server(token=f"another{TOKEN}") as inside:
            seen.secrets["token of this process"] = inside.token
            digest = hashlib.sha256(inside.token.encode()).hexdigest()
            seen.secrets["hash of the token of this process"] = digest
            use_python(seen, inside)
            misuse(seen, inside.endpoint_url, every)
        secret_files = {name: str(tmp / name) for name in (*files, "secret")}
        use_commands(seen, monkeypatch, server.endpoint_url, data, secret_files)
        backup = tmp / "backup"
        for given in (["backup", str(backup)], ["audit", "--json"], ["fsck"]):
            result = CliRunner().invoke(main, ["admin", *given, "--data", str(data)])
            assert result.exit_code == 0, result.output
            seen.add("commands" if given[0] != "audit" else "audit log", result.output)
        for place, folder in (("data folder", data), ("backup", backup)):
            seen.add(place, *[path.read_bytes() for path in folder.rglob("*") if path.is_file()])
        break_database(data, server.endpoint_url)
        assert server.terminate() == 0
        seen.add("log of the server", server.errors())
        seen.add("access log", log.read_text())
        yield seen


def hashes(seen: Seen, data: Path) -> dict[str, str]:
    """Return the stored hashes of secrets, which do not belong in logs either."""
    with closing(sqlite3.connect(data / "rinofs.sqlite3", timeout=60)) as database:
        (stored,) = database.execute("SELECT password FROM users WHERE username = 'rino'").fetchone()

    def digest(name: str) -> str:
        return hashlib.sha256(seen.secrets[name].encode()).hexdigest()

    return {
        "hash of the password": stored,
        "hash of the token": digest("token"),
        "hash of the refresh token": digest("refresh token"),
    }


PLACES = ["log of the server", "access log", "audit log", "log of this process", "process list", "commands",
          "errors", "objects", "pickles", "data folder", "backup"]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_in(place: str, seen: Seen) -> None:
    assert len("".join(seen.places[place])) > 100, "nothing was looked through"
    assert seen.found(place) <= ALLOWED.get(place, set())


def test_answers_tell_secrets_only_where_they_are_asked_for(seen: Seen) -> None:
    answers = [place for place in seen.places if place.startswith("answer: ")]
    assert len(answers) > 50
    told = {place: found for place in answers if (found := seen.found(place))}
    assert told == {place: names for place, names in ALLOWED.items() if place.startswith("answer: ")}


def test_each_kind_of_secret_is_among_them(seen: Seen) -> None:
    assert len(set(seen.secrets.values())) == len(seen.secrets) >= 14
    assert all(len(secret) >= 16 for secret in seen.secrets.values())
