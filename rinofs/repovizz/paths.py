"""Paths of repovizz2: a datapack by name or id, then the parts of its tree.

A datapack's name is encoded as names of nodes are (`rinofs.datapack.document.naming`). A datapack is shown by
its id if its name is empty, looks like an id, or belongs to an older datapack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.datapack.document.naming import DOCUMENT_NAME, part_of_name
from rinofs.datapack.links import REPOVIZZ

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rinofs.repovizz.records import Datapack

_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HASH = re.compile(re.escape(REPOVIZZ) + r"([0-9A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class DatapackPath:
    """A parsed path.

    Attributes
    ----------
    datapack : str
        The part for the datapack; empty for the top level.
    inner : str
        Path in the datapack's tree; empty for the datapack itself.
    """

    datapack: str
    inner: str

    @property
    def is_document(self) -> bool:
        """Whether this is the path of the document."""
        return self.inner == DOCUMENT_NAME

    @property
    def hash(self) -> str | None:
        """The hash, if the path may be that of a content by its hash."""
        match = _HASH.fullmatch(self.inner)
        return match[1] if match else None


def parse(path: str) -> DatapackPath:
    """Split a path without protocol."""
    datapack, _, inner = path.partition("/")
    return DatapackPath(datapack, inner)


def is_id(part: str) -> bool:
    """Return whether a part is the id of a datapack."""
    return _ID.fullmatch(part) is not None


def part_of(datapack: Datapack) -> str:
    """Return the part of a path for a datapack."""
    part = part_of_name(datapack.name)
    return datapack.id if not part or is_id(part) else part


def parts_of(datapacks: Iterable[Datapack]) -> dict[str, Datapack]:
    """Return the datapacks by part of a path, oldest first."""
    shown: dict[str, Datapack] = {}
    for datapack in datapacks:
        part = part_of(datapack)
        shown[part if part not in shown else datapack.id] = datapack
    return shown
