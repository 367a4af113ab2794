"""Having the kernel send files: from the page cache to the socket, past this process.

This is the ASGI extension ``http.response.zerocopysend``, which uvicorn leaves to others; a message for a
client that is gone raises a ConnectionError. A thread gives the kernel as much as the socket takes at once;
for slow clients the event loop waits, so that they hold no thread.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from anyio import to_thread
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EXTENSION", "ZeroCopy"]

EXTENSION = "http.response.zerocopysend"
"""The type of the messages, and the name under which a scope says that they are understood."""

_BLINK = 2  # milliseconds for which a thread waits for a client that is about to take more
_TURN = 0.05  # seconds after which a thread is left to others where the client makes it wait
_LOOK = 0.25  # seconds after which one looks whether a client that takes nothing is still there

# What systems say of files that they can only copy.
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOVERFLOW})


class ZeroCopy:
    """Put the extension around an application.

    Parameters
    ----------
    app : ASGIApp
        The application.
    waiting : callable
        Is told how many bytes the client has still to take of what the kernel sends, whenever that changes.
    """

    def __init__(self, app: ASGIApp, waiting: Callable[[int], object]) -> None:
        self._app = app
        self._waiting = waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the extension where connection and system allow it."""
        cycle = getattr(send, "__self__", None)
        if scope["type"] != "http" or not isinstance(cycle, RequestResponseCycle) or not _possible(cycle):
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == EXTENSION:
                await self._send(cycle, message)
            else:
                await send(message)

        scope["extensions"] = {**scope.get("extensions", {}), EXTENSION: {}}
        await self._app(scope, receive, sending)

    async def _send(self, cycle: RequestResponseCycle, message: Message) -> None:
        count = message["count"]
        if count > cycle.expected_content_length:
            raise RuntimeError("the file is longer than the answer was announced to be")
        await _written(cycle)
        try:
            # A descriptor of its own: the transport may close its one while the kernel is at work.
            with socket.socket(fileno=os.dup(cycle.transport.get_extra_info("socket").fileno())) as out:
                await self._push(cycle, out, message["file"], message["offset"], count)
        except ConnectionError:
            # What the event loop does a moment later anyway.
            cycle.disconnected = True
            cycle.message_event.set()
            cycle.transport.abort()
            raise
        finally:
            self._waiting(0)
        cycle.expected_content_length -= count
        more_body = message.get("more_body", False)
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": more_body})

    async def _push(
        self, cycle: RequestResponseCycle, out: socket.socket, file: int, offset: int, left: int
    ) -> None:
        while left:
            _check(cycle)
            self._waiting(left)
            sent = await _undisturbed(to_thread.run_sync(_give, out, file, offset, left))
            offset, left = offset + sent, left - sent
            if left:
                await _writable(out)


def _possible(cycle: RequestResponseCycle) -> bool:
    encrypted = cycle.transport.get_extra_info("sslcontext") is not None
    return hasattr(os, "sendfile") and not encrypted and cycle.scope["method"] != "HEAD"


async def _written(cycle: RequestResponseCycle) -> None:
    """Wait until what came before the file has left the transport's own buffer."""
    pause = 0.0
    _check(cycle)
    while cycle.transport.get_write_buffer_size():
        await asyncio.sleep(pause)
        _check(cycle)
        pause = min(pause + 0.001, _LOOK)


def _check(cycle: RequestResponseCycle) -> None:
    # Only the last of several requests on a connection is told that it is lost.
    if cycle.disconnected or cycle.transport.is_closing():
        raise BrokenPipeError(errno.EPIPE, "the client is gone")


async def _undisturbed(work: Coroutine[object, object, int]) -> int:
    """Wait for a thread, also when cancelled: what it works with must not be closed before it is done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            await asyncio.wait([task])
    return task.result()


async def _writable(out: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(out, ready.set)
    try:
        async with asyncio.timeout(_LOOK):
            await ready.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_writer(out)


def _give(out: socket.socket, file: int, offset: int, count: int) -> int:
    """Give the kernel what the socket takes of a file, and return how many bytes it took."""
    ends = time.monotonic() + _TURN
    given = 0
    while given < count:
        try:
            sent = _give_once(out, file, offset + given, count - given)
        except BlockingIOError:
            poll = select.poll()
            poll.register(out, select.POLLOUT)
            if time.monotonic() > ends or not poll.poll(_BLINK):
                break
            continue
        if not sent:
            raise EOFError(f"the file ends at byte {offset + given}")
        given += sent
    return given


def _give_once(out: socket.socket, file: int, offset: int, count: int) -> int:
    try:
        return os.sendfile(out.fileno(), file, offset, count)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    data = os.pread(file, min(count, 1 << 20), offset)
    return out.send(data) if data else 0
