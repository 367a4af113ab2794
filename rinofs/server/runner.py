"""Running the server: folder lock, port, and process."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import uvicorn
from filelock import FileLock

from rinofs.protocol.names import is_loopback
from rinofs.server.folder import LOCK
from rinofs.server.web.connections import guarded_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

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
"""Seconds that a thread may hold the GIL while others wait for it."""

_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 (recognised, not bound)

CLEANUP = 10.0
"""Seconds after which a process that has stopped serving exits, whatever its threads still do."""

CLEANUP_AT_ONCE = 1.0
"""The same after a second signal to stop."""


class DataDirBusyError(Exception):
    """Another process is serving the folder."""


class PortBusyError(Exception):
    """The server cannot listen on the address."""


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Keep other servers off a folder, which is created if missing.

    Parameters
    ----------
    data_dir : Path
        The folder.

    Raises
    ------
    DataDirBusyError
        If another process, or another server in this one, is serving it.
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
    """Open a listening socket.

    Parameters
    ----------
    host : str
        Name or address of an interface.
    port : int
        The port; 0 for any free one.

    Raises
    ------
    PortBusyError
        If that fails, usually because another process listens there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except socket.gaierror as error:
        raise PortBusyError(f"cannot listen on {host}: {error.strerror}") from error
    except OSError as error:
        # The error's own text would repeat the address.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PortBusyError(f"cannot listen on {host} port {port}: {reason}") from error


def endpoint_url(listener: socket.socket, host: str, allowed_hosts: tuple[str, ...] = ()) -> str:
    """Return the URL at which a server can be reached.

    Parameters
    ----------
    listener : socket
        The socket that it listens on.
    host : str
        The name or address that it was told to listen on.
    allowed_hosts : tuple of str
        Names that it answers to; the first is used if it listens on all interfaces.
    """
    name = host
    if host in _WILDCARDS:
        name = allowed_hosts[0] if allowed_hosts else "127.0.0.1"
    bracketed = f"[{name}]" if ":" in name else name
    return f"http://{bracketed}:{listener.getsockname()[1]}"


class Server(uvicorn.Server):
    """One process that serves one socket.

    Parameters
    ----------
    app : ASGIApp
        The application.
    settings : ServerSettings
        The source of timeouts.
    on_ready : callable, optional
        Called once the server answers requests.
    on_stop : callable, optional
        Called when a signal tells the process to stop, while requests are still answered.
    protocol : type, optional
        Used with clients instead of the guarded protocol of these settings.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        *,
        on_ready: Callable[[], None] | None = None,
        on_stop: Callable[[], None] | None = None,
        protocol: type[GuardedProtocol] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=protocol or guarded_protocol(settings),
            interface="asgi3",
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
        self._on_stop = on_stop
        self._delay = settings.shutdown_delay
        self._stops_at: float | None = None  # when it stops listening
        self._cut = asyncio.Event()  # set to stop waiting for requests in progress
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ends = SimpleQueue[float]()  # seconds after which the process exits, whatever happens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; called ten times a second."""
        late = self._stops_at is not None and time.monotonic() >= self._stops_at
        return await super().on_tick(counter) or late

    def stop(self) -> None:
        """Stop the server; may be called from any thread."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (as signal handlers are)
        """Begin to stop; on a second signal, stop at once."""
        # Nothing here may wait for a lock: a handler interrupts whatever the main thread does.
        if self._stops_at is None:
            self._stops_at = time.monotonic() + self._delay
            self._ends.put(self._delay + (self.config.timeout_graceful_shutdown or 0) + CLEANUP)
            if self._on_stop is not None:
                self._on_stop()
            # Clients and proxies that keep connections switch to other servers before this one refuses them.
            closing = (b"connection", b"close")
            self.config.encoded_headers.append(closing)
            self.server_state.default_headers = [*self.server_state.default_headers, closing]
        else:
            self._stops_at = 0.0
            self._ends.put(CLEANUP_AT_ONCE)
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._cut.set)

    async def _wait_tasks_to_complete(self) -> None:
        """Wait for requests in progress, unless they are to be cut off."""
        waiting = asyncio.ensure_future(super()._wait_tasks_to_complete())
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait((waiting, cut), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise TimeoutError  # uvicorn cancels them, as after the timeout
            waiting.result()
        finally:
            waiting.cancel()
            cut.cancel()

    def run_until_signalled(self, listener: socket.socket) -> None:
        """Serve until SIGTERM or Ctrl-C, then return.

        Requests are answered for ``settings.shutdown_delay`` more seconds; those in progress then have
        ``settings.shutdown_timeout`` to finish. A second signal cuts both short.

        Parameters
        ----------
        listener : socket
            What to listen on; closed at the end.
        """
        raise_file_limit()
        # Make long computations yield more often than every 5 ms: each request needs several turns.
        sys.setswitchinterval(SWITCH_INTERVAL)
        # What is loaded by now stays; scanning it for garbage again and again would take longer than serving.
        gc.collect()
        gc.freeze()
        self.config.load()
        threading.Thread(target=_end_in_time, args=(self._ends,), daemon=True).start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        self.run([listener])


def _end_in_time(ends: SimpleQueue[float]) -> None:
    """Exit this process in time, even if a thread hangs: what was acknowledged is on the disk.

    Parameters
    ----------
    ends : SimpleQueue of float
        Seconds from now; the earliest counts. Unlike other queues, it can be filled by a signal handler.
    """
    deadline = time.monotonic() + ends.get()
    while (left := deadline - time.monotonic()) > 0:
        with suppress(Empty):
            deadline = min(deadline, time.monotonic() + ends.get(timeout=left))
    os._exit(0)


def raise_file_limit() -> None:
    """Let the process open as many files and connections as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_wildcard(host: str) -> bool:
    """Return whether listening on a host means listening on all interfaces."""
    return host in _WILDCARDS


def is_exposed(host: str) -> bool:
    """Return whether listening on a host exposes the server to other machines."""
    return is_wildcard(host) or not is_loopback(host)
