"""The index of sampled time against xarray's own index of the same times."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs.datapack.arrays.grid import Grid, fit_grid
from rinofs.datapack.arrays.times import TimeIndex, time_coordinates
from tests.forkserver import in_own_process

if TYPE_CHECKING:
    from collections.abc import Callable


def stream(size: int = 1000, rate: float = 200.0, start: float = 0.0) -> xr.Dataset:
    values = np.arange(2.0 * size).reshape(size, 2)
    coords = time_coordinates(size, rate, start).assign(channel=["a", "b"])
    return xr.Dataset({"v": (("time", "channel"), values)}, coords=coords)


def usual(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with xarray's own index, in memory."""
    return dataset.drop_vars("time").assign_coords(time=dataset.time.values)


def grid_of(dataset: xr.Dataset | xr.DataArray) -> Grid | None:
    index = dataset.xindexes["time"]
    assert isinstance(index, TimeIndex)
    return index.grid


def assert_same(ours: Any, theirs: Any) -> None:
    xr.testing.assert_equal(ours.drop_indexes("time"), theirs.drop_indexes("time"))


bounds = st.one_of(
    st.none(), st.integers(-50, 250).map(lambda n: n / 100), st.sampled_from([np.inf, -np.inf])
)
grids = st.builds(
    Grid,
    start=st.sampled_from([0.0, 0.5, -1.0, 1e6, 1.7e9]),
    rate=st.sampled_from([1.0, 3.0, 10.0, 44100.0, 51.2]),
    size=st.integers(0, 40),
    first=st.integers(0, 5),
    stride=st.sampled_from([1, 2, 7, -1, -3]),
)


@settings(deadline=None)
@given(bounds, bounds, st.sampled_from([None, 1, 3]))
def test_slices_select_what_xarray_selects(low: float | None, high: float | None, step: int | None) -> None:
    ours = stream(20, 10.0)
    assert_same(ours.sel(time=slice(low, high, step)), usual(ours).sel(time=slice(low, high, step)))


@settings(deadline=None)
@given(
    st.lists(st.integers(-100, 300).map(lambda n: n / 100), max_size=5),
    st.sampled_from(["nearest", "pad", "backfill"]),
)
def test_methods_select_what_xarray_selects(times: list[float], method: Any) -> None:
    # Ties go to the even sample here, and to the later one there.
    times = [time for time in times if abs(time * 10 % 1 - 0.5) > 1e-6]
    ours = stream(20, 10.0)
    try:
        expected = usual(ours).sel(time=times, method=method)
    except KeyError:
        with pytest.raises(KeyError, match="no sample at"):
            ours.sel(time=times, method=method)
    else:
        assert_same(ours.sel(time=times, method=method), expected)


@settings(deadline=None)
@given(grids, st.data())
def test_every_sample_is_found_by_its_time(grid: Grid, data: st.DataObject) -> None:
    coords = xr.Dataset(coords=xr.Coordinates(TimeIndex(grid).create_variables(), {"time": TimeIndex(grid)}))
    if not grid.size:
        assert coords.sel(time=slice(0, 1)).sizes["time"] == 0
        return
    position = data.draw(st.integers(0, grid.size - 1))
    time = float(coords.time[position])
    assert float(coords.sel(time=time).time) == time
    part = coords.sel(time=slice(time, None))
    assert part.sizes["time"] == grid.size - position
    assert float(part.time[0]) == time


@settings(deadline=None)
@given(grids, st.slices(40))
def test_a_part_has_the_times_of_the_whole(grid: Grid, part: slice) -> None:
    positions = np.arange(grid.size)
    assert grid[part].times(np.arange(grid[part].size)).tolist() == grid.times(positions[part]).tolist()


@settings(deadline=None)
@given(grids, grids, st.sampled_from(["inner", "outer", "left", "right"]))
def test_alignment_is_that_of_xarray(one: Grid, other: Grid, join: Any) -> None:
    pair = []
    for grid in (one, other):
        index = TimeIndex(grid)
        coords = xr.Coordinates(index.create_variables(), {"time": index})
        pair.append(xr.Dataset({"v": ("time", np.arange(grid.size))}, coords=coords))
    ours = xr.align(*pair, join=join)
    if any(grid.stride < 0 for grid in (one, other)):
        assert ours[0].sizes == ours[1].sizes
        return
    theirs = xr.align(*map(usual, pair), join=join)
    if one.start == other.start:  # else rounding makes times differ that are the same here
        for mine, yours in zip(ours, theirs, strict=True):
            assert_same(mine, yours)


OPERATIONS: dict[str, Callable[[xr.Dataset], Any]] = {
    "arithmetic": lambda a: a + 2 * a,
    "with a part": lambda a: a - a.isel(time=slice(100, 200)),
    "with single samples": lambda a: a + a.isel(time=[1, 5, 6]),
    "concat": lambda a: xr.concat([a.isel(time=slice(0, 300)), a.isel(time=slice(300, None))], "time"),
    "concat with a gap": lambda a: xr.concat([a.isel(time=slice(9)), a.isel(time=slice(99, 200))], "time"),
    "concat along another": lambda a: xr.concat([a, a.assign_coords(channel=["c", "d"])], "channel"),
    "concat along a new one": lambda a: xr.concat([a, a], "run"),
    "merge": lambda a: xr.merge([a, a.rename(v="w")]),
    "copy": lambda a: a.copy(deep=True),
    "deepcopy": copy.deepcopy,
    "pickle": lambda a: pickle.loads(pickle.dumps(a)),
    "interp": lambda a: a.interp(time=[0.0125, 1.3333]),
    "interp to samples": lambda a: a.interp(time=a.time[10:20] + 0.001),
    "rolling": lambda a: a.rolling(time=10).mean(),
    "coarsen": lambda a: a.coarsen(time=10).mean(),
    "groupby_bins": lambda a: a.groupby_bins("time", [0, 1, 2]).mean().drop_vars("time_bins"),
    "where": lambda a: a.where(a.time > 1, drop=True),
    "diff": lambda a: a.diff("time"),
    "differentiate": lambda a: a.differentiate("time"),
    "integrate": lambda a: a.integrate("time"),
    "roll": lambda a: a.roll(time=2, roll_coords=True),
    "stack": lambda a: a.stack(z=("time", "channel")).reset_index("z"),
    "sortby": lambda a: a.sortby("time", ascending=False).sel(time=slice(0.2, 0.1)),
    "reversed": lambda a: a.isel(time=slice(None, None, -1)).sel(time=[0.3, 0.1], method="nearest"),
    "chunks": lambda a: (a.chunk(time=100) + 1).compute(),
    "mask": lambda a: a.sel(time=a.time.values > 2),
    "pointwise": lambda a: a.sel(time=xr.DataArray([0.1, 0.2], dims="event")),
    "pointwise with coordinates": lambda a: a.sel(
        time=xr.DataArray([0.1, 0.2], dims="event", coords={"event": [7, 8]})
    ),
    "two dimensions": lambda a: a.sel(time=xr.DataArray([[0.1, 0.2]], dims=("event", "end"))),
    "one sample": lambda a: a.isel(time=5),
    "nothing": lambda a: a.isel(time=[]),
    "idxmax": lambda a: a.idxmax("time"),
    "pad": lambda a: a.pad(time=2),
    "isel of a selection": lambda a: a.isel(time=[1, 5, 6]).isel(time=slice(1, None)),
    "sel of a selection": lambda a: a.isel(time=[1, 5, 6]).sel(time=slice(0.01, None)),
    "rename": lambda a: a.rename(time="t").rename(t="time"),
    "combine_first": lambda a: a.combine_first(a.isel(time=slice(4, 90))),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_give_what_xarray_gives(name: str) -> None:
    ours, theirs = OPERATIONS[name](stream()), OPERATIONS[name](usual(stream()))
    xr.testing.assert_equal(
        ours.drop_indexes(list(ours.xindexes)), theirs.drop_indexes(list(theirs.xindexes))
    )


@pytest.mark.parametrize(
    "work",
    [
        lambda a: a.isel(time=slice(5, 900, 3)),
        lambda a: a.isel(time=[4, 6, 8]),
        lambda a: a.sel(time=slice(1, 2)),
        lambda a: a + a.isel(time=slice(100, 200)),
        lambda a: xr.concat([a.isel(time=slice(0, 300)), a.isel(time=slice(300, None))], "time"),
        lambda a: xr.align(a, stream(start=1.0), join="outer")[0],
        lambda a: a.interp(time=stream(300, 100.0).time),
        lambda a: a.chunk(time=100).map_blocks(lambda block: block * 2),
        lambda a: a.where(a.time > 1, drop=True),
    ],
)
def test_what_stays_a_grid(work: Callable[[xr.Dataset], xr.Dataset]) -> None:
    assert grid_of(work(stream())) is not None


@in_own_process
def test_a_billion_samples_need_no_memory() -> None:
    repr(xr.Dataset(coords=time_coordinates(10, 1.0)).chunk(time=5))  # what is imported on demand
    long = xr.Dataset(coords=time_coordinates(10**12, 44100.0))
    tracemalloc.start()
    second = long.sel(time=slice(3600, 3601))
    part = second.isel(time=slice(None, None, 7))
    first, last = float(part.time[0]), float(part.time[-1])
    text = repr(long)
    for same in (long.load(), long.copy(deep=True), long.chunk(time=10**6), pickle.loads(pickle.dumps(long))):
        assert float(same.time[-1]) == (10**12 - 1) / 44100
    both = long.xindexes["time"].join(second.xindexes["time"], "outer")
    assert both.equals(long.xindexes["time"])
    peak = tracemalloc.get_traced_memory()[1]
    assert (first, part.sizes["time"]) == (3600.0, 6301)
    assert last == 3601.0
    assert "2.268e-05" in text
    assert peak < 2**20


@pytest.mark.parametrize("label", [0.301, -1.0, 5.0, [0.1, 0.301], np.nan])
def test_a_time_without_sample_is_an_error(label: Any) -> None:
    with pytest.raises(KeyError):
        stream().sel(time=label)


def test_the_error_tells_what_there_is() -> None:
    with pytest.raises(KeyError, match=r"no sample at 0\.301; .* 0 to 4\.995 s at 200 Hz; method='nearest'"):
        stream().sel(time=0.301)
    with pytest.raises(KeyError, match="no samples"):
        stream(0).sel(time=0.3, method="nearest")


def test_tolerance() -> None:
    assert float(stream().sel(time=0.1011, method="nearest", tolerance=0.0012).time) == 0.1
    with pytest.raises(KeyError):
        stream().sel(time=0.1021, method="nearest", tolerance=0.002)


@pytest.mark.parametrize("label", ["0.1", slice("a", "b"), np.timedelta64(1, "s")])
def test_times_are_numbers(label: Any) -> None:
    with pytest.raises(TypeError, match="numbers of seconds"):
        stream().sel(time=label)


@pytest.mark.parametrize("rate", [200.0, 44100.0, 51.2, 1 / 3, 29.97])
def test_evenly_spaced_times_are_recognised(rate: float) -> None:
    times = 0.25 + np.arange(500) / rate
    found = fit_grid(times)
    assert found is not None
    np.testing.assert_allclose(found.times(np.arange(500)), times, rtol=0, atol=1e-9)
    assert found.rate == pytest.approx(rate, rel=1e-12)
    data = xr.Dataset(coords={"time": times}).drop_indexes("time").set_xindex("time", TimeIndex)
    assert grid_of(data) == found


@pytest.mark.parametrize("times", [[], [1.0], [0.0, 1.0, 2.1], [2.0, 1.0], [0.0, np.nan], [1.0, 1.0]])
def test_other_times_are_kept_as_they_are(times: list[float]) -> None:
    assert fit_grid(np.array(times)) is None
    data = xr.Dataset(coords={"time": np.array(times)}).drop_indexes("time").set_xindex("time", TimeIndex)
    assert grid_of(data) is None
    np.testing.assert_array_equal(data.time.values, times)
