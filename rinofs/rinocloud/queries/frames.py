"""Infos as a table: one row an object, one column a field of the metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from rinofs.fs.browse import Info

COLUMNS = ("path", "type", "size", "created", "modified", "tags", "id", "etag", "owner")
"""What every object has; a field of the metadata of such a name is called ``metadata.size``."""


def frame_of(infos: Iterable[Info]) -> pd.DataFrame:
    """Return a data frame of infos.

    Raises
    ------
    ImportError
        If pandas is missing.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("query_frame needs pandas: pip install pandas") from error
    rows = [_row(info) for info in infos]
    # By columns, which costs pandas a quarter of what rows do.
    names = dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))
    frame = pd.DataFrame({name: [row.get(name) for row in rows] for name in names})
    for name in ("created", "modified"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame.astype({"size": "Int64", "id": "int64"})


def _row(info: Info) -> dict[str, Any]:
    row = {"path": info["name"], **{name: info[name] for name in COLUMNS[1:]}}
    for name, value in _flat(info["metadata"], ""):
        row[f"metadata.{name}" if name in COLUMNS else name] = value
    return row


def _flat(values: Mapping[str, Any], above: str) -> Iterable[tuple[str, Any]]:
    """Yield values by dotted names; a key with a dot of its own comes later, and so counts."""
    nested = {key: value for key, value in values.items() if isinstance(value, dict) and value}
    for key, value in nested.items():
        yield from _flat(value, f"{above}{key}.")
    for key, value in values.items():
        if key not in nested:
            yield f"{above}{key}", value
