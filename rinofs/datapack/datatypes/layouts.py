"""The layout of data that a datatype describes, as immutable values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Dimension:
    """An axis of a lattice.

    Attributes
    ----------
    label : str
        Name of the coordinate, such as ``time``.
    units : str
        Unit of the coordinate, such as ``seconds``.
    resolution : float or None
        Samples per unit: 200 for seconds is 200 Hz. None if the document does not contain it.
    description : str
        Free text.
    """

    label: str
    units: str
    resolution: float | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """The measured quantity of a lattice.

    Attributes
    ----------
    label, units, description : str
        Such as ``acceleration``, ``g``, and free text.
    type : str
        ``boolean``, ``integer`` or ``float``.
    minimum, maximum : float or None
        Range of values, in `units`.
    """

    label: str
    units: str
    type: str
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One of the values of a sample; its label is unique in the datatype."""

    label: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Regularly sampled data: an array of dimensions and channels."""

    dimensions: tuple[Dimension, ...]
    quantities: tuple[Quantity, ...]
    channels: tuple[Channel, ...]

    @property
    def sampling_rate(self) -> float | None:
        """Samples per unit of the first dimension, Hz for seconds; None if not known."""
        return self.dimensions[0].resolution if self.dimensions else None


@dataclass(frozen=True, slots=True)
class Column:
    """A property of events.

    Attributes
    ----------
    label : str
        Name, unique in the datatype, such as ``onset time``.
    type : str
        ``float`` for a coordinate, else the type in the document, such as ``text``.
    units : str
        Unit of a coordinate, from its dimension; else empty.
    dimension : str
        Label of the dimension of a coordinate; else empty.
    description : str
        Free text.
    """

    label: str
    type: str
    units: str = ""
    dimension: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Sparse:
    """Events: coordinates (onset time, offset time) and other properties."""

    coordinates: tuple[Column, ...]
    properties: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a file, in order."""
        return self.coordinates + self.properties


@dataclass(frozen=True, slots=True)
class Datatype:
    """A datatype's document.

    Attributes
    ----------
    id : str or None
        UUID, lower case.
    name, owner, description : str
        Free text.
    layout : Lattice, Sparse or None
        Layout of the data; None for a file that is stored without being interpreted.
    tags : tuple of str
        Keywords for searches.
    parent : str or None
        UUID of the datatype that it refines.
    document : mapping
        JSON object that it was parsed from.
    """

    id: str | None
    name: str
    layout: Lattice | Sparse | None
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    parent: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
