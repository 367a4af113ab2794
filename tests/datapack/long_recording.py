"""A recording of hours as text, and what opening it and slicing it costs: run as a program, a step a line.

Each line of standard input is a step: ``open``, or the first second of a minute that is sliced. Each line of
standard output answers it: the shape, or the sum of the minute; with the memory since the start at its most.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 200
CHANNELS = 8
_PERIOD = 4093  # rows after which the values come again
_PATTERN = np.random.default_rng(8).integers(-2000, 2000, (_PERIOD, CHANNELS))


def write_recording(path: Path, seconds: int) -> None:
    """Write a CSV file of times and channels, 46 MB an hour or so."""
    tails = ["," + ",".join(map(str, row)) + "\n" for row in _PATTERN.tolist()]
    with path.open("w") as file:
        file.write("time_s," + ",".join(f"EMG {channel}" for channel in range(CHANNELS)) + "\n")
        for minute in range(0, seconds * RATE, 60 * RATE):
            last = min(minute + 60 * RATE, seconds * RATE)
            file.write("".join(f"{row / RATE:.3f}{tails[row % _PERIOD]}" for row in range(minute, last)))


def values_of(start: int, stop: int) -> NDArray[np.int64]:
    """Return the values of some rows."""
    return _PATTERN[np.arange(start, stop) % _PERIOD]


def _peak() -> float:
    """Return the largest memory so far, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    import xarray as xr

    warm, url, options = sys.argv[1:]
    told = json.loads(options)
    warnings.simplefilter("ignore")
    xr.open_dataset(warm, engine="datapack", storage_options=told).load()
    base = _peak()
    for line in sys.stdin:
        step = line.strip()
        if step == "open":
            data = xr.open_dataset(url, engine="datapack", storage_options=told)
            found = [*data.value.shape, data.value.attrs["sampling_rate"]]
        else:
            start = float(step)
            part = data.value.sel(time=slice(start, start + 60 - 1 / (2 * RATE))).values
            found = [int(part.sum()), len(part)]
        print(json.dumps([found, _peak() - base]), flush=True)


if __name__ == "__main__":
    main()
