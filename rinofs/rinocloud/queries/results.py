"""What a query found: infos, page by page, as they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rinofs.fs.display import table

if TYPE_CHECKING:
    from rinofs.fs.browse import Info

__all__ = ["Found"]

SHOWN = 10
"""Rows in a notebook."""


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
