"""Reading the bodies of requests, within bounds: their bytes, JSON documents, forms and multipart bodies."""

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

_SMALL = 32 * 1024  # bytes of a document that is parsed in less time than another thread takes to begin

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


class ThreadRunner(Protocol):
    """Calls something that blocks in a worker thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Call it, and return what it returns."""
        ...


async def read_fields(
    request: Request,
    *,
    text_fields: Collection[str] = (),
    limit: int | None = None,
    run: ThreadRunner = to_thread.run_sync,
) -> dict[str, object]:
    """Read a body of JSON, of a form, or of multipart without a file.

    Parameters
    ----------
    request : Request
        The request; its body was not read yet.
    text_fields : collection of str
        Fields of a form that are text, beside those that are everywhere.
    limit : int, optional
        Bytes that the body may have; by default what documents may.
    run : callable
        Calls what blocks in a worker thread.

    Returns
    -------
    dict
        The fields; none if the request has no body.

    Raises
    ------
    BadRequest
        If the body is malformed, or takes too long to be read.
    TooLarge
        If it is longer than it may be.
    UnsupportedMedia
        If it is compressed or of another type.
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
    """Return the fields of a multipart body by name; those of its part ``json`` win.

    Raises
    ------
    BadRequest
        If that part is malformed, or takes too long to be read.
    """
    size = sum(len(value) for _, value in pairs)
    return await _aside(size, settings, partial(joined, pairs, settings, texts), run)


async def _aside(size: int, settings: ServerSettings, parse: Callable[[], T], run: ThreadRunner) -> T:
    """Parse so many bytes, in another thread if they are so many that others would have to wait."""
    return parse() if size <= _SMALL else await run(partial(in_time, settings, parse))


def in_time(settings: ServerSettings, work: Callable[[], T]) -> T:
    """Read and check a body within the time that a request has for that; `check_time` ends it."""
    with limited(settings.parse_timeout, ends_with_client=True):
        return work()


def settings_of(request: Request) -> ServerSettings:
    """Return the settings of the server that a request came to."""
    settings: ServerSettings = request.app.state.settings
    return settings


def content_type_of(request: Request) -> str:
    """Return the type of a body, without parameters and in lower case.

    Raises
    ------
    UnsupportedMedia
        If the body is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        # Unpacking would let a small body become a large one.
        raise UnsupportedMedia(f"unsupported Content-Encoding {encoding}; send the body uncompressed")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def multipart_body(request: Request, *, takes_file: bool, any_part: bool = False) -> MultipartBody:
    """Begin to take a multipart body apart; see `MultipartBody`."""
    boundary = boundary_of(request.headers["content-type"])
    limit = settings_of(request).max_json_bytes
    return MultipartBody(boundary, limit, takes_file=takes_file, any_part=any_part)


async def body_stream(request: Request, limit: int | None, *, kept: bool = False) -> AsyncIterator[bytes]:
    """Yield the pieces of a body.

    Parameters
    ----------
    request : Request
        The request.
    limit : int or None
        Bytes that the body may have.
    kept : bool
        Whether all of it is kept in memory.

    Raises
    ------
    TooLarge
        If it is longer than `limit` bytes.
    Unavailable
        If too much of other bodies is in memory.
    BadRequest
        If it ends before it is complete.
    """
    message = f"the body is longer than {limit} bytes"
    announced = request.headers.get("content-length", "0")
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
    """Return the fields of a form by name; those of its part ``json`` win."""
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
        If it names none, or one that cannot be.
    """
    boundary: str = parse_options_header(content_type)[1].get("boundary", "")
    if not re.fullmatch(r"[\x20-\x7e]{0,199}[\x21-\x7e]", boundary):
        raise BadRequest("the Content-Type of a multipart body needs a boundary")
    return boundary


class MultipartBody:
    """One body on its way in: fields are kept, the content is handed on.

    Parameters
    ----------
    boundary : str
        What stands between the parts.
    max_field_bytes : int
        Bytes of all fields together.
    takes_file : bool
        Whether a part with content is expected.
    any_part : bool
        Whether that may have any name: it is then the part that has a file's name, or the name of no field.

    Attributes
    ----------
    fields : list of (str, str)
        Names and values of the parts other than the content, in the order of the body.
    filename : str or None
        The name of the file that was sent, if it has one.
    has_file : bool
        Whether the part with the content has begun.
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
        self._name: str | None = None  # of the field that is being received
        self._value = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body; go through what is returned to the end.

        Parameters
        ----------
        data : bytes
            Not empty.

        Yields
        ------
        bytes
            The pieces of the content that these bytes hold.

        Raises
        ------
        BadRequest
            If they are not a multipart body, or have unexpected parts.
        TooLarge
            If fields or headers of parts are too long.
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
        """Take note that the body has ended.

        Raises
        ------
        BadRequest
            If it ended too early, or held no content although it should.
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
    # Older clients send names beyond ASCII in this form only, though RFC 7578 forbids it.
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
"""Fields of forms that are text even where they look like a JSON literal."""

_MAX_FORM_FIELDS = 1000
_STEP = 10_000  # values that are looked at between two looks at the time
_BEYOND = 2**63  # the first integer that does not fit into 64 bits with a sign


def parse_json(raw: bytes, settings: ServerSettings, *, what: str = "the body") -> object:
    """Read a JSON document that a client sent.

    Parameters
    ----------
    raw : bytes
        The document, in UTF-8.
    settings : ServerSettings
        Where the limit on its depth comes from.
    what : str
        What the document is, for the message of an error.

    Returns
    -------
    object
        Its value. Every number is finite, every integer fits into 64 bits with a sign, every text can be
        written as UTF-8.

    Raises
    ------
    BadRequest
        If it is not such a document.
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
    """Read a JSON document that has to be an object; an empty one stands for an empty object.

    Raises
    ------
    BadRequest
        If it is not valid, or something else than an object.
    """
    value = parse_json(raw, settings, what=what) if raw.strip() else {}
    if not isinstance(value, dict):
        raise BadRequest(f"{what} has to be a JSON object")
    return value


def parse_form(raw: bytes, settings: ServerSettings, text_fields: Collection[str]) -> dict[str, object]:
    """Read a form (application/x-www-form-urlencoded).

    Parameters
    ----------
    raw : bytes
        The form.
    settings : ServerSettings
        Where the limits on JSON literals come from.
    text_fields : collection of str
        Fields whose values are text in any case.

    Raises
    ------
    BadRequest
        If it has too many fields, or is not UTF-8.
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
    """Make fields of a form's names and values.

    Parameters
    ----------
    pairs : iterable of (str, str)
        Names and values; the values of a repeated name make a list.
    settings : ServerSettings
        Where the limits on JSON literals come from.
    text_fields : collection of str
        Fields whose values are text in any case; every other value that is a JSON literal is read as one.
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
    """Check the depth and the integers of a value; tell whether a float may have been an integer."""
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
    # The fast parser turns integers beyond 64 bits into floats, which are not what was sent.
    def refuse(digits: str) -> int:
        if len(digits) > 20 or not -_BEYOND <= int(digits) < _BEYOND:
            raise BadRequest(f"{what} has an integer beyond 64 bits")
        return int(digits)

    json.loads(raw, parse_int=refuse)
