"""The way of an upload through the server, as the interpreter sees it."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

import rinofs.server
from rinofs.server.auth import account_tokens
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from rinofs.testing import LiveServer

SERVER = Path(rinofs.server.__file__).parent
UNCOUNTED = {"__init__", "errors", "runner"}  # the last one looks every 0.1 s whether to stop, for no request

MOST_MODULES = 14


class Collected(logging.Handler):
    """Tells when the collection that a server begins with is over."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("collected"):
            self.seen.set()


BESIDE = "rinofs-sha256"
"""The thread that takes the SHA-256 of what was uploaded, whenever it gets to it."""


class Trace:
    """The modules of the server of which any thread calls a function that works for a request."""

    def __init__(self) -> None:
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and threading.current_thread().name != BESIDE:
            self.files.add(frame.f_code.co_filename)

    def modules(self) -> list[str]:
        files = map(Path, self.files.copy())  # threads of the server may add to it meanwhile
        inside = [file.relative_to(SERVER) for file in files if file.is_relative_to(SERVER)]
        return sorted(str(path.with_suffix("")) for path in inside if path.stem not in UNCOUNTED)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LiveServer, Trace]]:
    # Looking up who a token belongs to is no part of each request: that is known for a while.
    monkeypatch.setattr(account_tokens, "REMEMBERED", 3600.0)
    trace, collected = Trace(), Collected()
    logger = logging.getLogger("rinofs.server")
    level = logger.level
    logger.addHandler(collected)
    logger.setLevel(logging.INFO)
    threading.setprofile(trace)
    try:
        with live_server() as server:
            assert collected.seen.wait(60)
            yield server, trace
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
        logger.removeHandler(collected)
        logger.setLevel(level)


def upload(server: LiveServer, name: str, content: bytes) -> None:
    parts: Any = {"json": (None, json.dumps({"name": name})), "file": ("f", content)}
    headers = {"Authorization": f"Token {server.token}", "Idempotency-Key": name}
    url = f"{server.endpoint_url}/api/1/files/upload/"
    answer = requests.post(url, headers=headers, files=parts, timeout=30)
    assert answer.status_code == 201, answer.text


def test_an_upload_passes_few_modules(traced: tuple[LiveServer, Trace]) -> None:
    server, trace = traced
    upload(server, "first", b"content")
    trace.files.clear()
    upload(server, "second", b"x" * 5_000_000)
    passed = trace.modules()
    assert {"web/uploads", "blobs/disk", "catalog/store", "api/rinocloud/changes"} <= set(passed)
    assert len(passed) <= MOST_MODULES, passed
