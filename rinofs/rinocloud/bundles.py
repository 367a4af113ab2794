"""The contents of many small files from one answer."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import TYPE_CHECKING
from urllib.parse import quote

from rinofs.errors import ProtocolError
from rinofs.http.parts import Parts, boundary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.http.answers import Answer

__all__ = ["read_bundle"]


def read_bundle(answer: Answer, paths: Sequence[Sequence[str]], *, verify: bool) -> list[bytes | None]:
    """Read the contents from the answer to a request for many.

    Parameters
    ----------
    answer : Answer
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


def _content(parts: Parts, path: Sequence[str], *, verify: bool) -> bytes | None:
    headers = parts.begin()
    if headers.get("content-location") != "/".join(quote(name, safe="") for name in path):
        raise ValueError("the answer has other files than those that were asked for")
    data = parts.read(int(headers.get("content-length", "")))
    if "rinocloud-api-alone" in headers:
        return None
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii") if verify else ""
    return data if not verify or headers.get("repr-digest") == f"sha-256=:{digest}:" else None
