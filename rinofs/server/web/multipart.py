"""Taking multipart/form-data bodies apart as they come in, without any I/O of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from rinofs.server.errors import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FILE_PART", "MultipartBody", "boundary_of"]

FILE_PART = "file"
"""The name of the part that holds the content."""

_MAX_PARTS = 1000
_FIELDS = frozenset({"json", "sha256"})
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
            If they are no multipart body, or have parts that are not expected.
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
