"""Reading JSON and form documents from clients, within bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import orjson

from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rinofs.server.settings import ServerSettings

__all__ = ["TEXT_FIELDS", "form_fields", "parse_form", "parse_json", "parse_object"]

TEXT_FIELDS = frozenset(
    {
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
        "sha256",
        "username",
    }
)
"""Fields of forms that are text even where they look like a JSON literal."""

_MAX_FORM_FIELDS = 1000
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
        containers = [item for item in level if isinstance(item, (dict, list))]
        for item in level:
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
