"""A TCP proxy between a worker and what it depends on, which can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire:
    """A port whose connections lead to another one, until it is cut."""

    def __init__(self, listener: socket.socket, target: int) -> None:
        self._listener = listener
        self._target = target
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._whole = threading.Event()
        self._whole.set()
        self._silent = False
        self.port: int = listener.getsockname()[1]

    def cut(self, *, silently: bool = False) -> None:
        """End all connections and refuse new ones; or hold back what is sent, as if packets were lost."""
        with self._lock:
            self._silent = silently
            self._whole.clear()
            ended = () if silently else tuple(self._open)
        for end in ended:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Pass on again; what was held back in silence arrives late, as TCP would send it again."""
        self._whole.set()

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole.is_set() and not self._silent:
                client.close()
                continue
            with suppress(OSError):
                target = socket.create_connection(("127.0.0.1", self._target))
                with self._lock:
                    self._open |= {client, target}
                for pair in ((client, target), (target, client)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()
                continue
            client.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._whole.wait()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            if source in self._open:
                self._open -= {source}
                source.close()


@contextmanager
def wire(target: int) -> Iterator[Wire]:
    """Run a proxy in front of a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Wire(listener, target)
        threading.Thread(target=made.serve, daemon=True).start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            made.cut()
            made.mend()
