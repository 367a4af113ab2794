"""pandas, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

AWKWARD = [
    "run 1 #2.csv",
    "100%.csv",
    "50%25 [raw].csv",
    "a?b*c.csv",
    "ünïcode ☃.csv",
    "@848.csv",
    "semi;colon&amp=+.csv",
]


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "t": np.arange(2_000) / 250,
            "emg": rng.normal(size=2_000),
            "gesture": rng.choice(["fist", "wave", "спокій"], 2_000),
            "trial": rng.integers(0, 9, 2_000),
        }
    )


@both_modes
@pytest.mark.parametrize("name", ["run.csv", "run.csv.gz", "run.csv.zst", "run.csv.bz2", "run.csv.xz"])
def test_csv_comes_back_whatever_compresses_it(name: str, table: pd.DataFrame, options: Any) -> None:
    url = f"rino://exp 1/raw/{name}"
    table.to_csv(url, index=False, storage_options=options)
    assert_frame_equal(pd.read_csv(url, storage_options=options), table)


@pytest.mark.parametrize(
    ("name", "magic"), [("run.csv.gz", b"\x1f\x8b"), ("run.csv.zst", b"\x28\xb5\x2f\xfd")]
)
def test_what_is_stored_is_compressed(
    name: str, magic: bytes, table: pd.DataFrame, options: Any, fs: RinoFileSystem
) -> None:
    table.to_csv(f"rino://{name}", index=False, storage_options=options)
    assert fs.head(name, len(magic)) == magic
    assert fs.size(name) < len(table.to_csv(index=False).encode())


@pytest.mark.parametrize("name", ["run.json", "run.jsonl.gz"])
def test_json_comes_back(name: str, table: pd.DataFrame, options: Any) -> None:
    url = f"rino://exp1/{name}"
    lines = "jsonl" in name
    table.to_json(url, orient="records", lines=lines, double_precision=15, storage_options=options)
    again = pd.read_json(url, orient="records", lines=lines, precise_float=True, storage_options=options)
    assert_frame_equal(again, table)


@both_modes
def test_parquet_comes_back(table: pd.DataFrame, options: Any) -> None:
    table.to_parquet("rino://exp1/run.parquet", storage_options=options)
    assert_frame_equal(pd.read_parquet("rino://exp1/run.parquet", storage_options=options), table)
    columns = pd.read_parquet("rino://exp1/run.parquet", columns=["emg"], storage_options=options)
    assert_frame_equal(columns, table[["emg"]])


def test_partitioned_parquet_comes_back(table: pd.DataFrame, options: Any, fs: RinoFileSystem) -> None:
    table.to_parquet("rino://exp1/by trial", partition_cols=["trial"], storage_options=options)
    assert {path.split("/")[2] for path in fs.find("exp1/by trial")} == {f"trial={n}" for n in range(9)}
    again = pd.read_parquet("rino://exp1/by trial", filters=[("trial", "=", 3)], storage_options=options)
    expected = table[table.trial == 3].drop(columns="trial").reset_index(drop=True)
    assert_frame_equal(again.drop(columns="trial"), expected)


def test_feather_comes_back(table: pd.DataFrame, options: Any) -> None:
    table.to_feather("rino://exp1/run.feather", storage_options=options)
    assert_frame_equal(pd.read_feather("rino://exp1/run.feather", storage_options=options), table)


def test_excel_comes_back(table: pd.DataFrame, options: Any) -> None:
    few = table.head(50)
    few.to_excel("rino://exp1/run.xlsx", index=False, storage_options=options)
    assert_frame_equal(pd.read_excel("rino://exp1/run.xlsx", storage_options=options), few)


@pytest.mark.parametrize("name", ["run.pkl", "run.pkl.gz"])
def test_pickle_comes_back(name: str, table: pd.DataFrame, options: Any) -> None:
    table.to_pickle(f"rino://exp1/{name}", storage_options=options)
    assert_frame_equal(pd.read_pickle(f"rino://exp1/{name}", storage_options=options), table)


@both_modes
@pytest.mark.parametrize("name", AWKWARD)
def test_a_name_is_a_name_whatever_it_holds(
    name: str, table: pd.DataFrame, options: Any, fs: RinoFileSystem
) -> None:
    url = f"rino://exp #1 [%20]/{name}"
    few = table.head(3)
    few.to_csv(url, index=False, storage_options=options)
    assert fs.ls("exp #1 [%20]", detail=False) == [f"exp #1 [%20]/{name}"]
    assert_frame_equal(pd.read_csv(url, storage_options=options), few)


@pytest.mark.usefixtures("configured")
def test_a_url_is_enough_where_the_rest_is_configured(table: pd.DataFrame) -> None:
    table.to_csv("rino://exp1/run.csv", index=False)
    assert_frame_equal(pd.read_csv("rinocloud://exp1/run.csv"), table)


def test_reading_in_pieces_costs_one_download(table: pd.DataFrame, options: Any, server: LiveServer) -> None:
    many = pd.concat([table] * 40, ignore_index=True)
    many.to_csv("rino://exp1/long.csv", index=False, storage_options=options)
    server.reset()
    pieces = pd.read_csv("rino://exp1/long.csv", chunksize=10_000, storage_options=options)
    assert_frame_equal(pd.concat(pieces), many)
    assert len(server.requests) <= 2


class _BrokenError(Exception):
    pass


class _Unwritable:
    def __str__(self) -> str:
        raise _BrokenError


@pytest.mark.parametrize("name", ["run.csv", "run.csv.gz", "run.csv.zst"])
def test_a_failing_to_csv_leaves_what_was_there(
    name: str, table: pd.DataFrame, options: Any, fs: RinoFileSystem
) -> None:
    table.to_csv(f"rino://{name}", index=False, storage_options=options)
    before = fs.info(name)
    broken = pd.DataFrame({"a": [*range(5_000), _Unwritable()]})
    with pytest.raises(_BrokenError):
        broken.to_csv(f"rino://{name}", chunksize=100, storage_options=options)
    assert fs.info(name, refresh=True) == before


def test_what_is_missing_is_a_file_not_found(options: Any) -> None:
    with pytest.raises(FileNotFoundError, match="rino://no/such"):
        pd.read_csv("rino://no/such.csv", storage_options=options)
    with pytest.raises(FileNotFoundError):
        pd.read_parquet("rino://no/such.parquet", storage_options=options)
