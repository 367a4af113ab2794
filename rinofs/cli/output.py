"""Write results: text for people, or one JSON document for programs."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from rinofs.errors import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rinofs.cli.locations import Info

__all__ = ["as_json", "counted", "human", "modified", "show_json", "size_text", "write_lines"]


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output, without terminal control characters; tabs are kept."""
    for line in lines:
        sys.stdout.write("\t".join(map(visible, line.split("\t"))) + "\n")


def show_json(document: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(as_json(document), indent=2, allow_nan=False))
    sys.stdout.write("\n")


def as_json(value: Any) -> Any:
    """Convert `value` to JSON: times as ISO 8601, bytes as hex, and other types as strings."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(item) for item in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def counted(count: int, what: str) -> str:
    """Return a count with its noun: ``1 file``, ``2 files``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def human(size: float) -> str:
    """Return a human-readable size: ``831``, ``1.2K``, ``34M``."""
    for unit in ("", "K", "M", "G", "T", "P"):
        if size < 1024 or unit == "P":
            return f"{size:.1f}{unit}" if unit and size < 10 else f"{size:.0f}{unit}"
        size /= 1024
    raise AssertionError("unreachable")


def size_text(size: int | None, *, for_people: bool) -> str:
    """Return a size in bytes for a listing; ``-`` if not known."""
    if size is None:
        return "-"
    return human(size) if for_people else str(size)


def modified(info: Info) -> datetime | None:
    """Return the modification time in an info, from any filesystem."""
    for key in ("modified", "mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            try:
                parsed = datetime.fromisoformat(value)
            except ValueError:
                continue
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return None
