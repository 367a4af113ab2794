"""The command `demo`: everything at work, on a server that runs as long as the command."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rinofs.cli.errors import CommandError
from rinofs.cli.output import human

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec import AbstractFileSystem

    from rinofs.cli.experiment import Run
    from rinofs.testing import LiveServer

_TOP = "experiment"
_LIBRARIES = (
    "pandas",
    "pyarrow",
    "dask.dataframe",
    "xarray",
    "zarr",
    "h5netcdf",
    "h5py",
    "soundfile",
    "matplotlib",
    "rinofs.testing",
)
_PACK = "drummer"


@click.command(short_help="Show everything at work on a generated experiment.")
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep everything in this folder, for `rinofs serve --data`; by default it goes away.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("rinofs-demo.png"),
    show_default=True,
    help="Where to write the picture; an existing file is replaced.",
)
def demo(data_dir: Path | None, output: Path) -> None:
    """Upload a generated experiment to an embedded server, read it back, query it, and plot a part of it.

    The server runs inside this command, for this machine only. Each step shows the number of its requests.
    """
    _require_libraries()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rinofs-demo-")))
        from rinofs.testing import live_server

        server = stack.enter_context(live_server(data_dir=data_dir))
        steps = _Steps(server)
        click.echo(f"An embedded server answers at {server.endpoint_url} while this runs.\n")
        runs = steps.make_experiment(folder)
        steps.upload(folder, runs)
        steps.look_around(runs[0])
        steps.read_with_pandas(runs[0])
        steps.read_with_dask()
        steps.read_with_xarray()
        steps.work_with_a_datapack(folder)
        steps.find_by_metadata()
        steps.write_arrays()
        steps.draw(output)
    click.echo(_next_lines(data_dir))


def _require_libraries() -> None:
    import importlib

    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing = error.name or name
            if missing.startswith("rinofs"):
                raise
            raise CommandError(f"`rinofs demo` needs {missing}", hint="pip install 'rinofs[all]'") from error


class _Steps:
    """The steps of the demo: each does one thing with the server, and shows the result and its requests."""

    def __init__(self, server: LiveServer) -> None:
        import fsspec

        self._server = server
        self._options = {"endpoint_url": server.endpoint_url, "token": server.token}
        self._fs: AbstractFileSystem = fsspec.filesystem("rino", **self._options)

    def make_experiment(self, folder: Path) -> list[Run]:
        """Write the experiment to a local folder."""
        from rinofs.cli.experiment import make_experiment

        runs = make_experiment(folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        click.echo(
            f"Made an experiment: {len(runs)} runs as CSV, a Parquet table, a Zarr store and a NetCDF file "
            f"({len(files)} files, {human(size)}B).\n"
        )
        return runs

    def upload(self, folder: Path, runs: list[Run]) -> None:
        """Upload runs with their metadata and tags, and the other files without."""
        with self._step("fs.put_file(csv, path, metadata={...}, tags=[...])   for each run"):
            for run in runs:
                target = f"{_TOP}/{run.path}"
                self._fs.put_file(folder / run.path, target, metadata=run.metadata, tags=run.tags)
        with self._step(
            "fs.put(path, path, recursive=True)   for the table, the Zarr store and the NetCDF file"
        ):
            for name in ("runs.parquet", "field.zarr", "field.nc"):
                self._fs.put(str(folder / name), f"{_TOP}/{name}", recursive=True)

    def look_around(self, run: Run) -> None:
        """List folders, and show the details of a run."""
        with self._step(f'fs.find("{_TOP}")'):
            found = self._fs.find(_TOP, detail=True, refresh=True)
            size = sum(info["size"] for info in found.values())
            _show(f"{len(found)} files, {human(size)}B")
        with self._step(f'fs.info("{_TOP}/{run.path}")'):
            info = self._fs.info(f"{_TOP}/{run.path}", refresh=True)
            _show(f"id {info['id']}, {info['size']} bytes, tags {info['tags']}")
            _show(f"metadata {info['metadata']}")

    def read_with_pandas(self, run: Run) -> None:
        """Read one run and the table of all runs."""
        import pandas as pd

        with self._step(f'pd.read_csv("rino://{_TOP}/{run.path}")'):
            samples = pd.read_csv(f"rino://{_TOP}/{run.path}", storage_options=self._options)
            _show(f"{len(samples)} samples, heart rate up to {samples['heart_rate_bpm'].max():.0f} bpm")
        with self._step(f'pd.read_parquet("rino://{_TOP}/runs.parquet")'):
            table = pd.read_parquet(f"rino://{_TOP}/runs.parquet", storage_options=self._options)
            _show(
                f"{len(table)} runs of {table['subject'].nunique()} subjects on {table['day'].nunique()} days"
            )

    def read_with_dask(self) -> None:
        """Read all runs as one table."""
        import dask.dataframe as dd
        from dask.base import compute

        with self._step(f'dd.read_csv("rino://{_TOP}/runs/*/*.csv").mean()'):
            frame: Any = dd.read_csv(f"rino://{_TOP}/runs/*/*.csv", storage_options=self._options)
            rows, means = compute(frame.index.size, frame.mean(), scheduler="threads")  # type: ignore[no-untyped-call]
            _show(f"{rows:,} samples in {frame.npartitions} files")
            _show(f"mean heart rate {means['heart_rate_bpm']:.1f} bpm, mean force {means['force_n']:.1f} N")

    def read_with_xarray(self) -> None:
        """Read the same field from the Zarr store and from the NetCDF file."""
        import xarray as xr

        with self._step(f'xr.open_zarr("rino://{_TOP}/field.zarr")'):
            store = xr.open_zarr(
                f"rino://{_TOP}/field.zarr", storage_options=self._options, consolidated=False, chunks=None
            )
            _show(f"dimensions {dict(store.sizes)}, mean {float(store.temperature.mean()):.2f} degC")
        with (
            self._step(f'xr.open_dataset(fs.open("{_TOP}/field.nc"), engine="h5netcdf")'),
            self._fs.open(f"{_TOP}/field.nc") as file,
            xr.open_dataset(file, engine="h5netcdf") as dataset,
        ):
            _show(f"dimensions {dict(dataset.sizes)}, mean {float(dataset.temperature.mean()):.2f} degC")

    def work_with_a_datapack(self, folder: Path) -> None:
        """Push a datapack to repovizz2, and read its nodes from there and from the folder."""
        import fsspec
        import pandas as pd

        from rinofs.cli.experiment import make_datapack

        document = make_datapack(folder / "MYO")
        fs = fsspec.filesystem("repovizz", **self._options)
        with self._step('fs.push("MYO/datapack.json")   of fsspec.filesystem("repovizz")'):
            done = fs.push(str(document))
            _show(f"datapack {done.datapack}, {done.sent} files sent")
        with self._step('pd.read_json("repovizz://MYO/IMU/Accelerometer.json")'):
            url = "repovizz://MYO/IMU/Accelerometer.json"
            samples = pd.read_json(url, storage_options=self._options)
            _show(f"{len(samples)} samples of {samples.shape[1]} axes, {samples[2].mean():.2f} g downwards")
        with self._step('pd.read_csv("datapack://EMG.csv::file://MYO/datapack.json")'):
            activity = pd.read_csv(f"datapack://EMG.csv::{document.as_uri()}")
            _show(f"{len(activity)} samples of {activity.shape[1]} channels, from this machine")

    def find_by_metadata(self) -> None:
        """Find runs by their metadata."""
        with self._step(f'fs.query("{_TOP}", rest_bpm__gt=70, tags__in=["pilot"], sort="rest_bpm")'):
            found = self._fs.query(_TOP, rest_bpm__gt=70, tags__in=["pilot"], sort="rest_bpm")
            for info in found:
                about = info["metadata"]
                _show(f"{info['name']}: {about['subject']}, {about['rest_bpm']} bpm at rest")

    def write_arrays(self) -> None:
        """Create a datapack from labelled arrays, and open it."""
        import xarray as xr

        from rinofs.cli.experiment import make_take
        from rinofs.datapack import write

        with self._step(f'rinofs.datapack.write(tree, "repovizz://{_PACK}", ...)'):
            formats = {"": "csv", "sound": "wav", "arm/muscles": "npy"}
            url = write(
                make_take(), f"repovizz://{_PACK}", formats, storage_options=self._options, overwrite=True
            )
            _show(f"{url}: a stream of sound, two of an arm, and annotations")
        with (
            self._step(f'xr.open_datatree("repovizz://{_PACK}", engine="datapack")'),
            xr.open_datatree(url, engine="datapack", storage_options=self._options) as tree,
        ):
            arm, first = tree["arm/acceleration"].acceleration, tree["strokes"].isel(event=0)
            hit = arm.sel(time=slice(first["onset_time"], first["offset_time"]))
            _show(f"{arm.name}: {arm.sizes['time']} samples at {arm.sampling_rate:g} Hz")
            _show(f"the first stroke peaks at {float(hit.max()):.1f} {arm.units}")

    def draw(self, output: Path) -> None:
        """Draw that datapack."""
        from rinofs.plotting import plot, save

        with self._step(f"rinofs plot repovizz://{_PACK} -o {output}"):
            save(plot(f"repovizz://{_PACK}", storage_options=self._options), output)
            _show(f"drawn: {output.absolute()}")

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        click.echo(click.style(what, bold=True))
        self._server.reset()
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        requests = self._server.requests
        sent, received = (sum(getattr(r, side) for r in requests) for side in ("bytes_in", "bytes_out"))
        cost = f"{len(requests)} request{'' if len(requests) == 1 else 's'}"
        _show(f"{cost}, {human(sent)}B sent, {human(received)}B received, {seconds * 1000:.0f} ms\n")


def _show(line: str) -> None:
    click.echo(f"  {line}")


def _next_lines(data_dir: Path | None) -> str:
    kept = data_dir or Path("rinofs-demo")
    keep = "" if data_dir else f"  rinofs demo --data {kept}                 # this again, kept in a folder\n"
    return (
        "Try next:\n"
        f"{_activation()}"
        f"{keep}"
        f"  rinofs serve --data {kept} --token my-token   # serve it; in another terminal:\n"
        "  export FSSPEC_RINO_ENDPOINT_URL=http://127.0.0.1:8440 FSSPEC_RINO_TOKEN=my-token\n"
        "  export FSSPEC_REPOVIZZ_ENDPOINT_URL=http://127.0.0.1:8440 FSSPEC_REPOVIZZ_TOKEN=my-token\n"
        f"  rinofs tree rino://{_TOP}\n"
        f"  rinofs get -r rino://{_TOP}/runs runs\n"
        f"  rinofs query rino://{_TOP} subject=S01 'rest_bpm>60' --columns path,rest_bpm\n"
        "  rinofs datapack pull repovizz://MYO MYO\n"
        f"  rinofs plot repovizz://{_PACK} --start 2 --stop 4\n"
        f"  python -c \"import pandas as pd; print(pd.read_parquet('rino://{_TOP}/runs.parquet'))\""
    )


def _activation() -> str:
    """Return the command that activates the environment, if ``rinofs`` is not in PATH."""
    script = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("rinofs") or not script.exists():
        return ""
    here = Path.cwd()
    shown = script.relative_to(here) if script.is_relative_to(here) else script
    return f"  source {shown}                  # in each terminal, for the command rinofs\n"
