"""pyarrow, polars and duckdb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from pyarrow.fs import FileSelector, FileType, FSSpecHandler, PyFileSystem

from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

FOLDER = "exp #1/50% [raw]"


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "run": [number // 100 for number in range(1_000)],
            "force": [number / 7 for number in range(1_000)],
            "label": [f"sample {number}" for number in range(1_000)],
        }
    )


@pytest.fixture
def stored(table: pa.Table, fs: RinoFileSystem) -> pa.Table:
    """A table in ten files."""
    ds.write_dataset(
        table,
        FOLDER,
        filesystem=fs,
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("run", pa.int64())]), flavor="hive"),
    )
    return table


# pyarrow


@both_modes
def test_a_pyarrow_dataset_is_read_by_partition(stored: pa.Table, fs: RinoFileSystem) -> None:
    assert len(fs.find(FOLDER)) == 10
    dataset = ds.dataset(FOLDER, filesystem=fs, format="parquet", partitioning="hive")
    assert dataset.count_rows() == 1_000
    some = dataset.to_table(filter=ds.field("run") == 3, columns=["force"])
    assert some.column("force").to_pylist() == [number / 7 for number in range(300, 400)]


def test_a_pyarrow_dataset_is_replaced(stored: pa.Table, fs: RinoFileSystem) -> None:
    few = stored.slice(0, 5)
    ds.write_dataset(few, FOLDER, filesystem=fs, format="feather", existing_data_behavior="delete_matching")
    assert not fs.glob(f"{FOLDER}/*/*.parquet".replace("[", "[[]"))
    assert ds.dataset(FOLDER, filesystem=fs, format="feather").to_table().equals(few)


@both_modes
def test_a_few_columns_of_a_parquet_file_are_a_part_of_it(
    table: pa.Table, fs: RinoFileSystem, server: LiveServer
) -> None:
    wide = pa.table({f"c{number}": pa.array(range(100_000)) for number in range(8)})
    with fs.open("wide.parquet", "wb") as file:
        pq.write_table(wide, file, use_dictionary=False, compression="none")
    server.reset()
    with fs.open("wide.parquet") as file:
        column = pq.read_table(file, columns=["c5"])
    assert column.equals(wide.select(["c5"]))
    assert sum(request.bytes_out for request in server.requests) < fs.size("wide.parquet") // 4


def test_pyarrow_sees_what_is_there(stored: pa.Table, fs: RinoFileSystem) -> None:
    arrow = PyFileSystem(FSSpecHandler(fs))
    infos = arrow.get_file_info(FileSelector(FOLDER, recursive=True))
    assert {info.path for info in infos if info.type is FileType.File} == set(fs.find(FOLDER))
    assert {info.base_name for info in infos if info.type is FileType.Directory} == {
        f"run={n}" for n in range(10)
    }
    [missing] = arrow.get_file_info([f"{FOLDER}/nothing"])
    assert missing.type is FileType.NotFound
    arrow.create_dir("made/below")
    arrow.copy_file(f"{FOLDER}/run=1/part-0.parquet", "made/copy.parquet")
    arrow.move("made/copy.parquet", "made/below/moved.parquet")
    assert arrow.get_file_info("made/below/moved.parquet").size == fs.size(f"{FOLDER}/run=1/part-0.parquet")
    arrow.delete_dir("made")
    assert not fs.exists("made")


def test_pyarrow_hides_no_refusal(server: LiveServer) -> None:
    refused = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token="rino_of-nobody-at-all")
    with pytest.raises(PermissionError):
        PyFileSystem(FSSpecHandler(refused)).get_file_info(["exp1/a.parquet"])


# polars


@both_modes
def test_polars_reads_and_writes_through_file_objects(fs: RinoFileSystem) -> None:
    frame = pl.DataFrame({"run": [1, 2, 3], "name": ["a", "b", None]})
    for name, write, read in [
        ("t.parquet", frame.write_parquet, pl.read_parquet),
        ("t.csv", frame.write_csv, pl.read_csv),
        ("t.ipc", frame.write_ipc, pl.read_ipc),
        ("t.ndjson", frame.write_ndjson, pl.read_ndjson),
    ]:
        with fs.open(f"{FOLDER}/{name}", "wb") as file:
            write(file)
        with fs.open(f"{FOLDER}/{name}", "rb") as file:
            assert_frame_equal(read(file), frame)


@pytest.mark.parametrize("url", ["rino://t.csv", "rino://exp 1/t.csv"])
def test_polars_reads_a_url_through_fsspec(url: str, fs: RinoFileSystem, options: Any) -> None:
    frame = pl.DataFrame({"run": [1, 2, 3], "force": [0.5, 0.25, 1e-9]})
    fs.pipe_file(url, frame.write_csv().encode())
    with fsspec.open(url, **options) as file:
        assert_frame_equal(pl.read_csv(file), frame)


@both_modes
def test_polars_scans_a_dataset_and_asks_only_for_what_it_needs(
    stored: pa.Table, fs: RinoFileSystem, server: LiveServer
) -> None:
    dataset = ds.dataset(FOLDER, filesystem=fs, format="parquet", partitioning="hive")
    server.reset()
    lazy = pl.scan_pyarrow_dataset(dataset).filter(pl.col("run") == 7).select(pl.col("force").sum())
    assert lazy.collect().item() == pytest.approx(sum(number / 7 for number in range(700, 800)))
    assert len([request for request in server.requests if "download" in request.path]) <= 3


def test_polars_scans_a_file_object(stored: pa.Table, fs: RinoFileSystem) -> None:
    with fs.open(f"{FOLDER}/run=4/part-0.parquet") as file:
        total = pl.scan_parquet(file).select(pl.col("force").sum()).collect().item()
    assert total == pytest.approx(sum(number / 7 for number in range(400, 500)))


# duckdb


@pytest.fixture
def database(fs: RinoFileSystem) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        yield connection


@both_modes
def test_duckdb_queries_files_by_url_and_pattern(
    stored: pa.Table, database: duckdb.DuckDBPyConnection
) -> None:
    folder = f"rino://{FOLDER}".replace("[", "[[]")
    query = "SELECT count(*), sum(force) FROM read_parquet(?, hive_partitioning = true) WHERE run >= 5"
    count, total = database.execute(query, [f"{folder}/*/*.parquet"]).fetchall()[0]
    assert count == 500
    assert total == pytest.approx(sum(number / 7 for number in range(500, 1_000)))


@both_modes
def test_duckdb_writes_files(
    stored: pa.Table, database: duckdb.DuckDBPyConnection, fs: RinoFileSystem
) -> None:
    database.execute("COPY (SELECT range AS n FROM range(5000)) TO 'rino://out/n.csv' (HEADER)")
    assert fs.cat_file("out/n.csv").decode().split() == ["n", *map(str, range(5_000))]
    database.execute("COPY (SELECT range AS n FROM range(5000)) TO 'rino://out/n.parquet' (FORMAT parquet)")
    assert database.execute("SELECT sum(n) FROM 'rino://out/n.parquet'").fetchall() == [(12_497_500,)]


def test_duckdb_says_what_is_missing(database: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.IOException, match=r"rino://no/such\.parquet"):
        database.execute("SELECT * FROM 'rino://no/such.parquet'")
