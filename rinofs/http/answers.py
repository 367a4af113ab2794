"""Answers read whole, and what JSON may be in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        The headers; names in any case.
    content : bytes
        The body.
    url : str
        The URL that answered.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str

    def json(self) -> Any:
        """Return the body as JSON.

        Raises
        ------
        ProtocolError
            If the body is a web page, not JSON, too deep, or holds NaN or Infinity.
        """
        raise NotImplementedError
