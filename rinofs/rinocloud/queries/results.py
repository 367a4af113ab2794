"""What a query found: infos, page by page as they are asked for, or as a table."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from rinofs.fs.display import table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from rinofs.fs.backend import Info

__all__ = ["Found", "frame_of"]

SHOWN = 10
"""Rows in a notebook."""


COLUMNS = ("path", "url", "type", "size", "created", "modified", "tags", "id", "etag", "owner")
"""What every object has; a field of the metadata of such a name is called ``metadata.size``."""


class Found(Iterator["Info"]):
    """An iterator over infos, which are asked for as it goes on.

    Parameters
    ----------
    infos : iterator of dict
        What was found.
    title : str
        What was asked for.
    """

    def __init__(self, infos: Iterator[Info], title: str) -> None:
        self._infos = infos
        self._title = title
        self._looked_at: deque[Info] = deque()

    def __next__(self) -> Info:
        return self._looked_at.popleft() if self._looked_at else next(self._infos)

    def __repr__(self) -> str:
        return f"<{self._title}>"

    def _repr_html_(self) -> str:
        """Return a table of the next few, which stay to be gone through."""
        while len(self._looked_at) <= SHOWN and (more := list(islice(self._infos, 1))):
            self._looked_at.extend(more)
        columns = ("name", "type", "size", "modified", "metadata", "tags")
        rows = [[info[column] for column in columns] for info in islice(self._looked_at, SHOWN)]
        note = "… and more" if len(self._looked_at) > SHOWN else f"{len(rows)} found"
        return table(self._title, ("path", *columns[1:]), rows, note)


def frame_of(infos: Iterable[Info], url: Callable[[str], str]) -> pd.DataFrame:
    """Return a data frame of infos; `url` turns a path into a URL.

    Raises
    ------
    ImportError
        If pandas is missing.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("query_frame needs pandas: pip install pandas") from error
    rows = [_row(info, url) for info in infos]
    # By columns, which costs pandas a quarter of what rows do.
    names = dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))
    frame = pd.DataFrame({name: [row.get(name) for row in rows] for name in names})
    for name in ("created", "modified"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame.astype({"size": "Int64", "id": "int64"})


def _row(info: Info, url: Callable[[str], str]) -> dict[str, Any]:
    path = info["name"]
    row = {"path": path, "url": url(path), **{name: info[name] for name in COLUMNS[2:]}}
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
