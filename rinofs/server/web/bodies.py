"""Read request bodies within limits: raw bytes, JSON documents, forms and multipart bodies.

Fields and streams share a module, so that an upload passes through few modules: see "The data's way" in
`docs/architecture.md`.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote

import orjson
from anyio import to_thread
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import ClientDisconnect

from rinofs.protocol.digests import DIGESTS
from rinofs.server.budgets import HELD, check_time, limited
from rinofs.server.errors import BadRequest, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator

    from starlette.requests import Request

    from rinofs.server.budgets import HeldMemory
    from rinofs.server.settings import ServerSettings

T = TypeVar("T")

__all__ = [
    "FILE_PART",
    "FORM",
    "MULTIPART",
    "TEXT_FIELDS",
    "MultipartBody",
    "body_stream",
    "content_type_of",
    "in_time",
    "join",
    "multipart_body",
    "parse_form",
    "parse_json",
    "parse_object",
    "read_fields",
    "settings_of",
]

_SMALL = 32 * 1024  # bytes; parsing a smaller document takes less time than starting a worker thread

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


class ThreadRunner(Protocol):
    """Runs blocking work in a worker thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run the work and return its result."""
        ...


async def read_fields(
    request: Request,
    *,
    text_fields: Collection[str] = (),
    limit: int | None = None,
    run: ThreadRunner = to_thread.run_sync,
) -> dict[str, object]:
    """Read the fields of a JSON, form or multipart body without a file.

    Parameters
    ----------
    request : Request
        The request, whose body has not been read.
    text_fields : collection of str
        Form fields that are always text, besides `TEXT_FIELDS`.
    limit : int, optional
        Maximum length of the body in bytes; by default ``settings.max_json_bytes``.
    run : callable
        Runs blocking work in a worker thread.

    Returns
    -------
    dict
        The fields; empty if the request has no body.

    Raises
    ------
    BadRequest
        If the body is malformed, or takes too long to parse.
    TooLarge
        If the body is longer than the limit.
    UnsupportedMedia
        If the body is compressed or has another type.
    """
    settings = settings_of(request)
    most = settings.max_json_bytes if limit is None else limit
    kind = content_type_of(request)
    texts = TEXT_FIELDS | frozenset(text_fields)
    if kind == MULTIPART:
        body = multipart_body(request, takes_file=False)
        async for data in body_stream(request, most, kept=True):
            for _ in body.feed(data):
                pass
        body.close()
        return await join(body.fields, settings, texts, run=run)
    raw = b"".join([data async for data in body_stream(request, most, kept=True)])
    if kind == FORM:
        return await _aside(len(raw), settings, partial(parse_form, raw, settings, texts), run)
    if not raw or kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return await _aside(len(raw), settings, partial(parse_object, raw, settings), run)
    if not kind:
        what = "the body, which has no Content-Type,"
        return await _aside(len(raw), settings, partial(parse_object, raw, settings, what=what), run)
    raise UnsupportedMedia(f"unsupported body type {kind}; send JSON or a form")


async def join(
    pairs: list[tuple[str, str]],
    settings: ServerSettings,
    texts: Collection[str],
    *,
    run: ThreadRunner = to_thread.run_sync,
) -> dict[str, object]:
    """Return the fields of a multipart body by name; the fields in its part ``json`` take precedence.

    Raises
    ------
    BadRequest
        If that part is malformed, or takes too long to parse.
    """
    size = sum(len(value) for _, value in pairs)
    return await _aside(size, settings, partial(joined, pairs, settings, texts), run)


async def _aside(size: int, settings: ServerSettings, parse: Callable[[], T], run: ThreadRunner) -> T:
    """Parse a document of `size` bytes, in a worker thread if it is large enough to block other requests."""
    return parse() if size <= _SMALL else await run(partial(in_time, settings, parse))


def in_time(settings: ServerSettings, work: Callable[[], T]) -> T:
    """Run work that parses a body within the time limit of the request, which `check_time` enforces."""
    with limited(settings.parse_timeout, ends_with_client=True):
        return work()


def settings_of(request: Request) -> ServerSettings:
    """Return the settings of the server that handles a request."""
    settings: ServerSettings = request.app.state.settings
    return settings


def content_type_of(request: Request) -> str:
    """Return the media type of a body in lower case, without parameters.

    Raises
    ------
    UnsupportedMedia
        If the body is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        # Decompression could turn a small body into a very large one.
        raise UnsupportedMedia(f"unsupported Content-Encoding {encoding}; send the body uncompressed")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def multipart_body(request: Request, *, takes_file: bool, any_part: bool = False) -> MultipartBody:
    """Return a parser for the multipart body of a request; see `MultipartBody`."""
    boundary = boundary_of(request.headers["content-type"])
    limit = settings_of(request).max_json_bytes
    return MultipartBody(boundary, limit, takes_file=takes_file, any_part=any_part)


async def body_stream(request: Request, limit: int | None, *, kept: bool = False) -> AsyncIterator[bytes]:
    """Yield the body of a request piece by piece.

    Parameters
    ----------
    request : Request
        The request.
    limit : int or None
        Maximum length of the body in bytes.
    kept : bool
        Whether the caller keeps the whole body in memory; it then counts against the memory budget.

    Raises
    ------
    TooLarge
        If the body is longer than `limit` bytes.
    Unavailable
        If other bodies already fill the memory budget.
    BadRequest
        If the body ends before it is complete.
    """
    message = f"the body is longer than {limit} bytes"
    # Without leading zeros, since Python refuses to convert thousands of digits.
    announced = request.headers.get("content-length", "").lstrip("0") or "0"
    if limit is not None and int(announced) > limit:
        raise TooLarge(message)
    size = 0
    held: HeldMemory | None = request.scope.get(HELD) if kept else None
    try:
        async for data in request.stream():
            size += len(data)
            if held is not None:
                held.add(len(data))
            if limit is not None and size > limit:
                raise TooLarge(message)
            if data:
                yield data
    except ClientDisconnect as error:
        raise BadRequest(f"the body ended after {size} bytes, before its announced end") from error


def joined(
    pairs: list[tuple[str, str]], settings: ServerSettings, texts: Collection[str]
) -> dict[str, object]:
    """Return the fields of a form by name; the fields in its part ``json`` take precedence."""
    fields = form_fields([pair for pair in pairs if pair[0] != "json"], settings, texts)
    for name, value in pairs:
        if name == "json":
            fields |= parse_object(value.encode(), settings, what="the part 'json'")
    return fields


FILE_PART = "file"
"""The name of the part that holds the content."""

_MAX_PARTS = 1000
_FIELDS = frozenset({"json", *DIGESTS})
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]+)", re.IGNORECASE)


def boundary_of(content_type: str) -> str:
    """Return the boundary that a multipart ``Content-Type`` names.

    Raises
    ------
    BadRequest
        If it names no boundary, or an invalid one.
    """
    boundary: str = parse_options_header(content_type)[1].get("boundary", "")
    if not re.fullmatch(r"[\x20-\x7e]{0,199}[\x21-\x7e]", boundary):
        raise BadRequest("the Content-Type of a multipart body needs a boundary")
    return boundary


class MultipartBody:
    """Incremental parser of a multipart body, which keeps the fields and passes the content on.

    Parameters
    ----------
    boundary : str
        Boundary between the parts.
    max_field_bytes : int
        Maximum total size of all fields in bytes.
    takes_file : bool
        Whether the body must have a part with content.
    any_part : bool
        Whether that part may have any name: the part with a filename, or whose name is not that of a field.

    Attributes
    ----------
    fields : list of (str, str)
        Names and values of all parts except the content, in the order of the body.
    filename : str or None
        Filename of the content, if the client sent one.
    has_file : bool
        Whether the part with the content has started.
    """

    def __init__(
        self, boundary: str, max_field_bytes: int, *, takes_file: bool, any_part: bool = False
    ) -> None:
        self.fields: list[tuple[str, str]] = []
        self.filename: str | None = None
        self.has_file = False
        self._takes_file = takes_file
        self._any_part = any_part
        self._room = max_field_bytes
        self._parser = PushMultipartParser(boundary, max_segment_count=_MAX_PARTS)
        self._name: str | None = None  # name of the field that is being received
        self._value = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Parse the next bytes of the body. The caller must exhaust the iterator.

        Parameters
        ----------
        data : bytes
            The next bytes, at least one.

        Yields
        ------
        bytes
            The parts of these bytes that belong to the content.

        Raises
        ------
        BadRequest
            If the body is malformed or has unexpected parts.
        TooLarge
            If the fields or the headers of a part are too long.
        """
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is None:
                    self._end()
                elif self._name is None:
                    yield event
                else:
                    self._extend(event)
        except ParserLimitReached as error:
            raise TooLarge(f"the multipart body is out of bounds: {error}") from error
        except MultipartError as error:
            raise BadRequest(f"the multipart body is malformed: {error}") from error

    def close(self) -> None:
        """Check that the body is complete, after its last byte.

        Raises
        ------
        BadRequest
            If the body ended too early, or lacks the required content.
        """
        try:
            self._parser.close()
        except MultipartError as error:
            raise BadRequest("the multipart body ends before its last boundary") from error
        if self._takes_file and not self.has_file:
            wanted = "with a file" if self._any_part else repr(FILE_PART)
            raise BadRequest(f"the multipart body has no part {wanted}", field=FILE_PART)

    def _begin(self, segment: MultipartSegment) -> None:
        name = segment.name or ""
        if self._takes_file and self._is_content(name, segment):
            if self.has_file:
                raise BadRequest(f"the multipart body has two parts {name!r} with content", field=name)
            self.has_file = True
            self.filename = _filename(segment)
            self._name = None
        elif not name:
            raise BadRequest("the multipart body has a part without a name")
        elif segment.filename is not None and name != "json":
            message = f"a file was sent as {name!r}; it belongs into the part {FILE_PART!r}"
            raise BadRequest(message, field=name)
        else:
            self._name = name
            self._value.clear()

    def _is_content(self, name: str, segment: MultipartSegment) -> bool:
        if not self._any_part:
            return name == FILE_PART
        return segment.filename is not None or name not in _FIELDS

    def _extend(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            raise TooLarge(f"the fields beside the content are too long: {self._name!r}", field=self._name)
        self._value += data

    def _end(self) -> None:
        if self._name is None:
            return
        try:
            self.fields.append((self._name, self._value.decode()))
        except UnicodeDecodeError as error:
            raise BadRequest(f"the part {self._name!r} is not UTF-8 text", field=self._name) from error


def _filename(segment: MultipartSegment) -> str | None:
    # Older clients send non-ASCII names only in this form, although RFC 7578, section 4.2, forbids it.
    disposition = dict(segment.headerlist).get("Content-Disposition", "")
    extended = _EXTENDED_NAME.search(disposition)
    return unquote(extended.group(1), errors="replace") if extended else segment.filename


TEXT_FIELDS = frozenset(
    {
        *DIGESTS,
        "chunk",
        "client_id",
        "client_secret",
        "code",
        "field",
        "filename",
        "grant_type",
        "name",
        "password",
        "refresh_token",
        "username",
    }
)
"""Form fields that are text even if they look like a JSON literal."""

_MAX_FORM_FIELDS = 1000
_STEP = 10_000  # values checked between two checks of the time limit
_BEYOND = 2**63  # smallest integer beyond a signed 64-bit integer


def parse_json(raw: bytes, settings: ServerSettings, *, what: str = "the body") -> object:
    """Parse a JSON document from a client.

    Parameters
    ----------
    raw : bytes
        The document, in UTF-8.
    settings : ServerSettings
        Settings with the maximum nesting depth.
    what : str
        Name of the document in error messages.

    Returns
    -------
    object
        The value. All numbers are finite, all integers fit into a signed 64-bit integer, and all strings can
        be encoded as UTF-8.

    Raises
    ------
    BadRequest
        If the document is not valid JSON, or has values beyond these limits.
    """
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{what} is not valid JSON: {error}") from error
    check_time()
    if _check(value, settings.max_json_depth, what):
        _refuse_huge_integers(raw, what)
    return value


def parse_object(raw: bytes, settings: ServerSettings, *, what: str = "the body") -> dict[str, object]:
    """Parse a JSON document that must be an object; an empty document counts as an empty object.

    Raises
    ------
    BadRequest
        If the document is invalid or not an object.
    """
    value = parse_json(raw, settings, what=what) if raw.strip() else {}
    if not isinstance(value, dict):
        raise BadRequest(f"{what} has to be a JSON object")
    return value


def parse_form(raw: bytes, settings: ServerSettings, text_fields: Collection[str]) -> dict[str, object]:
    """Parse a form (application/x-www-form-urlencoded).

    Parameters
    ----------
    raw : bytes
        The form.
    settings : ServerSettings
        Settings with the limits for JSON literals.
    text_fields : collection of str
        Fields whose values are always text.

    Raises
    ------
    BadRequest
        If the form has too many fields, or is not UTF-8.
    """
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS
        )
    except UnicodeError as error:
        raise BadRequest("the form is not UTF-8") from error
    except ValueError as error:
        raise BadRequest(f"the form has more than {_MAX_FORM_FIELDS} fields") from error
    return form_fields(pairs, settings, text_fields)


def form_fields(
    pairs: Iterable[tuple[str, str]], settings: ServerSettings, text_fields: Collection[str]
) -> dict[str, object]:
    """Return the fields of a form by name.

    Parameters
    ----------
    pairs : iterable of (str, str)
        Names and values. The values of a repeated name become a list.
    settings : ServerSettings
        Settings with the limits for JSON literals.
    text_fields : collection of str
        Fields whose values are always text; any other value that is a JSON literal is parsed as one.
    """
    fields: dict[str, list[object]] = {}
    for name, text in pairs:
        check_time()
        value = text if name in text_fields else _literal(text, settings)
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _literal(text: str, settings: ServerSettings) -> object:
    try:
        return parse_json(text.encode(), settings)
    except BadRequest:
        return text


def _check(value: object, max_depth: int, what: str) -> bool:
    """Check the depth and the integers of a value; return whether a float may have been an integer."""
    suspicious = False
    level = [value]
    for depth in range(max_depth + 1):
        containers = []
        for start in range(0, len(level), _STEP):
            check_time()
            piece = level[start : start + _STEP]
            containers += [item for item in piece if isinstance(item, (dict, list))]
            for item in piece:
                if isinstance(item, float):
                    suspicious = suspicious or abs(item) >= _BEYOND
                elif isinstance(item, int) and item >= _BEYOND:
                    raise BadRequest(f"{what} has an integer beyond 64 bits")
        if not containers:
            break
        if depth == max_depth:
            raise BadRequest(f"{what} is nested more than {max_depth} levels deep")
        level = [item for one in containers for item in (one.values() if isinstance(one, dict) else one)]
    return suspicious


def _refuse_huge_integers(raw: bytes, what: str) -> None:
    # orjson turns integers beyond 64 bits into floats, which lose digits.
    def refuse(digits: str) -> int:
        if len(digits) > 20 or not -_BEYOND <= int(digits) < _BEYOND:
            raise BadRequest(f"{what} has an integer beyond 64 bits")
        return int(digits)

    json.loads(raw, parse_int=refuse)
