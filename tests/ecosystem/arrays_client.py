"""A process that opens a long recording, and tells what it held in memory at most for a second of it."""

from __future__ import annotations

import json
import sys
from typing import Any

import xarray as xr

from tests.scenarios.memory_client import count_peak_from_here, memory_of


def open_and_slice(url: str, options: dict[str, Any], start: float) -> xr.DataArray:
    data = xr.open_dataset(url, engine="datapack", **options)
    return data.audio_intensity.sel(time=slice(start, start + 1 - 0.5 / 44100)).load()


def main() -> None:
    small, big, text, start = sys.argv[1:]
    options = json.loads(text)
    open_and_slice(small, options, float(start))  # what is needed is imported by now
    base = count_peak_from_here("self")
    part = open_and_slice(big, options, float(start))
    peak = memory_of("self", "VmHWM") - base
    print(json.dumps({"peak": peak, "samples": part.size, "sum": float(part.astype(float).sum())}))


if __name__ == "__main__":
    main()
