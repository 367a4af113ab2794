"""Servers that lack what the published API promises, as real ones do: in front of one that lacks nothing."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from rinofs.server.settings import ServerSettings
from rinofs.testing.live import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rinofs.testing import LiveServer

LISTS = {"children", "query", "search", "move", "copy"}


@dataclass(frozen=True)
class Limits:
    """What a server lacks.

    Attributes
    ----------
    missing : set of str
        Endpoints that it does not have, with the status that it answers there.
    ranges : bool
        Whether it knows ``Range``.
    bare_lists : bool
        Whether it answers with lists instead of objects with ``result``.
    page : int or None
        Records in a page, at most.
    echo : bool
        Whether its pages say how many records they may hold, and how many there are in all.
    without : set of str
        Fields that its records do not have.
    lengths : bool
        Whether contents come with their length.
    record_header : bool
        Whether contents come with their record.
    redirects : bool
        Whether contents are in an object store of another origin.
    """

    missing: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    bare_lists: bool = False
    page: int | None = None
    echo: bool = True
    without: frozenset[str] = frozenset()
    lengths: bool = True
    record_header: bool = True
    redirects: bool = False


class Limited:
    """A server in front of another one."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self.asked: list[str] = []
        self.store: Store | None = None
        self.store_url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live_through(receive, send)
            return
        endpoint = scope["path"].strip("/").rpartition("/")[2]
        self.asked.append(endpoint)
        limits = self._limits
        if endpoint in limits.missing:
            await answer(receive, send, limits.missing[endpoint], b"<html>no such page</html>", "text/html")
        elif endpoint == "download" and limits.redirects:
            await self._redirect(scope, receive, send)
        elif endpoint in {"download", "download_many"}:
            await self._download(scope, receive, send)
        else:
            await self._json(endpoint, scope, receive, send)

    async def _download(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._limits
        if not limits.ranges:
            unknown = {b"range", b"if-range"}
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in unknown]}
        dropped = {b"accept-ranges"} if not limits.ranges else set()
        dropped |= set() if limits.lengths else {b"content-length"}
        dropped |= set() if limits.record_header else {b"rinocloud-api-result"}

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].lower() not in dropped]
                message = {**message, "headers": kept}
            await send(message)

        await self._app(scope, receive, pass_on)

    async def _redirect(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.store is not None
        headers = [pair for pair in scope["headers"] if pair[0] not in {b"range", b"if-range"}]
        status, body = await collect(self._app, {**scope, "headers": headers}, receive)
        if status != 200:
            await answer(receive, send, status, body, "application/json")
            return
        key = f"{len(self.store.contents)}"
        self.store.contents[key] = body
        target = f"{self.store_url}/bucket/{key}?signature=abc"
        await answer(receive, send, 302, b"", "text/plain", {"location": target})

    async def _json(self, endpoint: str, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._limits
        if endpoint in LISTS and limits.page is not None:
            asked = json.loads(await whole(receive))
            asked["limit"] = min(int(asked.get("limit", 20)), limits.page)
            body = json.dumps(asked).encode()
            lengths = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
            scope = {**scope, "headers": [*lengths, (b"content-length", b"%d" % len(body))]}
            receive = once(body)
        started: Message = {}
        pieces: list[bytes] = []

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                pieces.append(message.get("body", b""))

        await self._app(scope, receive, take)
        body = b"".join(pieces)
        if body and started["status"] < 300:
            body = json.dumps(self._shaped(endpoint, json.loads(body))).encode()
        headers = [pair for pair in started["headers"] if pair[0].lower() != b"content-length"]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({**started, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _shaped(self, endpoint: str, data: Any) -> Any:
        limits = self._limits
        if isinstance(data, dict) and "result" in data:
            records = [self._shaped("", record) for record in data["result"]]
            if limits.bare_lists:
                return records
            return {**data, "result": records} if limits.echo else {"result": records}
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if name not in limits.without}
        return data


class Store:
    """An object store, which gives contents to whoever has the link."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.headers: list[dict[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live_through(receive, send)
            return
        assert parse_qs(scope["query_string"].decode())["signature"] == ["abc"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.headers.append(headers)
        data = self.contents[scope["path"].rpartition("/")[2]]
        about = {"etag": f'"{hash(data)}"', "accept-ranges": "bytes"}
        if "," in headers.get("range", ","):  # of several ranges such stores know nothing
            await answer(receive, send, 200, data, "binary/octet-stream", about)
            return
        first, _, last = headers["range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else max(len(data) - int(last), 0)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= len(data):
            await answer(receive, send, 416, b"", "text/plain", {"content-range": f"bytes */{len(data)}"})
            return
        about["content-range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        await answer(receive, send, 206, data[start:stop], "binary/octet-stream", about)


@contextmanager
def limited(server: LiveServer, limits: Limits) -> Iterator[tuple[str, Limited]]:
    """Serve what a server has, as one that lacks something.

    Yields
    ------
    tuple
        The endpoint, and what stands there.
    """
    front = Limited(server._recorder, limits)
    settings = replace(ServerSettings(server.data_dir), shutdown_timeout=1.0)
    store = Store()
    with serving(front, settings) as url, serving(store, settings) as store_url:
        front.store, front.store_url = store, store_url
        yield url, front


# The small print of ASGI


async def live_through(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def whole(receive: Receive) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def collect(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[int, bytes]:
    status = 0
    body = b""

    async def take(message: Message) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    await app(scope, receive, take)
    return status, body


async def answer(
    receive: Receive, send: Send, status: int, body: bytes, kind: str, more: dict[str, str] | None = None
) -> None:
    await whole(receive)
    headers = {"content-type": kind, "content-length": str(len(body)), **(more or {})}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})
