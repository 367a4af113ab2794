"""A laboratory notebook: runs with what was written down about them, found by that, read with pandas."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import fsspec
import numpy as np
import pandas as pd

# What the notebook says of each run: a file name, a subject, a sampling rate, and how it went.
NOTEBOOK: list[tuple[str, dict[str, Any], list[str]]] = [
    ("monday/run 1.csv", {"subject": "A22", "rate_hz": 200}, ["pilot"]),
    ("monday/run 2.csv", {"subject": "B07", "rate_hz": 200}, []),
    ("tuesday/run 1.csv", {"subject": "A22", "rate_hz": 100}, []),
    ("tuesday/run 2.csv", {"subject": "A22", "rate_hz": 200, "note": "electrode came off"}, ["discard"]),
]


def measure(rate_hz: int, seed: int) -> pd.DataFrame:
    """Make two seconds of a signal up."""
    time = np.arange(2 * rate_hz) / rate_hz
    noise = np.random.default_rng(seed).normal(scale=0.1, size=time.size)
    return pd.DataFrame({"t": time, "force": 1 + seed + noise}).round(3)


def main(options: dict[str, str]) -> None:
    fs = fsspec.filesystem("rino", **options)

    # Metadata and tags are stored together with the content, by one request for each run.
    for number, (path, metadata, tags) in enumerate(NOTEBOOK):
        with fs.open(f"notebook/{path}", "w", metadata=metadata, tags=tags) as file:
            measure(metadata["rate_hz"], number).to_csv(file, index=False)

    # `find` describes everything below a folder: sizes, times, metadata, tags.
    found = fs.find("notebook", detail=True)
    print(f"{len(found)} runs are stored")
    wanted = [
        path
        for path, info in found.items()
        if info["metadata"]["subject"] == "A22" and "discard" not in info["tags"]
    ]

    # Any library that takes a URL reads them.
    for path in wanted:
        run = pd.read_csv(f"rino://{path}", storage_options=options)
        rate = found[path]["metadata"]["rate_hz"]
        print(f"{path}: {len(run)} samples at {rate} Hz, mean force {run.force.mean():.1f} N")

    fs.rm("notebook", recursive=True)


if __name__ == "__main__":
    with ExitStack() as stack:
        where: dict[str, str] = {}  # the endpoint and the token come from the environment
        if "FSSPEC_RINO_ENDPOINT_URL" not in os.environ:
            from rinofs.testing import live_server

            server = stack.enter_context(live_server())
            where = {"endpoint_url": server.endpoint_url, "token": server.token}
        main(where)
