"""Several workers behind nginx, as ``examples/deploy`` has it, in place of one server."""

from __future__ import annotations

import re
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rinofs.server.blobs.memory import MemoryBlobStore
from rinofs.server.settings import ServerSettings
from rinofs.testing import live
from rinofs.testing.recording import Recorder
from tests.server import nginx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rinofs.server.web.connections import GuardedProtocol
    from rinofs.testing.recording import Faults

PROXY = ("127.0.0.1",)


@contextmanager
def balanced(urls: Sequence[str]) -> Iterator[str]:
    """Run nginx in front of workers, without TLS, and yield its URL."""
    port = nginx.free_port()
    with (
        tempfile.TemporaryDirectory(prefix="rinofs-nginx-") as folder,
        nginx.running(Path(folder), site(urls, port), port),
    ):
        yield f"http://127.0.0.1:{port}"


def site(urls: Sequence[str], port: int) -> str:
    """Return the example with several workers, and without what TLS needs."""
    text = nginx.EXAMPLE.read_text()
    (server,) = re.findall(r"^ *server 127\.0\.0\.1:8440.*;$", text, re.MULTILINE)
    several = [server.replace("127.0.0.1:8440", url.removeprefix("http://")) for url in urls]
    for placeholder, value in [
        (server, "\n".join(several)),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} backlog=2048"),
        ("server_name data.lab.example", "server_name localhost"),
    ]:
        assert text.count(placeholder) == 1, placeholder
        text = text.replace(placeholder, value)
    return "\n".join(line for line in text.splitlines() if "ssl_certificate" not in line)


@contextmanager
def in_workers(count: int) -> Iterator[None]:
    """Have each `live_server` be several workers: all record and are told faults as one.

    They are applications with services, caches and ports of their own, in one process: what a test injects
    is Python's.
    """
    made, alone = ServerSettings.__init__, live.serving

    def settings(self: ServerSettings, *given: Any, **named: Any) -> None:
        made(self, *given, **{"trusted_proxies": PROXY, **named})

    @contextmanager
    def several(
        app: Recorder, settings: ServerSettings, *, protocol: type[GuardedProtocol] | None = None
    ) -> Iterator[str]:
        services = app._app.state.services
        others = 0 if isinstance(services.blobs, MemoryBlobStore) else count - 1
        with ExitStack() as stack:
            first = stack.enter_context(alone(app, settings, protocol=protocol))
            urls = [first]
            for _ in range(others):
                other = _Other(live.create_app(settings), app)
                urls.append(stack.enter_context(alone(other, settings, protocol=protocol)))
            yield stack.enter_context(balanced(urls)) if others else first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerSettings, "__init__", settings)
        patch.setattr(live, "serving", several)
        yield


class _Other(Recorder):
    """Records what another worker answers beside the first one."""

    def __init__(self, app: Any, first: Recorder) -> None:
        self._first = first
        super().__init__(app)
        self.requests = first.requests

    @property
    def faults(self) -> Faults | None:
        return self._first.faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        pass
