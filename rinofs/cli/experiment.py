"""A small experiment, made up but of the right shape: what the demo works on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from fsspec.implementations.local import LocalFileSystem

from rinofs.datapack.document.model import dump
from rinofs.datapack.document.new import new_document

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Run", "make_datapack", "make_experiment", "make_take"]

DAYS = ("2026-03-02", "2026-03-03", "2026-03-04")
SUBJECTS = tuple(f"S{number:02}" for number in range(1, 13))
SAMPLES = 600
RATE = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run: a CSV file and what was written down beside it.

    Attributes
    ----------
    path : str
        The file, below the experiment's folder.
    metadata : dict
        What a laboratory notebook would say of it.
    tags : list of str
        Words to find it by.
    """

    path: str
    metadata: dict[str, Any]
    tags: list[str]


def make_experiment(folder: Path) -> list[Run]:
    """Write the experiment to `folder`: runs as CSV, a table, a Zarr store, a NetCDF file.

    Parameters
    ----------
    folder : Path
        An empty folder.

    Returns
    -------
    list of Run
        The runs, always the same.
    """
    random = np.random.default_rng(20260302)
    runs = [_make_run(folder, day, subject, random) for day in DAYS for subject in SUBJECTS]
    table = pd.DataFrame([{"path": run.path, **run.metadata} for run in runs])
    table.to_parquet(folder / "runs.parquet")
    field = _field(random)
    field.to_zarr(folder / "field.zarr", consolidated=False)
    field.to_netcdf(folder / "field.nc", engine="h5netcdf")
    return runs


def make_datapack(folder: Path) -> Path:
    """Write a datapack to a new folder: three seconds of an arm's acceleration and muscle activity.

    Parameters
    ----------
    folder : Path
        Where to make it; the datapack has its name.

    Returns
    -------
    Path
        The document.
    """
    random = np.random.default_rng(20260305)
    (folder / "IMU").mkdir(parents=True)
    acceleration = random.normal((0, 0, 1), 0.1, (600, 3)).round(6)
    (folder / "IMU" / "Accelerometer.json").write_text(json.dumps(acceleration.tolist()), "utf-8")
    activity = pd.DataFrame(random.integers(-128, 128, (600, 8)), columns=[f"e{n}" for n in range(1, 9)])
    activity.to_csv(folder / "EMG.csv", index=False)
    document = folder / "datapack.json"
    made = new_document(LocalFileSystem(), str(folder), author="rinofs demo", keywords=["arm", "IMU", "EMG"])
    document.write_text(dump(made, indent=2), "utf-8")
    return document


def make_take() -> xr.DataTree:
    """Return ten seconds of a drummer: sound, an arm's movement and muscles, and the strokes."""
    random = np.random.default_rng(20260306)
    strokes = np.arange(0.7, 9.5, 0.8)
    sound = _decaying(strokes, 8000, 9)[:, None] * np.sin(np.arange(80_000) / 7)[:, None] * 0.6
    arm = _decaying(strokes, 200, 12)[:, None] * [1.4, -0.5, 0.3] + random.normal([0, 0, 1], 0.03, (2000, 3))
    muscles = random.normal(0, _decaying(strokes, 200, 5)[:, None] * np.linspace(10, 50, 8) + 3)
    parts = {
        "sound": _stream(
            "audio_intensity", "a.u.", 8000, sound + random.normal(0, 0.006, sound.shape), ["M"]
        ),
        "arm/acceleration": _stream("acceleration", "g", 200, arm, ["X", "Y", "Z"]),
        "arm/muscles": _stream(
            "muscle_activity",
            "a.u.",
            200,
            muscles.round().clip(-128, 127).astype(int),
            [f"EMG {number}" for number in range(1, 9)],
        ),
        "strokes": xr.Dataset(
            {
                "onset_time": ("event", strokes, {"units": "s"}),
                "offset_time": ("event", strokes + 0.3, {"units": "s"}),
                "offset_type": ("event", np.array(["left", "right"])[np.arange(strokes.size) % 2]),
            }
        ),
    }
    known = {
        "arm/acceleration": "3-axis accelerometer",
        "arm/muscles": "MYO 8-channel EMG",
        "strokes": "drum notes",
    }
    for path, datatype in known.items():
        parts[path].attrs["datatype"] = datatype
    about = {"author": "rinofs demo", "description": "strokes on a drum", "keywords": ["drums", "arm"]}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=about), **parts})


def _decaying(strokes: np.ndarray[Any, Any], rate: float, speed: float) -> np.ndarray[Any, Any]:
    since = np.arange(10 * rate) / rate - strokes[:, None]
    return np.asarray((np.exp(-since.clip(0) * speed) * (since >= 0)).sum(axis=0))


def _stream(
    name: str, units: str, rate: float, values: np.ndarray[Any, Any], channels: list[str]
) -> xr.Dataset:
    return xr.Dataset(
        {name: (("time", "channel"), values, {"units": units})},
        coords={"time": np.arange(len(values)) / rate, "channel": channels},
    )


def _make_run(folder: Path, day: str, subject: str, random: np.random.Generator) -> Run:
    time = np.arange(SAMPLES) / RATE
    rest = float(random.normal(65, 6))
    rate = rest + 40 * (1 - np.exp(-time / 15)) + random.normal(0, 1.5, SAMPLES)
    force = np.clip(random.normal(180, 25) * np.sin(time * 1.3) ** 2 + random.normal(0, 4, SAMPLES), 0, None)
    path = f"runs/{day}/{subject}.csv"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    samples = pd.DataFrame({"time_s": time, "heart_rate_bpm": rate, "force_n": force})
    samples.to_csv(folder / path, index=False, float_format="%.3f")
    metadata = {
        "subject": subject,
        "day": day,
        "rate_hz": RATE,
        "rest_bpm": round(rest, 1),
        "device": {"name": "ergometer", "firmware": "2.1" if day < DAYS[2] else "2.2"},
    }
    return Run(path, metadata, ["cycling", "pilot" if day == DAYS[0] else "main"])


def _field(random: np.random.Generator) -> xr.Dataset:
    hours = pd.date_range(DAYS[0], periods=72, freq="h")
    daily = 2 * np.sin(np.arange(72) / 24 * 2 * np.pi)
    warmth = 20 + daily[:, None, None] + random.normal(0, 0.2, (72, 16, 16))
    data = xr.DataArray(
        warmth.astype("float32"),
        dims=("time", "y", "x"),
        coords={"time": hours, "y": np.arange(16) * 0.25, "x": np.arange(16) * 0.25},
        attrs={"units": "degC", "long_name": "air temperature in the room"},
    )
    return xr.Dataset({"temperature": data.chunk({"time": 24})})
