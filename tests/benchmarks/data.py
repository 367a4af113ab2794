"""The files for all measurements, on the disk and on the server."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tests.benchmarks.goals import DAY_BYTES
from tests.datapack.long_recording import write_recording

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE = 1024 * 1024


def make(folder: Path) -> None:
    """Write the files into a folder."""
    for name, size in {"warm": 10, "kibi": 1024, "big": 512 * MEBIBYTE, "half": 256 * MEBIBYTE}.items():
        make_file(folder / name, size)
    (folder / "many").mkdir()
    for number in range(1000):
        make_file(folder / "many" / f"f{number:04}", 10 * 1024)
    _make_table(folder / "table.parquet")
    _make_field(folder / "field.zarr")
    _make_shard(folder / "sharded.zarr")


def make_file(path: Path, size: int) -> None:
    """Write a file of `size` random bytes."""
    with path.open("wb") as file:
        for _ in range(size // MEBIBYTE):
            file.write(random.randbytes(MEBIBYTE))
        file.write(random.randbytes(size % MEBIBYTE))


def _make_table(path: Path) -> None:
    import numpy as np
    import pandas as pd

    numbers = np.random.default_rng(1).random((625_000, 8))
    frame = pd.DataFrame(numbers, columns=[f"c{n}" for n in range(8)])
    frame.to_parquet(path, row_group_size=125_000, compression=None)


def _make_field(path: Path) -> None:
    import numpy as np
    import xarray as xr

    values = np.random.default_rng(2).random((500, 32, 32))
    field = xr.DataArray(values, dims=("time", "y", "x"), name="field")
    field.chunk({"time": 1}).to_dataset().to_zarr(path, consolidated=True)


def _make_shard(path: Path) -> None:
    import numpy as np
    import zarr

    values = np.random.default_rng(2).random((400, 32, 32))
    shape, chunks = values.shape, (1, *values.shape[1:])
    array = zarr.create_array(path, shape=shape, chunks=chunks, shards=shape, dtype=values.dtype)
    array[:] = values


def upload(fs: Any, folder: Path) -> dict[str, int]:
    """Upload the files, create folders and empty objects, and return the ids by path."""
    fs.put(f"{folder}/", "", recursive=True)
    fs.pipe({f"folders/d{number:03}/file": b"x" for number in range(200)})
    return {path: int(info["id"]) for path, info in fs.find("", detail=True).items()}


def upload_few(fs: Any, folder: Path) -> dict[str, int]:
    """Upload the files for measurements of the server alone, and return the ids by path."""
    names = ("warm", "kibi", "big", "half")
    return {name: int(fs.put_file(folder / name, name) or fs.info(name)["id"]) for name in names}


def upload_to_s3(url: str, folder: Path) -> None:
    """Upload the small files to the bucket of an S3 server."""
    import s3fs

    fs = s3fs.S3FileSystem(key="any", secret="any", endpoint_url=url)
    fs.put(f"{folder}/many", "bench/many", recursive=True)


def wide_folders(case: str) -> tuple[int, ...]:
    """Return the sizes of the folders that a case needs, in files."""
    if case.startswith("growth-"):
        return 1000, 100_000, 1_000_000
    needed = {
        "ls": (1000, 100_000),
        "query": (10_000,),
        "query-index": (100_000,),
        "query-million": (1_000_000,),
    }
    return needed.get(case, ())


def add_index(field: str, folder: str) -> None:
    """Create an index on a metadata field of a server."""
    command = [sys.executable, "-m", "rinofs", "admin", "index", "add", field, "--data", folder]
    subprocess.run(command, check=True)
    time.sleep(3)  # until the server notices


def widen(fs: Any, database: Path, count: int) -> str:
    """Create a folder of `count` files ``f000000``... that contain ``x``, and return its path.

    One is created through the API, the others directly in the server's database.
    """
    path = f"wide-{count}/f000000"
    fs.pipe_file(path, b"x", metadata={"run": 1, "subject": "A22", "number": 0, "unindexed": 0})
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(objects)") if row[1] != "id"]
        different = {
            "name": "printf('f%06d', n)",
            "metadata": "json_set(metadata, '$.number', n / 100, '$.unindexed', n / 100)",
        }
        values = ", ".join(different.get(name, name) for name in columns)
        connection.execute(
            "WITH RECURSIVE numbers(n) AS "
            f"(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count - 1}) "
            f"INSERT INTO objects ({', '.join(columns)}) SELECT {values} FROM objects, numbers WHERE id = ?",
            (fs.info(path)["id"],),
        )
        connection.commit()
    return f"wide-{count}"


def record_day(fs: Any, folder: Path) -> None:
    """Upload a recording of 24 hours as CSV, and one of ten seconds."""
    for name, seconds in {"short.csv": 10, "day.csv": 24 * 3600}.items():
        write_recording(folder / name, seconds)
        fs.put_file(folder / name, name)
    assert (folder / "day.csv").stat().st_size == DAY_BYTES
    (folder / "day.csv").unlink()
