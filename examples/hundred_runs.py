"""A hundred runs as one table: dask reads the files behind a pattern, several at the same time."""

from __future__ import annotations

import os
from contextlib import ExitStack

import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

RUNS = 100
SAMPLES = 500


def upload(options: dict[str, str]) -> None:
    """Store the runs; `pipe` sends many contents at once."""
    random = np.random.default_rng(seed=1)
    contents = {}
    for number in range(RUNS):
        force = random.normal(loc=1 + number % 4 + random.normal(scale=0.2), size=SAMPLES)
        run = pd.DataFrame({"subject": f"S{number % 4}", "force": force.round(4)})
        contents[f"hundred/run {number:03}.csv"] = run.to_csv(index=False).encode()
    fs = fsspec.filesystem("rino", **options)
    fs.pipe(contents)
    print(f"stored {len(contents)} runs, {fs.du('hundred'):,} bytes")


def draw(runs: pd.DataFrame, means: pd.Series) -> None:
    """Draw one dot for each run, and a line for each subject."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for position, (subject, mean) in enumerate(means.items()):
        forces = runs.force[runs.subject == subject].sort_values()
        axes.plot(position + np.linspace(-0.3, 0.3, len(forces)), forces, ".", color="#0072B2")
        axes.hlines(mean, position - 0.4, position + 0.4, color="#D55E00", linewidth=2)
    axes.set_xticks(range(len(means)), means.index)
    axes.set_xlabel("subject")
    axes.set_ylabel("mean force of a run (N)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("hundred_runs.png", dpi=90)


def main(options: dict[str, str]) -> None:
    upload(options)

    # Nothing but the beginning of the first file is read here...
    table = dd.read_csv("rino://hundred/*.csv", storage_options=options, include_path_column="run")
    print(f"{table.npartitions} partitions")

    # ... and the rest when the result is wanted.
    runs = table.groupby(["subject", "run"], observed=True).force.mean().compute().reset_index()
    means = runs.groupby("subject").force.mean()
    print(means.round(1).to_string())
    draw(runs, means)

    fsspec.filesystem("rino", **options).rm("hundred", recursive=True)


if __name__ == "__main__":
    with ExitStack() as stack:
        where: dict[str, str] = {}  # the endpoint and the token come from the environment
        if "FSSPEC_RINO_ENDPOINT_URL" not in os.environ:
            from rinofs.testing import live_server

            server = stack.enter_context(live_server())
            where = {"endpoint_url": server.endpoint_url, "token": server.token}
        main(where)
