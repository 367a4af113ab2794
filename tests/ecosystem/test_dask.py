"""dask, with threads and with processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import cloudpickle
import dask
import dask.bag
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from fsspec.config import conf
from pandas.testing import assert_frame_equal

from rinofs.errors import CredentialsError
from rinofs.profiles import Profile, ProfileStore
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

RUNS = 12

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, about dask


@pytest.fixture
def runs(fs: RinoFileSystem) -> pd.DataFrame:
    """An experiment of several runs; returns all of their rows."""
    rng = np.random.default_rng(3)
    tables = [
        pd.DataFrame({"run": number, "t": np.arange(50), "force": rng.normal(size=50)})
        for number in range(RUNS)
    ]
    fs.pipe(
        {
            f"exp #1/day {number % 3}/run {number:02} [raw].csv": table.to_csv(index=False).encode()
            for number, table in enumerate(tables)
        }
    )
    return pd.concat(tables, ignore_index=True)


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["run", "t"]).reset_index(drop=True)


@pytest.fixture
def _threads() -> Iterator[None]:
    with dask.config.set(scheduler="threads", num_workers=4):
        yield


@both_modes
@pytest.mark.usefixtures("_threads")
def test_a_pattern_reads_all_runs(runs: pd.DataFrame, options: Any) -> None:
    table = dd.read_csv("rino://exp #1/day */run *.csv", storage_options=options)
    assert table.npartitions == RUNS
    assert_frame_equal(_in_order(table.compute()), runs)


@both_modes
@pytest.mark.usefixtures("_threads")
def test_names_with_brackets_are_names(runs: pd.DataFrame, options: Any) -> None:
    url = "rino://exp #1/day 2/run 05 [raw].csv"
    table = dd.read_csv(url, storage_options=options).compute()
    assert_frame_equal(table, runs[runs.run == 5].reset_index(drop=True))


@both_modes
@pytest.mark.usefixtures("_threads")
def test_parquet_comes_back(runs: pd.DataFrame, options: Any, fs: RinoFileSystem) -> None:
    dd.from_pandas(runs, npartitions=4).to_parquet("rino://exp1/all runs", storage_options=options)
    assert len(fs.glob("exp1/all runs/*.parquet")) == 4
    again = dd.read_parquet("rino://exp1/all runs", storage_options=options)
    assert_frame_equal(again.compute(), runs)
    assert again[again.run == 3].force.mean().compute() == pytest.approx(runs[runs.run == 3].force.mean())


@pytest.mark.usefixtures("_threads")
def test_parquet_written_over_holds_nothing_of_before(runs: pd.DataFrame, options: Any) -> None:
    url = "rino://exp1/runs"
    dd.from_pandas(runs, npartitions=4).to_parquet(url, storage_options=options)
    dd.from_pandas(runs.head(10), npartitions=1).to_parquet(url, storage_options=options, overwrite=True)
    assert_frame_equal(dd.read_parquet(url, storage_options=options).compute(), runs.head(10))


@pytest.mark.usefixtures("_threads")
def test_partitioned_parquet_comes_back(runs: pd.DataFrame, options: Any) -> None:
    url = "rino://exp1/runs"
    dd.from_pandas(runs, npartitions=2).to_parquet(url, partition_on=["run"], storage_options=options)
    some = dd.read_parquet(url, filters=[("run", "in", [2, 7])], storage_options=options).compute()
    assert sorted(some.run.astype(int).unique()) == [2, 7]
    assert len(some) == 100


@pytest.mark.usefixtures("_threads")
def test_csv_is_written_one_file_a_partition(runs: pd.DataFrame, options: Any, fs: RinoFileSystem) -> None:
    table = dd.from_pandas(runs, npartitions=3)
    table.to_csv("rino://out/part-*.csv.gz", index=False, compression="gzip", storage_options=options)
    assert fs.ls("out", detail=False) == [f"out/part-{n}.csv.gz" for n in range(3)]
    again = dd.read_csv(
        "rino://out/*.csv.gz", compression="gzip", blocksize=None, storage_options=options
    ).compute()
    assert_frame_equal(_in_order(again), runs)


@pytest.mark.usefixtures("_threads")
def test_files_cut_into_blocks_come_back_whole(runs: pd.DataFrame, options: Any, fs: RinoFileSystem) -> None:
    fs.pipe_file("long.csv", runs.to_csv(index=False).encode())
    table = dd.read_csv("rino://long.csv", blocksize=2_000, storage_options=options)
    assert table.npartitions > 5
    assert_frame_equal(table.compute().reset_index(drop=True), runs)


@pytest.mark.usefixtures("_threads")
def test_bags_of_text(runs: pd.DataFrame, options: Any) -> None:
    lines = dask.bag.read_text("rino://exp #1/*/*.csv", storage_options=options)
    assert lines.count().compute() == RUNS * 51


# Processes


@pytest.fixture(scope="module")
def workers(
    _servers: Callable[[str], LiveServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, Path]]:
    """Two worker processes with a token in their environment, and the folder where they look for logins."""
    server = _servers("extended")
    folder = tmp_path_factory.mktemp("logins of workers")
    environment = {
        "OMP_NUM_THREADS": "1",
        "RINOFS_CONFIG_DIR": str(folder),
        "FSSPEC_RINO_ENDPOINT_URL": server.endpoint_url,
        "FSSPEC_RINO_TOKEN": server.token,
    }
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client, folder


def _pickled(graph: Any) -> bytes:
    return bytes(cloudpickle.dumps(graph))


def _store_login(folder: Path, name: str, server: LiveServer) -> None:
    store = ProfileStore(folder / "profiles.json")
    store.save(Profile("rino", name, server.endpoint_url, "rino", server.token))


@pytest.mark.usefixtures("workers")
def test_processes_read_and_write_with_a_token_that_is_passed(runs: pd.DataFrame, options: Any) -> None:
    table = dd.read_csv("rino://exp #1/*/*.csv", storage_options=options)
    assert_frame_equal(_in_order(table.compute()), runs)
    table.to_parquet("rino://exp1/runs", storage_options=options)
    again = dd.read_parquet("rino://exp1/runs", storage_options=options)
    assert_frame_equal(_in_order(again.compute()), runs)


@pytest.mark.usefixtures("workers", "configured")
def test_a_token_from_the_environment_is_in_no_graph(runs: pd.DataFrame, server: LiveServer) -> None:
    table = dd.read_csv("rino://exp #1/*/*.csv")
    written = table.to_parquet("rino://exp1/runs", compute=False)
    for graph in (table, table.dask, written, dict(written.__dask_graph__())):
        assert server.token.encode() not in _pickled(graph)
    assert_frame_equal(_in_order(table.compute()), runs)
    written.compute()
    again = dd.read_parquet("rino://exp1/runs")
    assert server.token.encode() not in _pickled(again.dask)
    assert_frame_equal(_in_order(again.compute()), runs)


def test_a_token_of_a_login_is_in_no_graph(
    runs: pd.DataFrame, workers: tuple[Client, Path], settings_folder: Path, server: LiveServer
) -> None:
    for folder in (settings_folder, workers[1]):
        _store_login(folder, "lab", server)
    table = dd.read_csv("rino://exp #1/*/*.csv", storage_options={"profile": "lab"})
    for graph in (table, table.dask):
        assert server.token.encode() not in _pickled(graph)
    assert_frame_equal(_in_order(table.compute()), runs)
    table.to_parquet("rino://exp1/runs", storage_options={"profile": "lab"})
    again = dd.read_parquet("rino://exp1/runs", storage_options={"profile": "lab"})
    assert_frame_equal(_in_order(again.compute()), runs)


def test_workers_that_lack_the_login_say_so(
    runs: pd.DataFrame, workers: tuple[Client, Path], settings_folder: Path, server: LiveServer
) -> None:
    _store_login(settings_folder, "mine", server)
    table = dd.read_csv("rino://exp #1/*/*.csv", storage_options={"profile": "mine"})
    with pytest.raises(CredentialsError, match="no rino profile 'mine'"):
        workers[0].compute(table).result(timeout=60)


def test_a_graph_made_here_runs_in_a_process_started_later(
    runs: pd.DataFrame, options: Any, server: LiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setitem(conf, "rino", dict(options))
    graph = _pickled(dd.read_csv("rino://exp #1/*/*.csv").force.sum())
    assert server.token.encode() not in graph
    (tmp_path / "graph").write_bytes(graph)
    monkeypatch.setenv("FSSPEC_RINO_ENDPOINT_URL", server.endpoint_url)
    monkeypatch.setenv("FSSPEC_RINO_TOKEN", server.token)
    program = (
        "import pickle, sys; graph = pickle.load(open(sys.argv[1], 'rb'));"
        "print(graph.compute(scheduler='synchronous'))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "graph")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(answer.stdout) == pytest.approx(runs.force.sum())


def test_a_pickled_table_is_the_same_table(runs: pd.DataFrame, options: Any) -> None:
    table = pickle.loads(_pickled(dd.read_csv("rino://exp #1/*/*.csv", storage_options=options)))
    assert_frame_equal(_in_order(table.compute(scheduler="synchronous")), runs)
