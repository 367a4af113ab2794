"""xarray: Zarr stores and NetCDF files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import xarray as xr

from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

# Of zarr, about what its third format does not say yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part"),
    pytest.mark.filterwarnings("ignore:The data type"),
]


@pytest.fixture
def signals() -> xr.Dataset:
    rng = np.random.default_rng(11)
    return xr.Dataset(
        {
            "emg": (("time", "channel"), rng.normal(size=(4_000, 8)), {"units": "mV"}),
            "gesture": ("time", rng.integers(0, 5, 4_000)),
        },
        coords={"time": np.arange(4_000) / 200.0, "channel": [f"electrode {n}" for n in range(8)]},
        attrs={"subject": "S01 left"},
    )


@pytest.fixture
def netcdf(signals: xr.Dataset) -> bytes:
    buffer = io.BytesIO()
    signals.to_netcdf(buffer, engine="h5netcdf", encoding={"emg": {"chunksizes": (1_000, 8)}})
    return buffer.getvalue()


@both_modes
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_comes_back(zarr_format: int, signals: xr.Dataset, options: Any) -> None:
    url = "rino://exp #1/emg 50%.zarr"
    signals.chunk(time=1_000).to_zarr(url, storage_options=options, zarr_format=zarr_format)
    again = xr.open_zarr(url, storage_options=options)
    xr.testing.assert_identical(again.load(), signals)


@both_modes
def test_zarr_grows_and_is_changed_in_part(signals: xr.Dataset, options: Any) -> None:
    url = "rino://emg.zarr"
    first, second = signals.isel(time=slice(2_000)), signals.isel(time=slice(2_000, None))
    first.chunk(time=500).to_zarr(url, storage_options=options)
    second.chunk(time=500).to_zarr(url, append_dim="time", storage_options=options)
    xr.testing.assert_equal(xr.open_zarr(url, storage_options=options).load(), signals)
    changed = signals.isel(time=slice(1_000, 1_500)) * 0
    changed.drop_vars(["time", "channel"]).to_zarr(
        url, region={"time": slice(1_000, 1_500), "channel": slice(0, 8)}, storage_options=options
    )
    again = xr.open_zarr(url, storage_options=options).load()
    assert not again.emg.values[1_000:1_500].any()
    np.testing.assert_array_equal(again.emg.values[1_500:], signals.emg.values[1_500:])


def test_zarr_without_consolidated_metadata_is_found_by_listing(signals: xr.Dataset, options: Any) -> None:
    signals.to_zarr("rino://emg.zarr", storage_options=options, consolidated=False)
    again = xr.open_zarr("rino://emg.zarr", storage_options=options, consolidated=False)
    xr.testing.assert_identical(again.load(), signals)


def test_zarr_written_over_holds_nothing_of_before(signals: xr.Dataset, options: Any) -> None:
    signals.to_zarr("rino://emg.zarr", storage_options=options)
    only = signals[["gesture"]]
    only.to_zarr("rino://emg.zarr", mode="w", storage_options=options)
    xr.testing.assert_identical(xr.open_zarr("rino://emg.zarr", storage_options=options).load(), only)


def test_groups_of_a_datatree_come_back(signals: xr.Dataset, options: Any) -> None:
    tree = xr.DataTree.from_dict({"/": signals[["gesture"]], "/raw/left": signals[["emg"]]})
    tree.to_zarr("rino://tree.zarr", storage_options=options)
    again = xr.open_datatree("rino://tree.zarr", engine="zarr", storage_options=options)
    xr.testing.assert_identical(again["raw/left"].to_dataset().load()[["emg"]], signals[["emg"]])


def test_a_failing_to_zarr_leaves_no_partial_object(
    signals: xr.Dataset, options: Any, fs: RinoFileSystem
) -> None:
    def explode(block: xr.Dataset) -> xr.Dataset:
        if float(block.time[0]) >= 10:
            raise RuntimeError("no such electrode")
        return block

    broken = signals.chunk(time=500).map_blocks(explode, template=signals.chunk(time=500))
    with pytest.raises(RuntimeError, match="no such electrode"):
        broken.to_zarr("rino://emg.zarr", storage_options=options, zarr_format=2)
    for path, info in fs.find("emg.zarr", detail=True).items():
        content = fs.cat_file(path)  # checked against its digest
        assert len(content) == info["size"] > 0
    stored = xr.open_zarr("rino://emg.zarr", storage_options=options, consolidated=False)
    assert stored.sizes == signals.sizes


@both_modes
def test_netcdf_is_read_from_a_file_object(
    signals: xr.Dataset, netcdf: bytes, fs: RinoFileSystem, server: LiveServer
) -> None:
    fs.pipe_file("exp1/emg [raw].nc", netcdf)
    server.reset()
    with fs.open("exp1/emg [raw].nc") as file, xr.open_dataset(file, engine="h5netcdf") as again:
        part = again.emg.isel(time=slice(3_100, 3_200)).load()
        np.testing.assert_array_equal(part.values, signals.emg.values[3_100:3_200])
        assert sum(request.bytes_out for request in server.requests) < len(netcdf) // 2
        xr.testing.assert_identical(again.load(), signals)


def test_netcdf_opened_again_costs_no_download(
    signals: xr.Dataset, netcdf: bytes, fs: RinoFileSystem, server: LiveServer
) -> None:
    fs.pipe_file("emg.nc", netcdf)
    for _ in range(2):
        server.reset()
        with fs.open("emg.nc") as file, xr.open_dataset(file, engine="h5netcdf") as again:
            xr.testing.assert_identical(again.load(), signals)
    assert not [request for request in server.requests if "download" in request.path]


@both_modes
def test_many_netcdf_files_are_one_dataset(signals: xr.Dataset, options: Any, fs: RinoFileSystem) -> None:
    for number in range(4):
        part = io.BytesIO()
        signals.isel(time=slice(number * 1_000, (number + 1) * 1_000)).to_netcdf(part, engine="h5netcdf")
        fs.pipe_file(f"exp #1/part {number}.nc", part.getvalue())
    files = [file.open() for file in fsspec.open_files("rino://exp #1/part *.nc", **options)]
    with xr.open_mfdataset(files, engine="h5netcdf", combine="by_coords") as together:
        xr.testing.assert_equal(together.load(), signals)


def test_netcdf_is_written_through_a_file_object(signals: xr.Dataset, fs: RinoFileSystem) -> None:
    with fs.open("exp1/emg.nc", "wb") as file:
        signals.to_netcdf(file, engine="h5netcdf")
    with fs.open("exp1/emg.nc") as file, xr.open_dataset(file, engine="h5netcdf") as again:
        xr.testing.assert_identical(again.load(), signals)


@pytest.mark.usefixtures("configured")
def test_a_url_is_enough_where_the_rest_is_configured(
    signals: xr.Dataset, netcdf: bytes, fs: RinoFileSystem
) -> None:
    signals.to_zarr("rino://emg.zarr")
    xr.testing.assert_identical(xr.open_dataset("rino://emg.zarr", engine="zarr").load(), signals)
    fs.pipe_file("emg.nc", netcdf)
    with xr.open_dataset("simplecache::rino://emg.nc", engine="h5netcdf") as again:
        xr.testing.assert_identical(again.load(), signals)
