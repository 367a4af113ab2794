"""The contents of many small files from one answer, or in one request."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rinofs.errors import ProtocolError
from rinofs.http.content.byteranges import Parts, boundary_of
from rinofs.http.content.upload import UploadBody
from rinofs.protocol.extensions import REPR_DIGEST, RINOCLOUD_ALONE, repr_digest
from rinofs.protocol.limits import MAX_JSON_BODY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.http.connection.response import Response

__all__ = ["bundle_of", "read_bundle"]

LONGEST = MAX_JSON_BODY // 2
"""Characters of fields that go into one request; as bytes they may be more."""


def read_bundle(answer: Response, paths: Sequence[Sequence[str]], *, verify: bool) -> list[bytes | None]:
    """Read the contents from the answer to a request for many.

    Parameters
    ----------
    answer : Response
        The answer.
    paths : sequence of sequence of str
        What was asked for, as names.
    verify : bool
        Whether to take only what has the digest that goes with it.

    Returns
    -------
    list of bytes or None
        The content of each; None for what has to be asked for alone: the server did not send it along, or it
        did not arrive as it was sent.

    Raises
    ------
    ProtocolError
        If the answer is something else.
    """
    boundary = boundary_of(answer.headers.get("content-type", ""), "mixed")
    if boundary is None:
        raise ProtocolError("expected the contents of several files", answer.url)
    parts = Parts(io.BytesIO(answer.content), boundary)
    try:
        found = [_content(parts, path, verify=verify) for path in paths]
        parts.end()
    except ValueError as error:
        raise ProtocolError(str(error), answer.url) from error
    return found


def bundle_of(files: Sequence[tuple[dict[str, Any], bytes]], *, verify: bool) -> UploadBody | None:
    """Return the request that stores several files.

    Parameters
    ----------
    files : sequence of (dict, bytes)
        What is said of each, and its content.
    verify : bool
        Whether the server is to take only what has its digest.

    Returns
    -------
    UploadBody or None
        None if more is said of them than can be said in one request.
    """
    said = [
        {**fields, "size": len(data)} | ({"sha256": hashlib.sha256(data).hexdigest()} if verify else {})
        for fields, data in files
    ]
    if len(json.dumps(said)) > LONGEST:
        return None
    return UploadBody(b"".join(data for _, data in files), fields={"files": said}, filename="files")


def _content(parts: Parts, path: Sequence[str], *, verify: bool) -> bytes | None:
    headers = parts.begin()
    if headers.get("content-location") != "/".join(quote(name, safe="") for name in path):
        raise ValueError("the answer has other files than those that were asked for")
    data = parts.read(int(headers.get("content-length", "")))
    if RINOCLOUD_ALONE in headers:
        return None
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii") if verify else ""
    return data if not verify or headers.get(REPR_DIGEST) == repr_digest(digest) else None
