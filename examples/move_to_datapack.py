"""From a folder on Rinocloud to a datapack: files with metadata become streams with times and units."""

from __future__ import annotations

import os
from contextlib import ExitStack

import fsspec
import numpy as np
import pandas as pd
import xarray as xr

from rinofs.datapack import write
from rinofs.plotting import plot, save


def upload(fs: fsspec.AbstractFileSystem) -> None:
    """Store a session as a laboratory keeps it: tables, and what they hold as metadata."""
    random = np.random.default_rng(seed=3)
    time = np.arange(0, 20, 0.02)
    grip = pd.DataFrame({"left": 40 * np.sin(time / 2) ** 2, "right": 55 * np.sin(time / 3) ** 2})
    grip += random.normal(scale=0.8, size=grip.shape)
    heart = pd.DataFrame({"chest": 75 + 20 * (1 - np.exp(-np.arange(0, 20, 0.5) / 8))})
    for name, table, about in [
        ("grip.csv", grip, {"quantity": "force", "units": "N", "rate_hz": 50}),
        ("heart.csv", heart, {"quantity": "heart_rate", "units": "bpm", "rate_hz": 2}),
    ]:
        with fs.open(f"session 12/{name}", "w", metadata=about) as file:
            table.to_csv(file, index=False, float_format="%.2f")
    fs.pipe_file("session 12/protocol.txt", b"Squeeze in turn, as the lamp says.\n")


def streams(fs: fsspec.AbstractFileSystem, options: dict[str, str]) -> dict[str, xr.Dataset]:
    """Open each table with the rate and the units that its metadata tell."""
    found = {}
    for path, info in fs.find("session 12", detail=True).items():
        about = info["metadata"]
        if "rate_hz" not in about:
            continue
        url = f"rino://{path}"
        table = xr.open_dataset(url, engine="datapack", rate=about["rate_hz"], storage_options=options)
        [variable] = table.data_vars
        named = table.rename({variable: about["quantity"]})
        named[about["quantity"]].attrs["units"] = about["units"]
        found[path.rpartition("/")[2].removesuffix(".csv")] = named
    return found


def main(options: dict[str, str]) -> None:
    fs = fsspec.filesystem("rino", **options)
    upload(fs)

    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"author": "A. Researcher"}), **streams(fs, options)})
    files = {"protocol.txt": fs.cat_file("session 12/protocol.txt")}
    url = write(tree, "repovizz://session 12", "csv", files=files, storage_options=options)

    packs = fsspec.filesystem("repovizz", **options)
    for path, info in packs.find("session 12", detail=True).items():
        print(f"{path}: {info['size']} bytes of {info['mime']}")
    with xr.open_datatree(url, engine="datapack", storage_options=options) as moved:
        grip = moved["grip"].force
        seconds, most = grip.sizes["time"] / grip.sampling_rate, float(grip.max())
        print(f"grip: {seconds:g} s of {', '.join(grip.channel.values)}, up to {most:.1f} {grip.units}")
    save(plot(url, storage_options=options), "move_to_datapack.png", dpi=90)

    packs.rm("session 12", recursive=True)
    fs.rm("session 12", recursive=True)


if __name__ == "__main__":
    with ExitStack() as stack:
        where: dict[str, str] = {}  # the endpoints and the tokens come from the environment
        if "FSSPEC_RINO_ENDPOINT_URL" not in os.environ:
            from rinofs.testing import live_server

            server = stack.enter_context(live_server())
            where = {"endpoint_url": server.endpoint_url, "token": server.token}
        main(where)
