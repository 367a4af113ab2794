"""What a datatype says of its data, as frozen values."""

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
        What runs along it: ``time``.
    units : str
        Unit of its coordinates: ``seconds``.
    resolution : float or None
        Samples per unit: 200 along seconds is 200 Hz. None where the document does not say.
    description : str
        Free text.
    """

    label: str
    units: str
    resolution: float | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a lattice measures.

    Attributes
    ----------
    label, units, description : str
        ``acceleration``, ``g``, and free text.
    type : str
        ``boolean``, ``integer`` or ``float``.
    minimum, maximum : float or None
        Range of the values, in `units`.
    """

    label: str
    units: str
    type: str
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One of the rows of numbers that are sampled together; its label is unique in its datatype."""

    label: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Regularly sampled data: an array of the dimensions, and of the channels."""

    dimensions: tuple[Dimension, ...]
    quantities: tuple[Quantity, ...]
    channels: tuple[Channel, ...]

    @property
    def sampling_rate(self) -> float | None:
        """Samples per unit of the first dimension, in Hz for seconds; None where it is not known."""
        return self.dimensions[0].resolution if self.dimensions else None


@dataclass(frozen=True, slots=True)
class Column:
    """One property of the events of sparse data.

    Attributes
    ----------
    label : str
        What it is, unique in its datatype: ``onset time``.
    type : str
        ``float`` for a coordinate, else what the document says: ``text``.
    units : str
        Unit of a coordinate, from the dimension that it is measured along; else empty.
    dimension : str
        Label of that dimension, empty for what is no coordinate.
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
    """Events: coordinates first (onset time, offset time), then what is said of each."""

    coordinates: tuple[Column, ...]
    properties: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a file, in their order."""
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
        What the data are; None for a file that is only stored.
    tags : tuple of str
        Words to find it by.
    parent : str or None
        UUID of the datatype that it refines.
    document : mapping
        The JSON object that it was read from.
    """

    id: str | None
    name: str
    layout: Lattice | Sparse | None
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    parent: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
