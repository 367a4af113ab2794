"""A hundred runs as one table: dask reads the files behind a pattern, several at the same time."""

from __future__ import annotations

import os
from contextlib import ExitStack

import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd

RUNS = 100
SAMPLES = 500


def upload(options: dict[str, str]) -> None:
    """Store the runs; `pipe` sends many contents at once."""
    random = np.random.default_rng(seed=1)
    contents = {}
    for number in range(RUNS):
        force = random.normal(loc=1 + number % 4, size=SAMPLES)
        run = pd.DataFrame({"subject": f"S{number % 4}", "force": force.round(4)})
        contents[f"hundred/run {number:03}.csv"] = run.to_csv(index=False).encode()
    fs = fsspec.filesystem("rino", **options)
    fs.pipe(contents)
    print(f"stored {len(contents)} runs, {fs.du('hundred'):,} bytes")


def main(options: dict[str, str]) -> None:
    upload(options)

    # Nothing but the beginning of the first file is read here...
    table = dd.read_csv("rino://hundred/*.csv", storage_options=options)
    print(f"{table.npartitions} partitions")

    # ... and the rest when the result is wanted.
    means = table.groupby("subject").force.mean().compute()
    print(means.sort_index().round(1).to_string())

    fsspec.filesystem("rino", **options).rm("hundred", recursive=True)


if __name__ == "__main__":
    with ExitStack() as stack:
        where: dict[str, str] = {}  # the endpoint and the token come from the environment
        if "FSSPEC_RINO_ENDPOINT_URL" not in os.environ:
            from rinofs.testing import live_server

            server = stack.enter_context(live_server())
            where = {"endpoint_url": server.endpoint_url, "token": server.token}
        main(where)
