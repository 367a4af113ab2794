"""nginx in front of a server, with the configuration of ``examples/deploy``."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rinofs.testing import live_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from rinofs.server.settings import ServerSettings
    from rinofs.testing import LiveServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "deploy" / "nginx.conf"
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
SCALE = 16
"""How many times shorter than in the example timeouts are, and how many times faster slow networks."""

MAIN = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


@dataclass
class Front:
    """nginx, and the server behind it, whose ``endpoint_url`` leads through nginx."""

    server: LiveServer
    port: int
    folder: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def site(address: str, port: int, folder: Path, root_path: str, *, without: str = "") -> str:
    """Return the example with its placeholders replaced, and without the lines that have a certain text."""
    text = EXAMPLE.read_text()
    for placeholder, value in [
        ("127.0.0.1:8440", address),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("server_name data.lab.example", "server_name localhost"),
        ("/etc/ssl/certs/data.lab.example.pem", f"{folder}/certificate.pem"),
        ("/etc/ssl/private/data.lab.example.key", f"{folder}/key.pem"),
        ("location / {", f"location {root_path}/ {{"),
    ]:
        assert text.count(placeholder) == 1, placeholder
        text = text.replace(placeholder, value)
    text = re.sub(r"(\d+)s;", lambda seconds: f"{int(seconds[1]) * 1000 // SCALE}ms;", text)
    return "\n".join(line for line in text.splitlines() if not (without and without in line))


@contextmanager
def nginx(
    authority: trustme.CA, folder: Path, address: str, root_path: str, without: str = ""
) -> Iterator[int]:
    """Run nginx in front of an address, and yield the port that it listens on."""
    port = free_port()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    with running(folder, site(address, port, folder, root_path, without=without), port):
        yield port


@contextmanager
def running(folder: Path, text: str, port: int) -> Iterator[None]:
    """Run nginx with the configuration of a site, which listens on a port."""
    command = shutil.which("nginx", path=SEARCHED)
    if command is None:
        pytest.skip("there is no nginx; .ci/run installs it")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(user=user, folder=folder, site=text))
    log = folder / "error.log"
    with subprocess.Popen([command, "-p", folder, "-c", folder / "nginx.conf", "-e", log]) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def fronted(authority: trustme.CA, folder: Path, root_path: str = "", without: str = "") -> Iterator[Front]:
    """Run a server with nginx in front of it; all timeouts are scaled."""

    def configure(settings: ServerSettings) -> ServerSettings:
        return replace(
            settings,
            root_path=root_path,
            trusted_proxies=("127.0.0.1",),
            idle_timeout=settings.idle_timeout / SCALE,
            body_timeout=settings.body_timeout / SCALE,
            write_timeout=settings.write_timeout / SCALE,
        )

    with ExitStack() as stack:
        server = stack.enter_context(live_server(configure=configure))
        address = server.endpoint_url.removeprefix("http://")
        port = stack.enter_context(nginx(authority, folder, address, root_path, without))
        server.endpoint_url = f"https://localhost:{port}{root_path}"
        yield Front(server, port, folder)


@contextmanager
def slowed(port: int, rate: int) -> Iterator[int]:
    """Yield a port whose connections lead to another, at so many bytes a second in each direction."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                onward = socket.create_connection(("127.0.0.1", port))
                for pair in ((client, onward), (onward, client)):
                    threading.Thread(target=pass_on, args=(*pair, rate), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def pass_on(source: socket.socket, target: socket.socket, rate: int) -> None:
    """Pass on what comes, with pauses that keep it at a rate."""
    source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
    free_at = time.monotonic()
    with suppress(OSError):
        while data := source.recv(131_072):
            target.sendall(data)
            free_at = max(free_at, time.monotonic() - 0.05) + len(data) / rate
            time.sleep(max(0.0, free_at - time.monotonic()))
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
