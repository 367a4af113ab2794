"""An xarray index of sampled time: labels are computed from the rate; supports slices and nearest values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import xarray as xr

# Private import: the public module does not export these in the oldest supported release.
from xarray.core.coordinate_transform import CoordinateTransform
from xarray.core.indexes import CoordinateTransformIndex
from xarray.core.indexing import CoordinateTransformIndexingAdapter, IndexSelResult
from xarray.indexes import Index, PandasIndex

from rinofs.datapack.arrays.grid import Grid, fit_grid

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

_METHODS = {None, "nearest", "pad", "ffill", "backfill", "bfill"}


class TimeIndex(Index):
    """An index for a coordinate in seconds.

    The times of a `Grid` are not stored; slices of a grid are grids. Other times, as those after
    ``isel(time=[0, 1, 5])``, are stored in a pandas index, so that both kinds can be aligned with each other.

    Selection works as with xarray's default index: slices include both ends; other labels must be exact
    (except for rounding), or use `method` and `tolerance`.

    Parameters
    ----------
    times : Grid or PandasIndex
        Times in seconds.
    name : hashable, optional
        Name of the coordinate.
    dim : str, optional
        Dimension of the coordinate.

    See Also
    --------
    time_coordinates : Coordinates with such an index.
    """

    def __init__(self, times: Grid | PandasIndex, name: Hashable = "time", dim: str = "time") -> None:
        self.held = times
        self._name = name
        self._dim = dim

    @classmethod
    def from_variables(cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]) -> Self:
        """Create the index of a coordinate; evenly spaced times are not stored."""
        if options or len(variables) != 1:
            raise ValueError("TimeIndex takes one coordinate and no options")
        [(name, variable)] = variables.items()
        [dim] = variable.dims
        return cls._of_values(np.asarray(variable.values), name, str(dim))

    @classmethod
    def _of_values(cls, values: np.ndarray[Any, Any], name: Hashable, dim: str) -> Self:
        numeric = values.dtype.kind in "iuf"
        grid = fit_grid(values) if numeric else None
        return cls(grid or PandasIndex(pd.Index(values, name=name), dim), name, dim)

    @property
    def grid(self) -> Grid | None:
        """The times as a grid, None if they are not evenly spaced."""
        return self.held if isinstance(self.held, Grid) else None

    def create_variables(self, variables: Mapping[Any, xr.Variable] | None = None) -> dict[Any, xr.Variable]:
        """Return the coordinate; labels of a grid are computed on demand."""
        if isinstance(self.held, Grid):
            return _computed_variables(self.held, self._name, self._dim, variables)
        return dict(self.held.create_variables(variables))

    def to_pandas_index(self) -> pd.Index:
        """Return all times as a pandas index, in memory."""
        return self.in_memory().index

    def in_memory(self) -> PandasIndex:
        """Return the times as an in-memory index of xarray."""
        if not isinstance(self.held, Grid):
            return self.held
        values = self.held.times(np.arange(self.held.size))
        return PandasIndex(pd.Index(values, name=self._name), self._dim)

    def with_times(self, times: Grid | PandasIndex, dim: str | None = None) -> Self:
        """Return the index with other times."""
        return type(self)(times, self._name, dim or self._dim)

    # Selection

    def isel(self, indexers: Mapping[Any, Any]) -> Self | None:
        """Return the index for some positions, None for a single one."""
        indexer = indexers[self._dim]
        if not isinstance(self.held, Grid):
            found = self.held.isel(indexers)
            return None if found is None else self.with_times(found, str(found.dim))
        if isinstance(indexer, slice):
            return self.with_times(self.held[indexer])
        dim = self._dim
        if isinstance(indexer, xr.Variable):
            dim = str(indexer.dims[0]) if indexer.ndim == 1 else dim
            indexer = indexer.values
        positions = np.asarray(indexer)
        if positions.ndim != 1:
            return None
        if positions.dtype == bool:
            positions = np.flatnonzero(positions)
        positions = np.where(positions < 0, positions + self.held.size, positions).astype(np.int64)
        grid = self.held.at(positions)
        if grid is not None:
            return self.with_times(grid, dim)
        return self.with_times(PandasIndex(pd.Index(self.held.times(positions), name=self._name), dim), dim)

    def sel(
        self,
        labels: dict[Any, Any],
        method: str | None = None,
        tolerance: float | None = None,
    ) -> IndexSelResult:
        """Return the positions of labels.

        Raises
        ------
        KeyError
            If there is no sample at a time, or none within `tolerance` (in seconds).
        """
        if not isinstance(self.held, Grid):
            return self.held.sel(labels, method, tolerance)
        [label] = labels.values()
        if method not in _METHODS:
            raise ValueError(f"method={method!r}: use 'nearest', 'pad' or 'backfill'")
        if isinstance(label, slice):
            return IndexSelResult({self._dim: self._slice(self.held, label, method)})
        values = label.values if isinstance(label, (xr.Variable, xr.DataArray)) else np.asarray(label)
        mask = values.dtype == bool
        found = values if mask else self._find(self.held, values, method, tolerance)
        indexer: Any = found if found.ndim else int(found)
        if isinstance(label, xr.Variable):
            indexer = xr.Variable(label.dims, found)
        elif isinstance(label, xr.DataArray):
            indexer = xr.DataArray(found, dims=label.dims, coords=label._coords)  # noqa: SLF001 - as xarray's own
        elif found.ndim > 1:
            raise ValueError(f"times to select are {found.ndim}-dimensional: pass them as a DataArray")
        return IndexSelResult({self._dim: indexer})

    def _slice(self, grid: Grid, label: slice, method: str | None) -> slice:
        if method is not None:
            raise NotImplementedError("method= cannot be used with a slice of times")
        ends = [None if end is None else float(_numbers(end)) for end in (label.start, label.stop)]
        chosen = grid.between(*ends)
        return slice(chosen.start, chosen.stop, label.step)

    def _find(
        self, grid: Grid, values: np.ndarray[Any, Any], method: str | None, tolerance: float | None
    ) -> np.ndarray[Any, Any]:
        values = _numbers(values)
        exact = grid.positions(values)
        if method in {None, "nearest"}:
            found = np.round(exact) if method is None else np.clip(np.round(exact), 0, grid.size - 1)
        elif (method in {"pad", "ffill"}) == (grid.stride > 0):
            found = np.minimum(np.floor(exact + grid.tolerance), grid.size - 1)
        else:
            found = np.maximum(np.ceil(exact - grid.tolerance), 0)
        allowed = np.inf if method else grid.tolerance
        distance = np.abs(exact - found)
        if tolerance is not None and method:
            allowed = float(tolerance) * grid.rate / abs(grid.stride) + grid.tolerance
        missing = ~(distance <= allowed) | (found < 0) | (found >= grid.size)
        if bool(missing.any()):
            raise KeyError(self._why(grid, float(values[missing].flat[0]), method))
        return np.asarray(found.astype(np.int64))

    def _why(self, grid: Grid, label: float, method: str | None) -> str:
        if not grid.size:
            return f"{self._name}: no samples"
        ends = f"{grid.times(0):g} to {grid.times(grid.size - 1):g} s at {grid.rate / abs(grid.stride):g} Hz"
        hint = "" if method else "; method='nearest' takes the nearest"
        return f"{self._name}: no sample at {label!r}; the samples range from {ends}{hint}"

    # Combination with other indexes

    def equals(self, other: Index, *, exclude: frozenset[Hashable] | None = None) -> bool:  # noqa: ARG002 - there is one dimension only
        """Return whether another index has the same times, except for rounding."""
        if not isinstance(other, TimeIndex):
            return False
        if isinstance(self.held, Grid) and isinstance(other.held, Grid):
            return self.held.same_times(other.held)
        return bool(self.in_memory().equals(other.in_memory()))

    def join(self, other: Self, how: Any = "inner") -> Self:
        """Return the intersection or union of the times."""
        if isinstance(self.held, Grid) and isinstance(other.held, Grid):
            together = self.held.hull if how == "outer" else self.held.overlap
            grid = together(other.held)
            if grid is not None:
                return self.with_times(grid)
        return self.with_times(self.in_memory().join(other.in_memory(), how))

    def reindex_like(
        self, other: Self, method: str | None = None, tolerance: float | None = None
    ) -> dict[Hashable, Any]:
        """Return the positions of another index's times, -1 for missing ones."""
        if isinstance(self.held, Grid) and isinstance(other.held, Grid) and method is None:
            offset = self.held.offset_to(other.held)
            if offset is not None:
                positions = np.arange(offset, offset + other.held.size)
                inside = (positions >= 0) & (positions < self.held.size)
                return {self._dim: np.where(inside, positions, -1)}
        return dict(self.in_memory().reindex_like(other.in_memory(), method, tolerance))

    @classmethod
    def concat(
        cls,
        indexes: Sequence[Self],
        dim: Hashable,
        positions: Iterable[Iterable[int]] | None = None,
    ) -> Self:
        """Concatenate indexes; the result is a grid if each one continues the one before."""
        first = indexes[0]
        grid = first.grid if positions is None else None
        for index in indexes[1:]:
            following = index.grid
            if grid is None or following is None or grid.offset_to(following) != grid.size:
                break
            grid = grid.hull(following)
        else:
            if grid is not None:
                return first.with_times(grid)
        return first.with_times(PandasIndex.concat([index.in_memory() for index in indexes], dim, positions))

    def roll(self, shifts: Mapping[Any, int]) -> Self:
        """Return the index with its times rotated by a number of samples."""
        return self.with_times(self.in_memory().roll(shifts))

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> Self:
        """Return the index with the coordinate or dimension renamed."""
        name = name_dict.get(self._name, self._name)
        dim = str(dims_dict.get(self._dim, self._dim))
        times = self.held
        if not isinstance(times, Grid):
            times = times.rename(name_dict, dims_dict)  # type: ignore[no-untyped-call]
        return type(self)(times, name, dim)

    def _repr_inline_(self, max_width: int) -> str:
        if isinstance(self.held, Grid):
            grid = self.held
            return f"TimeIndex({grid.size} at {grid.rate / abs(grid.stride):g} Hz)"[:max_width]
        return f"TimeIndex({len(self.held.index)} times)"[:max_width]

    def __repr__(self) -> str:
        return f"TimeIndex({self.held!r})"


def time_coordinates(
    size: int, rate: float, start: float = 0.0, *, name: str = "time", units: str = "s"
) -> xr.Coordinates:
    """Return a time coordinate for regular sampling, which is computed and takes no memory.

    Parameters
    ----------
    size : int
        Number of samples.
    rate : float
        Samples per second.
    start : float, optional
        Time of the first sample in seconds.
    name : str, optional
        Name of the coordinate and of its dimension.
    units : str, optional
        Attribute ``units`` of the coordinate.
    """
    index = TimeIndex(Grid(float(start), float(rate), int(size)), name, name)
    variables = index.create_variables()
    variables[name].attrs["units"] = units
    return xr.Coordinates(variables, indexes={name: index})


def _computed_variables(
    grid: Grid, name: Hashable, dim: str, variables: Mapping[Any, xr.Variable] | None = None
) -> dict[Any, xr.Variable]:
    """Return the coordinate of a grid, with the attributes of the one that it replaces."""
    made = CoordinateTransformIndex(_Times(grid, name, dim)).create_variables(variables)
    # By way of private data, since the public attribute would compute all labels.
    return {key: _Computed(one.dims, one._data, one.attrs) for key, one in made.items()}  # noqa: SLF001


class _Times(CoordinateTransform):
    """Computes labels for xarray on demand."""

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
    """A coordinate that `Dataset.load` and `Dataset.chunk` do not change: computed on demand."""

    __slots__ = ()

    def load(self, **kwargs: Any) -> Self:
        return self if self._is_computed() else super().load(**kwargs)

    def chunk(self, *args: Any, **kwargs: Any) -> Self:
        return self.copy(deep=False) if self._is_computed() else super().chunk(*args, **kwargs)

    def _is_computed(self) -> bool:
        return isinstance(self._data, CoordinateTransformIndexingAdapter)


def shifted(dataset: xr.Dataset, seconds: float) -> xr.Dataset:
    """Return the dataset with an offset in seconds added to its times."""
    if not seconds:
        return dataset
    index = dataset.xindexes.get("time")
    if not isinstance(index, TimeIndex):
        return _shifted_variables(dataset, seconds)
    grid = index.grid
    if grid is not None:
        moved = index.with_times(replace(grid, start=grid.start + seconds))
    else:
        later = xr.Variable(("time",), dataset.time.values + seconds)
        moved = TimeIndex.from_variables({"time": later}, options={})
    variables = moved.create_variables({"time": dataset.time.variable} if grid is not None else None)
    variables["time"].attrs.update(dataset.time.attrs)
    close = dataset._close  # noqa: SLF001 - xarray has no other way to pass it on
    found = dataset.drop_indexes("time").drop_vars("time")
    found = found.assign_coords(xr.Coordinates(variables, indexes={"time": moved}))
    found.set_close(close)
    return found


def _shifted_variables(dataset: xr.Dataset, seconds: float) -> xr.Dataset:
    """Return the dataset with an offset added to its in-memory times and to the times of events."""
    close = dataset._close  # noqa: SLF001 - as above
    for name, variable in dataset.variables.items():
        is_time = name == "time" or (variable.dims == ("event",) and str(name).endswith("_time"))
        if is_time and variable.attrs.get("units") == "s":
            dataset = dataset.assign({name: (variable.dims, variable.values + seconds, variable.attrs)})
    dataset.set_close(close)
    return dataset


def _numbers(values: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"times are numbers of seconds, not {array.dtype}")
    return array.astype(np.float64)
