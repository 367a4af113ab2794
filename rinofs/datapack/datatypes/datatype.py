"""Parse datatypes, which describe the numbers in a data node's file.

A datatype is a *lattice* (sampled at a regular rate: dimensions x channels) or *sparse* (events with times
and properties). Documents in the field have flaws; they are parsed nevertheless, with a `DatatypeWarning` for
everything that was guessed or changed.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from rinofs.datapack.datatypes.layouts import Channel, Column, Datatype, Dimension, Lattice, Quantity, Sparse
from rinofs.datapack.document import jsontext
from rinofs.datapack.document.messages import shortened
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Channel",
    "Column",
    "Datatype",
    "DatatypeWarning",
    "Dimension",
    "Lattice",
    "Quantity",
    "Sparse",
    "parse_datatype",
]

QUANTITY_TYPES = ("boolean", "integer", "float")
"""Types of a quantity; the default is the last one."""


class DatatypeWarning(UserWarning):
    """A datatype's document has a flaw; the message says how it was interpreted."""


def parse_datatype(document: str | bytes | Mapping[str, Any], source: str = "") -> Datatype:
    """Parse the document of a datatype, with warnings about flaws.

    Parameters
    ----------
    document : str, bytes or mapping
        JSON text, or the object.
    source : str, optional
        Origin, for messages.

    Raises
    ------
    InvalidDatapackError
        If it does not describe a datatype.
    """
    value = jsontext.loads(document) if isinstance(document, (str, bytes)) else dict(document)
    where = f"datatype {source}" if source else "datatype"
    if not isinstance(value, dict) or not ({"datatype", "datatypeID"} & value.keys()):
        raise InvalidDatapackError(f"{where}: a datatype is a JSON object with 'datatype' and 'datatypeID'")
    if jsontext.nesting(value) > jsontext.MAX_NESTING:
        raise InvalidDatapackError(f"{where}: {jsontext.TOO_DEEP}")
    return _Reader(source or str(value.get("name") or value.get("datatypeID"))).datatype(value)


class _Reader:
    """Parses a document; values of a wrong type are treated as missing, with a warning."""

    def __init__(self, source: str) -> None:
        self._source = source

    def datatype(self, value: dict[str, Any]) -> Datatype:
        identifier = self._string(value, "datatypeID").lower() or None
        name = self._string(value, "name")
        if not name:
            name = identifier or "unnamed"
            self._warn(f"'name' is missing; using {name!r}")
        return Datatype(
            id=identifier,
            name=name,
            layout=self._layout(value.get("datatype")),
            owner=self._string(value, "owner"),
            description=self._string(value, "description"),
            tags=self._tags(value.get("tags")),
            parent=self._string(value, "parent").lower() or None,
            document=value,
        )

    def _layout(self, value: object) -> Lattice | Sparse | None:
        layouts = value if isinstance(value, dict) else {}
        if isinstance(layouts.get("lattice"), dict):
            return self._lattice(layouts["lattice"])
        if isinstance(layouts.get("sparse"), dict):
            return self._sparse(layouts["sparse"])
        self._warn("it is neither a lattice nor sparse: its files are only stored")
        return None

    def _lattice(self, value: dict[str, Any]) -> Lattice:
        axes = self._labelled(value, "primary_dimensions", "dimension")
        channels = self._labelled(value, "channels", "channel")
        return Lattice(
            tuple(Dimension(label, *self._axis(label, raw)) for label, raw in axes),
            tuple(
                self._quantity(*item) for item in self._labelled(value, "secondary_dimensions", "quantity")
            ),
            tuple(Channel(label, self._string(raw, "description")) for label, raw in channels),
        )

    def _axis(self, label: str, raw: dict[str, Any]) -> tuple[str, float | None, str]:
        resolution = _number(raw.get("resolution"))
        if resolution is None or resolution <= 0:
            self._warn(f"dimension {label!r} has no resolution; the sampling rate is unknown")
            resolution = None
        return self._string(raw, "units"), resolution, self._string(raw, "description")

    def _quantity(self, label: str, raw: dict[str, Any]) -> Quantity:
        kind = self._string(raw, "type")
        if kind not in QUANTITY_TYPES:
            problem = f"has the unknown type {kind!r}" if kind else "has no type"
            self._warn(f"quantity {label!r} {problem}; assuming {QUANTITY_TYPES[-1]}")
            kind = QUANTITY_TYPES[-1]
        limits = raw.get("range")
        limits = limits if isinstance(limits, dict) else {}
        units, description = self._string(raw, "units"), self._string(raw, "description")
        return Quantity(
            label, units, kind, description, _number(limits.get("min_val")), _number(limits.get("max_val"))
        )

    def _sparse(self, value: dict[str, Any]) -> Sparse:
        axes = self._labelled(value, "dimensions", "dimension")
        layout = value.get("format")
        layout = layout if isinstance(layout, dict) else {}
        taken: set[str] = set()
        coordinates = self._labelled(layout, "primary_dimensions", "coordinate", taken)
        properties = self._labelled(layout, "secondary_dimensions", "property", taken)
        return Sparse(
            tuple(self._coordinate(label, raw, axes) for label, raw in coordinates),
            tuple(self._property(label, raw) for label, raw in properties),
        )

    def _coordinate(self, label: str, raw: dict[str, Any], axes: list[tuple[str, dict[str, Any]]]) -> Column:
        number = raw.get("primaryDimension")
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= len(axes):
            self._warn(f"coordinate {label!r} names no dimension ({number!r}); assuming the first")
            number = 1
        axis, about = axes[number - 1] if axes else ("", {})
        return Column(label, "float", self._string(about, "units"), axis, self._string(raw, "description"))

    def _property(self, label: str, raw: dict[str, Any]) -> Column:
        kind = self._string(raw, "type")
        if not kind:
            self._warn(f"property {label!r} has no type; assuming text")
        return Column(label, kind or "text", description=self._string(raw, "description"))

    def _labelled(
        self, value: Mapping[str, Any], key: str, what: str, taken: set[str] | None = None
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the objects in a list, with unique labels."""
        items = value.get(key)
        if not isinstance(items, list):
            self._warn(f"'{key}' is missing")
            return []
        usable = [item for item in items if isinstance(item, dict)]
        if len(usable) < len(items):
            self._warn(
                f"'{key}' has {len(items) - len(usable)} items that are not JSON objects; they are ignored"
            )
        names = [self._string(item, "label") for item in usable]
        return list(
            zip(self._unique(names, what, taken if taken is not None else set()), usable, strict=True)
        )

    def _unique(self, labels: list[str], what: str, taken: set[str]) -> Iterable[str]:
        """Return the labels with numbers added to repeated and missing ones."""
        reserved = taken | set(labels)
        for position, label in enumerate(labels, 1):
            chosen, number = label or f"{what} {position}", 2
            if label in taken or not label:
                while chosen in reserved:
                    chosen, number = f"{label or what} {number}", number + 1
                problem = f"is there more than once: one is called {chosen!r}" if label else "is missing"
                self._warn(f"the label {label!r} of {what} {position} {problem}")
            taken.add(chosen)
            reserved.add(chosen)
            yield chosen

    def _tags(self, value: object) -> tuple[str, ...]:
        given = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        words = [word.strip() for text in given if isinstance(text, str) for word in text.split(",")]
        tags = tuple(dict.fromkeys(word for word in words if word))
        if isinstance(value, str) or (tags and len(words) > len(given)):
            self._warn(f"several tags are written as one string; they are read as {', '.join(tags)}")
        return tags

    def _string(self, value: Mapping[str, Any], key: str) -> str:
        found = value.get(key)
        if found is not None and not isinstance(found, str):
            self._warn(f"'{key}' is {shortened(repr(found))}, not a string; it is ignored")
        return found.strip() if isinstance(found, str) else ""

    def _warn(self, problem: str) -> None:
        warnings.warn(f"datatype {self._source}: {problem}", DatatypeWarning, stacklevel=4)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
