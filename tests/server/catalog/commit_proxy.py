"""A TCP proxy between a server and PostgreSQL that cuts the connection at a COMMIT."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import closing, suppress
from enum import Enum
from typing import Self

_COMMIT = b"COMMIT\0"


class Cut(Enum):
    """When the connection is cut."""

    BEFORE = "the database never sees the COMMIT"
    WITH = "the database sees the COMMIT, and then the end of the connection"
    AFTER = "the database commits, and nobody hears of it"


class CommitProxy:
    """Passes everything on, but for a COMMIT where one is to be cut.

    Parameters
    ----------
    port : int
        The port of PostgreSQL on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.next: Cut | None = None
        self.cuts = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with closing(client), closing(server), suppress(OSError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and self.next is not None and _COMMIT in data:
                        self._cut(server, data)
                        return
                    (server if source is client else client).sendall(data)

    def _cut(self, server: socket.socket, data: bytes) -> None:
        cut, self.next = self.next, None
        self.cuts += 1
        if cut is not Cut.BEFORE:
            server.sendall(data)
        if cut is Cut.AFTER:
            server.recv(65536)
