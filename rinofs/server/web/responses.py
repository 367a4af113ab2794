"""The answers that are not content: JSON documents, errors, long lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from anyio import to_thread
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.types import Receive, Scope, Send

__all__ = ["JsonList", "error_response", "json_response", "stream_json_list"]

JSON = "application/json"


def json_response(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a JSON document.

    Parameters
    ----------
    data : object
        What `orjson` can write; an ``orjson.Fragment`` goes in as it is.
    status : int
        The HTTP status.
    headers : mapping of str, optional
        Further headers.
    """
    return Response(orjson.dumps(data), status, headers, JSON)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an error, in the shape that the Rinocloud API gives it.

    Parameters
    ----------
    status : int
        The HTTP status; the message of a 401 is found as ``detail``, every other as ``error``.
    message : str
        What happened, and which field it is about. It never holds a secret.
    headers : mapping of str, optional
        Further headers.
    """
    return json_response({"detail" if status == 401 else "error": message}, status, headers)


def stream_json_list(
    pages: Iterator[Sequence[object]], *, key: str = "result", rest: Mapping[str, object] | None = None
) -> JsonList:
    """Answer with a list of any length, holding one page of it in memory.

    Parameters
    ----------
    pages : iterator of sequences
        The items, page by page. The pages are asked for in a worker thread, one after the other. What the
        iterator raises before its second page becomes an ordinary error; later it ends the connection.
    key : str
        The key in the answer below which the list is found.
    rest : mapping, optional
        Further keys of the answer.
    """
    return JsonList(pages, key, rest or {})


class JsonList(Response):
    """A JSON object around a list that is written page by page."""

    def __init__(self, pages: Iterator[Sequence[object]], key: str, rest: Mapping[str, object]) -> None:
        super().__init__(media_type=JSON)
        del self.headers["content-length"]
        self._pages = pages
        self._head = b"{" + orjson.dumps(key) + b":["
        others = orjson.dumps(dict(rest))[1:]
        self._tail = b"]" + (b"," if len(others) > 1 else b"") + others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; one that fits into a page is sent in one piece, with its length."""
        first, second = await to_thread.run_sync(self._first_pages)
        if not second:
            self.body = self._head + first + self._tail
            self.headers["content-length"] = str(len(self.body))
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(_body(self._head + first, more=True))
        while second:
            await send(_body(b"," + second, more=True))
            second = await to_thread.run_sync(self._next_page)
        await send(_body(self._tail, more=False))

    def _first_pages(self) -> tuple[bytes, bytes]:
        first = self._next_page()
        return first, self._next_page() if first else b""

    def _next_page(self) -> bytes:
        # An empty page says nothing; only the end of the iterator ends the list.
        for page in self._pages:
            if page:
                return orjson.dumps(list(page))[1:-1]
        return b""


def _body(data: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}
