"""Running the server: its folder, its port, its process."""

from __future__ import annotations

import gc
import math
import os
import resource
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import uvicorn
from filelock import FileLock

from rinofs.server.folder import LOCK
from rinofs.server.web.connections import guarded_protocol
from rinofs.server.web.responses import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from rinofs.server.settings import ServerSettings
    from rinofs.server.web.connections import GuardedProtocol

__all__ = [
    "DataDirBusyError",
    "PortBusyError",
    "Server",
    "endpoint_url",
    "exclusive",
    "is_exposed",
    "is_wildcard",
    "listen",
]

SWITCH_INTERVAL = 0.001
"""Seconds that a thread may hold Python's lock while others wait for it."""

_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 (recognised, not bound)


class DataDirBusyError(Exception):
    """Another process serves the folder."""


class PortBusyError(Exception):
    """The address cannot be listened on."""


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Keep other servers off a folder, which is made where missing.

    Parameters
    ----------
    data_dir : Path
        The folder.

    Raises
    ------
    DataDirBusyError
        If another process, or another server of this one, serves it.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(data_dir / LOCK, blocking=False, mode=0o600)
    try:
        lock.acquire()
    except TimeoutError as error:
        raise DataDirBusyError(f"{data_dir} is being served by another process") from error
    try:
        yield
    finally:
        lock.release()


def listen(host: str, port: int) -> socket.socket:
    """Begin to listen.

    Parameters
    ----------
    host : str
        Name or address of an interface.
    port : int
        The port; 0 for one that is free.

    Raises
    ------
    PortBusyError
        If that cannot be done, most often because another process listens there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except socket.gaierror as error:
        raise PortBusyError(f"cannot listen on {host}: {error.strerror}") from error
    except OSError as error:
        # Its own text says the address once more.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PortBusyError(f"cannot listen on {host} port {port}: {reason}") from error


def endpoint_url(listener: socket.socket, host: str, allowed_hosts: tuple[str, ...] = ()) -> str:
    """Return the URL under which a server can be reached.

    Parameters
    ----------
    listener : socket
        What it listens on.
    host : str
        The name or address that it was told to listen on.
    allowed_hosts : tuple of str
        Names that it answers for; the first stands for all interfaces.
    """
    name = host
    if host in _WILDCARDS:
        name = allowed_hosts[0] if allowed_hosts else "127.0.0.1"
    bracketed = f"[{name}]" if ":" in name else name
    return f"http://{bracketed}:{listener.getsockname()[1]}"


class Server(uvicorn.Server):
    """One process that answers on one socket.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    settings : ServerSettings
        Where deadlines come from.
    on_ready : callable, optional
        Called when requests are answered.
    protocol : type, optional
        What talks to clients in place of the guarded protocol of these settings.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        *,
        on_ready: Callable[[], None] | None = None,
        protocol: type[GuardedProtocol] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=protocol or guarded_protocol(settings),
            ws="none",
            loop="uvloop" if find_spec("uvloop") else "asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever could set these headers could also choose the address that logins are counted by.
            proxy_headers=False,
            timeout_keep_alive=math.ceil(settings.idle_timeout),
            timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
        )
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    def stop(self) -> None:
        """Have the server end, from any thread."""
        self.should_exit = True

    def run_until_signalled(self, listener: socket.socket) -> None:
        """Answer until the process is told to end by SIGTERM or Ctrl-C, then return.

        Parameters
        ----------
        listener : socket
            What to listen on; closed at the end.
        """
        raise_file_limit()
        # What computes for long lets others have their turn more often than every 5 ms: each request needs
        # several turns.
        sys.setswitchinterval(SWITCH_INTERVAL)
        # What was loaded until here stays; looking through it for garbage again and again would take longer
        # than answering.
        gc.collect()
        gc.freeze()
        # uvicorn raises the signal once more when it is done; without a handler, that would be a failed end.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop())
        self.run([listener])


def raise_file_limit() -> None:
    """Let the process have as many files and connections open as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_wildcard(host: str) -> bool:
    """Tell whether listening on a host means listening on all interfaces."""
    return host in _WILDCARDS


def is_exposed(host: str) -> bool:
    """Tell whether listening on a host lets other machines in."""
    return is_wildcard(host) or not is_loopback(host)
