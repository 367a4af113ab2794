"""A process that opens an hour of audio, and tells what it held in memory at most."""

from __future__ import annotations

import json
import sys
from typing import Any

import xarray as xr

from tests.scenarios.memory_client import count_peak_from_here, memory_of


def open_and_slice(url: str, options: dict[str, Any]) -> xr.DataArray:
    data = xr.open_dataset(url, engine="datapack", **options)
    return data.audio_intensity.sel(time=slice(1800.0, 1801.0 - 0.5 / 44100)).load()


def main() -> None:
    small, big, text = sys.argv[1:]
    options = json.loads(text)
    open_and_slice(small, options)  # what is needed is imported by now
    base = count_peak_from_here("self")
    part = open_and_slice(big, options)
    peak = memory_of("self", "VmHWM") - base
    print(json.dumps({"peak": peak, "samples": part.size, "sum": float(part.astype(float).sum())}))


if __name__ == "__main__":
    main()
