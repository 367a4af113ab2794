"""Twice the input costs about twice as much, in each dimension of each thing that can be sent.

Routes and names of fields are those in the code, so that new ones are tried too. What is measured is
processor time of the whole process; only a cost beyond the linear exceeds the margin.
"""

# ruff: noqa: E501 (a table)

from __future__ import annotations

import ast
import json
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests
from starlette.routing import Route

import rinofs.server
from rinofs.protocol.limits import MAX_BUNDLE_DOWNLOAD, MAX_BUNDLE_UPLOAD, MAX_IDS, MAX_KEYWORDS
from rinofs.server.app import create_app
from rinofs.server.settings import ServerSettings
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.server.client import Api
from tests.server.packs import container, data, pack
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.testing import LiveServer

    Send = Callable[[int], requests.Response | tuple[int, bytes]]

MARGIN = 2.5
"""How many times more than in proportion four times the input may cost; a square makes it four."""
NOISE = 0.4  # seconds of processor time below which nothing is wrong, and nothing can be said


def check_growth(send: Send, size: int) -> None:
    """Fail where an input of a size costs far more than four times as much as one of a quarter."""
    if cost(send, size) < NOISE:
        return
    large, small = (min(cost(send, count) for _ in range(2)) for count in (size, size // 4))
    assert large < max(4 * MARGIN * small, NOISE), f"{large:.2f} s for {size}, {small:.2f} s for a quarter"


def cost(send: Send, size: int) -> float:
    began = time.process_time()
    answer = send(size)
    spent = time.process_time() - began
    status, text = answer if isinstance(answer, tuple) else (answer.status_code, answer.content)
    assert status < 500, text[:300]
    return spent


# Everything that can be named


def fields_in_the_code() -> list[str]:
    """Return the texts in the modules of the server that may be names of fields: arguments, keys and items."""
    found = set()
    for room in ("api", "auth", "web"):
        for path in (Path(rinofs.server.__file__).parent / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                found |= {text.value for text in named_by(node) if isinstance(text, ast.Constant)}
    texts = {text for text in found if isinstance(text, str)}
    return sorted(name for name in texts if name.isidentifier() and name.islower() and len(name) < 25)


def named_by(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        return [*node.args]
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.Set | ast.Tuple):
        return node.elts
    if isinstance(node, ast.Compare):
        return [node.left]
    return []


NAME = "the_name"


def of_form(values: list[Any]) -> str:
    return urlencode([(NAME, text if isinstance(text, str) else json.dumps(text)) for text in values])


JSON, FORM = "application/json", "application/x-www-form-urlencoded"
SHAPES: list[tuple[str, Callable[[int], str]]] = [
    (JSON, lambda size: json.dumps({NAME: [1, "a", [], {}, 1.5] * (size // 5)})),
    (JSON, lambda size: json.dumps({NAME: {f"key {number}": number for number in range(size)}})),
    (JSON, lambda size: json.dumps({NAME: "a/" * size})),
    (JSON, lambda size: json.dumps({NAME: list(range(size))})),
    (JSON, lambda size: json.dumps({NAME: [[["x"] * 10]] * (size // 10)})),
    (FORM, lambda size: of_form(list(range(min(size, 1000))))),
    (FORM, lambda size: of_form(["[{" * size])),
    ("", lambda size: of_form(["a " * (size // 2)])),  # the query of the address
]


class Sender:
    """Sends a shape in a field to a route, at next to no cost of its own, which would count too."""

    def __init__(self, server: LiveServer) -> None:
        parts = urlsplit(server.endpoint_url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        self._token = server.token
        self._texts: dict[tuple[int, int], str] = {}

    def send(self, method: str, path: str, name: str, shape: int, size: int) -> tuple[int, bytes]:
        kind, made = SHAPES[shape]
        if (shape, size) not in self._texts:
            self._texts[shape, size] = made(size)
        text = self._texts[shape, size].replace(NAME, name)
        headers = {"Authorization": f"Token {self._token}"} | ({"Content-Type": kind} if kind else {})
        body = text.encode() if kind else None
        self._connection.request(method, path if kind else f"{path}?{text}", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


SIZE = 8000


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@pytest.fixture(scope="module")
def api(server: LiveServer) -> Api:
    api = Api(server.endpoint_url, server.token)
    api.file("file", b"content")
    return api


def routes(folder: Path) -> list[tuple[str, str]]:
    app = create_app(ServerSettings(folder))
    app.state.services.close()
    filled = {"{id}": "1", "{link:link}": "link", "{name}": "rino"}
    found = set()
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path
        for parameter, value in filled.items():
            path = path.replace(parameter, value)
        assert "{" not in path, f"give {path} a value"
        found |= {(method, path) for method in route.methods or ()}
    return sorted(found)


@pytest.fixture
def sender() -> Iterator[Sender]:
    """To a server of its own: what others stored there would cost time too."""
    with live_server() as server:
        Api(server.endpoint_url, server.token).file("file", b"content")
        yield Sender(server)


def test_whatever_is_named_in_the_code(sender: Sender, tmp_path: Path) -> None:
    names, every = fields_in_the_code(), routes(tmp_path)
    assert len(every) > 50
    assert {"query", "metadata", "structure", "username", "code", "items"} <= set(names)
    shapes = range(len(SHAPES))
    cases = [(route, name, shape) for route in every for name in names for shape in shapes]
    if rounds(1, 0):  # each field and each route in each shape
        cases = [
            (every[(number + 5 * shape) % len(every)], names[number % len(names)], shape)
            for shape in shapes
            for number in range(max(len(every), len(names)))
        ]
    for (method, path), name, shape in cases:

        def send(
            size: int, method: str = method, path: str = path, name: str = name, shape: int = shape
        ) -> tuple[int, bytes]:
            return sender.send(method, path, name, shape, size)

        check_growth(send, SIZE)


# What is valid


def query(wanted: Callable[[int], Any]) -> Callable[[Api, int], requests.Response]:
    return lambda api, size: api.post("files/query", {"query": wanted(size)})


def multipart(parts: Callable[[int], bytes]) -> Callable[[Api, int], requests.Response]:
    def send(api: Api, size: int) -> requests.Response:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        return api.session.post(api.url("files/upload"), data=parts(size), headers=headers)

    return send


def header(name: str, value: Callable[[int], str]) -> Callable[[Api, int], requests.Response]:
    def send(api: Api, size: int) -> requests.Response:
        return api.session.get(api.url("files/download"), params={"id": 1}, headers={name: value(size)})

    return send


def document(structure: Callable[[int], Any]) -> Callable[[Api, int], requests.Response]:
    def send(api: Api, size: int) -> requests.Response:
        token = api.session.headers["Authorization"]
        body = {"name": f"pack {size} {time.monotonic_ns()}", "structure": structure(size)}
        url = f"{api.endpoint_url}/api/v1.0/datapacks"
        return requests.post(url, json=body, headers={"Authorization": token}, timeout=300)

    return send


def about(**fields: Any) -> dict[str, Any]:
    whole = pack("pack")
    whole["info"] |= fields
    return whole


PART = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n%d\r\n'
LONG = "n" * 200

INPUTS: dict[str, tuple[int, Callable[[Api, int], requests.Response]]] = {
    "conditions": (99, query(lambda size: {f"field{n}": {"$gt": n} for n in range(size)})),
    "groups": (99, query(lambda size: {"$or": [{"$and": [{"x": n}]} for n in range(size)]})),
    "empty groups": (8000, query(lambda size: {"$or": [{}] * size})),
    "groups in groups": (16, query(lambda size: json.loads('{"$or":[' * size + "{}" + "]}" * size))),
    "values": (9999, query(lambda size: {"x": {"$in": list(range(size))}})),
    "nested values": (9999, query(lambda size: {"x": {"$in": [[[n]] for n in range(size)]}})),
    "parts of a field": (500, query(lambda size: {".".join("a" * size): 1})),
    "a text to find": (20_000, query(lambda size: {"*": {"$matches": "a " * size}})),
    "words": (2000, lambda api, size: api.post("files/search", {"query": "a " * size})),
    "words in groups": (2000, lambda api, size: api.post("files/search", {"query": "(" * size + "a" + ")" * size})),
    "quotes": (4000, lambda api, size: api.post("files/search", {"query": '"' * size})),
    "stars": (4000, lambda api, size: api.post("files/search", {"query": "*" * size})),
    "keys": (8000, lambda api, size: api.post(
        "files/update", {"id": 1, "metadata": {f"key {n}": n for n in range(size)}})),
    "loose keys": (8000, lambda api, size: api.post("files/update", {"id": 1, **dict.fromkeys(map(str, range(size)))})),
    "tags": (20_000, lambda api, size: api.post("files/update", {"id": 1, "tags": ["a"] * size})),
    "versions": (20_000, lambda api, size: api.post("files/update", {"id": 1, "versions": list(range(size))})),
    "names in a path": (50_000, lambda api, size: api.post("files/get_metadata", {"path": ["a"] * size})),
    "folders of a name": (50_000, lambda api, size: api.post("files/create_folder", {"name": "a/" * size + "b"})),
    "ids": (MAX_IDS, lambda api, size: api.post("files/delete", {"id": list(range(10**6, 10**6 + size))})),
    "paths": (MAX_BUNDLE_DOWNLOAD, lambda api, size: api.post("files/download_many", {"paths": [["file"]] * size})),
    "long paths": (250, lambda api, size: api.post("files/download_many", {"paths": [["a"] * 200] * size})),
    "files": (MAX_BUNDLE_UPLOAD, lambda api, size: api.upload(
        b"", "files/upload_many", files=[{"name": f"many {n}", "size": 0} for n in range(size)])),
    "rows": (8000, lambda api, size: api.post("objects", {"data": [[1, "a"]] * size, "name": f"rows {size}"})),
    "parts": (900, multipart(lambda size: b"".join(PART % n for n in range(size)) + b"--b--\r\n")),
    "almost boundaries": (300_000, multipart(lambda size: PART % 1 + b"\r\n--a" * size + b"\r\n--b--\r\n")),
    "header of a part": (8000, multipart(lambda size: b'--b\r\nContent-Disposition: form-data; a="' + b"\\" * size)),
    "ranges": (8000, header("Range", lambda size: "bytes=" + ",".join(["0-1"] * size))),
    "etags": (8000, header("If-None-Match", lambda size: ", ".join(['"a"'] * size))),
    "half etags": (30_000, header("If-None-Match", lambda size: '"' * size)),
    "a date": (30_000, header("If-Modified-Since", lambda size: "1" * size)),
    "cookies": (8000, header("Cookie", lambda size: "a=b; " * size)),
    "blanks": (60_000, header("Authorization", lambda size: "Token" + " " * size + "x")),
    "a type": (30_000, header("Content-Type", lambda size: "multipart/form-data; " + "\\" * size)),
    "nodes": (5000, document(lambda size: pack("p", *[data(str(n), str(n)) for n in range(size)]))),
    "nodes of one name": (5000, document(lambda size: pack("p", *[data("n", "a") for n in range(size)]))),
    "containers": (5000, document(lambda size: pack("p", *[container(str(n)) for n in range(size)]))),
    "nodes below a long name": (1200, document(lambda size: pack(
        "p", container(LONG * size, *[data("n", "") for n in range(10 * size)])))),
    "flaws": (5000, document(lambda size: pack("p", *[data("n", "a", text=n) for n in range(size)]))),
    "flaws below a long name": (1200, document(lambda size: pack(
        "p", container(LONG * size, *[data("n", "a", text=n) for n in range(10 * size)])))),
    "keywords": (MAX_KEYWORDS, document(lambda size: about(keywords=[str(n) for n in range(size)]))),
    "keywords of several types": (MAX_KEYWORDS, document(lambda size: about(
        keywords=[[str(n), n, [n], {"a": n}, n / 2][n % 5] for n in range(size)]))),
    "no keywords": (20_000, document(lambda size: about(keywords={str(n): n for n in range(size)}))),
    "names of no text": (20_000, document(lambda size: about(name=list(range(size))))),
    "unknown keys": (20_000, document(lambda size: about(**{f"key{n}": n for n in range(size)}))),
    "links": (5000, document(lambda size: pack("p", *[data("n", f"repovizz:{n}") for n in range(size)]))),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_valid_input_and_what_nearly_is(api: Api, name: str) -> None:
    size, send = INPUTS[name]
    check_growth(lambda count: send(api, count), size)


def test_many_objects_that_take_the_place_of_others(api: Api) -> None:
    source, target = (api.folder(name)["id"] for name in ("source", "target"))
    items: list[int] = []
    for start in range(0, 256, 64):
        files = [{"name": f"{start + n}", "size": 0, "parent": source} for n in range(64)]
        answer = api.upload(b"", "files/upload_many", files=files)
        items += [record["id"] for record in answer.json()["result"]]

    def send(size: int) -> requests.Response:
        return api.post("files/copy", {"items": items[:size], "parent": target, "replace": True})

    check_growth(send, len(items))
