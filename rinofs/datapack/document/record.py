"""JSON objects with names: the ground of every value in a datapack's document."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ELSEWHERE: tuple[()] = ()
"""Stands in ``fields`` for a value that has an attribute of its own; no JSON value is a tuple."""


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """A JSON object: typed views of the keys that are known, and every key as it came."""

    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    def _string(self, key: str) -> str:
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""

    def _optional(self, key: str) -> str | None:
        return self._string(key) or None


class Info(Record):
    """What a datapack says about itself."""

    @property
    def name(self) -> str:
        """Name of the datapack."""
        return self._string("name")

    @property
    def author(self) -> str:
        """Who made it."""
        return self._string("author")

    @property
    def description(self) -> str:
        """What it holds, in free text."""
        return self._string("description")

    @property
    def keywords(self) -> tuple[str, ...]:
        """Words to find it by."""
        words = self.fields.get("keywords")
        return tuple(word for word in words if isinstance(word, str)) if isinstance(words, list) else ()

    @property
    def id(self) -> str | None:
        """UUID of the datapack at the service, once it is there."""
        return self._optional("id")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Info) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Info({dict(self.fields)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Info, (dict(self.fields),)
