"""Coordinates whose labels are computed where they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xarray as xr

# From its core: in the oldest release that will do, the public module has no names for these.
from xarray.core.coordinate_transform import CoordinateTransform
from xarray.core.indexes import CoordinateTransformIndex
from xarray.core.indexing import CoordinateTransformIndexingAdapter

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from rinofs.datapack.arrays.grid import Grid


def computed_variables(
    grid: Grid, name: Hashable, dim: str, variables: Mapping[Any, xr.Variable] | None = None
) -> dict[Any, xr.Variable]:
    """Return the coordinate of a grid, with the attributes of the one that it replaces."""
    made = CoordinateTransformIndex(_Times(grid, name, dim)).create_variables(variables)
    # By their private data, since the public one would compute all labels.
    return {key: _Computed(one.dims, one._data, one.attrs) for key, one in made.items()}  # noqa: SLF001


class _Times(CoordinateTransform):
    """What xarray computes the labels with, where it needs some."""

    def __init__(self, grid: Grid, name: Hashable, dim: str) -> None:
        super().__init__([name], {dim: grid.size}, np.dtype(np.float64))
        self.grid = grid

    def forward(self, dim_positions: dict[str, Any]) -> dict[Hashable, Any]:
        return {self.coord_names[0]: self.grid.times(dim_positions[self.dims[0]])}

    def reverse(self, coord_labels: dict[Hashable, Any]) -> dict[str, Any]:
        return {self.dims[0]: self.grid.positions(coord_labels[self.coord_names[0]])}

    def equals(self, other: CoordinateTransform, **kwargs: Any) -> bool:  # noqa: ARG002 - as xarray calls it
        return isinstance(other, _Times) and self.grid.same_times(other.grid)


class _Computed(xr.Variable):
    """A coordinate that `load` and `chunk` of a dataset leave as it is: computed where it is used."""

    __slots__ = ()

    def load(self, **kwargs: Any) -> Self:
        return self if self._is_computed() else super().load(**kwargs)

    def chunk(self, *args: Any, **kwargs: Any) -> Self:
        return self.copy(deep=False) if self._is_computed() else super().chunk(*args, **kwargs)

    def _is_computed(self) -> bool:
        return isinstance(self._data, CoordinateTransformIndexingAdapter)
