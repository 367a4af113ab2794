"""Folders that contain themselves, or others without end: a service that is broken, or means harm."""

from __future__ import annotations

import itertools
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.errors import ProtocolError
from rinofs.fs import browse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def service(next_id: Callable[[], int]) -> Iterator[str]:
    """Answer each request with a listing of one folder."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            folder = {"id": next_id(), "name": "a", "type": "folder", "metadata": {}, "size": 0}
            body = json.dumps({"result": [folder], "count": 1}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


WAYS: dict[str, Callable[[RinoFileSystem], Any]] = {
    "find": lambda fs: fs.find("", withdirs=True),
    "walk": lambda fs: list(fs.walk("")),
    "glob": lambda fs: fs.glob("**"),
    "du": lambda fs: fs.du(""),
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("loop", [1, 2, 3])
def test_folders_that_contain_themselves_end(way: str, loop: int) -> None:
    ids = itertools.cycle(range(1, loop + 1))
    with service(lambda: next(ids)) as url:
        fs = RinoFileSystem(endpoint_url=url, token="t", skip_instance_cache=True)
        with pytest.raises(ProtocolError, match="below itself"):
            WAYS[way](fs)


@pytest.mark.parametrize("way", list(WAYS))
def test_folders_without_end_end(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "_DEEPEST", 30)
    ids = itertools.count(1)
    with service(lambda: next(ids)) as url:
        fs = RinoFileSystem(endpoint_url=url, token="t", skip_instance_cache=True)
        with pytest.raises(ProtocolError, match="levels"):
            WAYS[way](fs)
