"""Paths of repovizz2: a datapack by name or id, then the parts of its tree.

A datapack's name shows as the names of nodes do (`rinofs.datapack.document.naming`). One whose name is empty
or looks like an id, or that has the name of an older one, shows as its id.
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
    """Where a path leads.

    Attributes
    ----------
    datapack : str
        The part that names the datapack; empty for the top level.
    inner : str
        The path in its tree; empty for the datapack itself.
    """

    datapack: str
    inner: str

    @property
    def is_document(self) -> bool:
        """Whether this is the structure document."""
        return self.inner == DOCUMENT_NAME

    @property
    def hash(self) -> str | None:
        """The hash, where the path may name a content of the datapack by it."""
        match = _HASH.fullmatch(self.inner)
        return match[1] if match else None


def parse(path: str) -> DatapackPath:
    """Take a path without protocol apart."""
    datapack, _, inner = path.partition("/")
    return DatapackPath(datapack, inner)


def is_id(part: str) -> bool:
    """Tell whether a part names a datapack by its id."""
    return _ID.fullmatch(part) is not None


def part_of(datapack: Datapack) -> str:
    """Return what stands for a datapack at the top level."""
    part = part_of_name(datapack.name)
    return datapack.id if not part or is_id(part) else part


def parts_of(datapacks: Iterable[Datapack]) -> dict[str, Datapack]:
    """Return datapacks by what stands for them at the top level, the older ones first."""
    shown: dict[str, Datapack] = {}
    for datapack in datapacks:
        part = part_of(datapack)
        shown[part if part not in shown else datapack.id] = datapack
    return shown
