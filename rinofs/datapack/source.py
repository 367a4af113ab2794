"""The document of a `datapack://` filesystem, kept as fresh as its options ask for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rinofs.datapack.document import parse
from rinofs.datapack.tree import Tree
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from rinofs.datapack.links import Place


class DocumentSource:
    """The document, read again when it has changed.

    Parameters
    ----------
    place : Place
        Where it is.
    age : float
        Seconds for which it is not looked at again.
    """

    def __init__(self, place: Place, age: float) -> None:
        self.place = place
        self._age = age
        # One tuple, replaced whole: two threads may both look, but neither sees half of the other's.
        self._state: tuple[int, Tree, float] | None = None

    def tree(self) -> Tree:
        """Return the tree of the document as it was at most `age` seconds ago."""
        state, now = self._state, time.monotonic()
        if state is not None and now - state[2] < self._age:
            return state[1]
        fs, path = self.place
        version = fs.checksum(path)
        tree = state[1] if state is not None and state[0] == version else self._read(fs, path)
        self._state = version, tree, now
        return tree

    def tree_if_there(self) -> Tree | None:
        """Return the tree, None where there is no document."""
        try:
            return self.tree()
        except FileNotFoundError:
            return None

    def forget(self) -> None:
        """Read the document again at the next look."""
        self._state = None

    @staticmethod
    def _read(fs: AbstractFileSystem, path: str) -> Tree:
        try:
            return Tree(parse(fs.cat_file(path)))
        except InvalidDatapackError as error:
            raise InvalidDatapackError(f"{fs.unstrip_protocol(path)}: {error}") from error
