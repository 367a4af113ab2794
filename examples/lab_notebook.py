"""A laboratory notebook: runs with what was written down about them, found by that, and drawn."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

START = datetime(2026, 1, 19, 9, tzinfo=UTC)

# What the notebook says of each run: a subject, a sampling rate, and how it went.
NOTEBOOK: list[tuple[str, dict[str, Any], list[str]]] = [
    ("monday/run 1.csv", {"subject": "A22", "rate_hz": 200}, ["pilot"]),
    ("monday/run 2.csv", {"subject": "B07", "rate_hz": 200}, []),
    ("tuesday/run 1.csv", {"subject": "A22", "rate_hz": 100}, []),
    ("tuesday/run 2.csv", {"subject": "A22", "rate_hz": 200, "note": "electrode came off"}, ["discard"]),
    ("tuesday/run 3.csv", {"subject": "B07", "rate_hz": 100}, []),
]


def measure(rate_hz: int, seed: int) -> pd.DataFrame:
    """Make two seconds of a signal up."""
    time = np.arange(2 * rate_hz) / rate_hz
    noise = np.random.default_rng(seed).normal(scale=0.1, size=time.size)
    return pd.DataFrame({"t": time, "force": 1 + seed + np.sin(3 * time) + noise}).round(3)


def main(options: dict[str, str]) -> None:
    fs = fsspec.filesystem("rino", **options)

    # Metadata and tags are stored together with the content, by one request for each run.
    for number, (path, metadata, tags) in enumerate(NOTEBOOK):
        with fs.open(f"notebook/{path}", "w", metadata=metadata, tags=tags) as file:
            measure(metadata["rate_hz"], number).to_csv(file, index=False)

    # What is found out later is merged into it: times are stored in a way in which they can be compared.
    begun = {f"notebook/{path}": START + timedelta(hours=12 * n) for n, (path, _, _) in enumerate(NOTEBOOK)}
    fs.set_metadata_many({path: {"begun": time} for path, time in begun.items()})

    # The server finds runs by what is known about them.
    wanted = fs.query("notebook", rate_hz__gte=100, tags__nin=["discard"], type="file", sort="begun")
    with fs.open_many(wanted) as files:
        runs = {file.path: pd.read_csv(file) for file in files}
    for path, run in runs.items():
        print(f"{path}: {len(run)} samples, mean force {run.force.mean():.1f} N")

    # All of it as a table: one row for each run, one column for each thing that is known.
    table = fs.query_frame("notebook", type="file", begun__gte=START)
    counts = table.groupby("subject", as_index=False).agg(runs=("path", "count"), bytes=("size", "sum"))
    print(counts.to_string(index=False))

    draw(runs, table.set_index("path").subject)
    fs.rm("notebook", recursive=True)


def draw(runs: dict[str, pd.DataFrame], subjects: pd.Series) -> None:
    """Draw the runs over each other, in a colour for each subject."""
    colours = {"A22": "#0072B2", "B07": "#D55E00"}
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for path, run in runs.items():
        subject = subjects[path]
        label = f"{subject}, {path.removeprefix('notebook/')}"
        axes.plot(run.t, run.force, linewidth=1, color=colours[subject])
        axes.annotate(label, (run.t.iloc[-1], run.force.iloc[-1]), (6, 0), textcoords="offset points")
    axes.set_xlim(0, 2.8)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("force (N)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("lab_notebook.png", dpi=90)


if __name__ == "__main__":
    with ExitStack() as stack:
        where: dict[str, str] = {}  # the endpoint and the token come from the environment
        if "FSSPEC_RINO_ENDPOINT_URL" not in os.environ:
            from rinofs.testing import live_server

            server = stack.enter_context(live_server())
            where = {"endpoint_url": server.endpoint_url, "token": server.token}
        main(where)
