"""HTML tables for notebooks, without scripts."""

from __future__ import annotations

import json
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from rinofs.errors import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["cell", "facts", "table"]

LONGEST = 80
"""Maximum number of characters of a value."""

_LEFT = 'style="text-align: left"'


def facts(title: str, found: Mapping[str, object]) -> str:
    """Return a title and one line for each fact, as HTML."""
    rows = "".join(
        f"<tr><th {_LEFT}>{escape(name)}</th><td {_LEFT}>{cell(value)}</td></tr>"
        for name, value in found.items()
    )
    return f"<div><strong>{escape(title)}</strong><table><tbody>{rows}</tbody></table></div>"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Return an HTML table with a title above and a note below."""
    head = "".join(f"<th {_LEFT}>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td {_LEFT}>{cell(value)}</td>" for value in row) + "</tr>" for row in rows
    )
    below = f"<p>{escape(note)}</p>" if note else ""
    return (
        f"<div><strong>{escape(title)}</strong>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"
    )


def cell(value: Any) -> str:
    """Return a value as escaped HTML text, shortened if it is long."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        text = value.strftime("%Y-%m-%d %H:%M:%S")
    elif isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value)
    text = visible(text)
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
