"""Streams of datapacks at a service: requests, memory, dask."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import fsspec
import numpy as np
import psutil
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.datapack import Container, DataNode, Document, dump
from rinofs.datapack.document.messages import DataWarning
from rinofs.errors import ContentChangedError
from rinofs.fs.blocks import shared_blocks
from rinofs.testing import Fault, live_server
from tests.campaign import rounds
from tests.datapack.streams import KNOWN, RATE, Session, node, record, wav
from tests.scenarios.memory_client import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

SECONDS = rounds(1200, 3600)
"""Length of a long recording: 101 MiB, or three times as much."""

MIDDLE = SECONDS // 2
BEEP = (np.arange(RATE) % 1000).astype("<i2")


@pytest.fixture(scope="module")
def lab() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@pytest.fixture
def storage(lab: LiveServer) -> Iterator[dict[str, Any]]:
    shared_blocks._start_empty()
    lab.reset()
    yield {"endpoint_url": lab.endpoint_url, "token": lab.token}
    lab.faults = None


@pytest.fixture(scope="module")
def session(lab: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A datapack that is at the service and on this machine."""
    found = record(tmp_path_factory.mktemp("session") / "MYO")
    fs = RepovizzFileSystem(endpoint_url=lab.endpoint_url, token=lab.token)
    fs.push(str(found.document))
    return found


@pytest.fixture(scope="module")
def long_recording(lab: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Silence with a beep in its middle, and a second of it, on both protocols."""
    folder = tmp_path_factory.mktemp("audio")
    head = wav(np.zeros(0, np.int16), frames=SECONDS * RATE)
    with (folder / "long.wav").open("wb") as file:
        file.write(head)
        file.seek(len(head) + 2 * MIDDLE * RATE)
        file.write(BEEP.tobytes())
        file.truncate(len(head) + 2 * SECONDS * RATE)
    (folder / "short.wav").write_bytes(wav(BEEP))
    options = {"endpoint_url": lab.endpoint_url, "token": lab.token}
    RinoFileSystem(**options).put(
        [str(folder / "long.wav"), str(folder / "short.wav")], ["long.wav", "short.wav"]
    )
    nodes = [node(f"{name}", f"{name}.wav", "mono audio") for name in ("long", "short")]
    (folder / "datapack.json").write_text(dump(Document.create("sound", nodes)))
    RepovizzFileSystem(**options).push(str(folder / "datapack.json"))
    (folder / "long.wav").unlink()


@pytest.mark.usefixtures("long_recording")
@pytest.mark.parametrize("url", ["rino://long.wav", "repovizz://sound/long"])
def test_a_second_of_a_long_recording(lab: LiveServer, storage: dict[str, Any], url: str) -> None:
    data = xr.open_dataset(url, engine="datapack", datatype="mono audio", storage_options=storage)
    assert data.sizes == {"time": SECONDS * RATE, "channel": 1}
    second = data.audio_intensity.sel(time=slice(MIDDLE, MIDDLE + 1 - 0.5 / RATE))
    np.testing.assert_array_equal(second[:, 0], BEEP / np.float32(2**15))
    assert len(lab.requests) <= 4
    assert sum(request.bytes_out for request in lab.requests) < MIB


@pytest.mark.usefixtures("long_recording")
@pytest.mark.parametrize("url", ["rino://{}.wav", "repovizz://sound/{}"])
def test_memory_of_a_second_of_a_long_recording(storage: dict[str, Any], url: str) -> None:
    options = {"datatype": "mono audio", "storage_options": storage}
    arguments = [url.format("short"), url.format("long"), json.dumps(options), str(MIDDLE)]
    command = [sys.executable, "-m", "tests.ecosystem.arrays_client", *arguments]
    root = Path(__file__).parents[2]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root, timeout=100)
    told = json.loads(answer.stdout)
    assert told["samples"] == RATE
    assert told["sum"] == pytest.approx(BEEP.sum() / 2**15, rel=1e-4)
    assert told["peak"] < 40 * MIB


def test_a_tree_at_the_service(lab: LiveServer, storage: dict[str, Any], session: Session) -> None:
    tree = xr.open_datatree("repovizz://MYO", engine="datapack", storage_options=storage)
    # The datapack, and each file once; of the video and the report the beginning tells that they are no data.
    assert len(lab.requests) <= 1 + 8
    here = xr.open_datatree(session.folder, engine="datapack")
    for group in here.subtree:
        assert tree[group.path].attrs.keys() - group.attrs.keys() <= {"id"}
        xr.testing.assert_equal(tree[group.path].to_dataset(), group.to_dataset())
    assert tree.attrs["other_files"] == ["video"]
    part = xr.open_datatree("repovizz://MYO/IMU", engine="datapack", storage_options=storage)
    assert list(part.children) == ["Accelerometer", "Gyroscope", "Orientation"]
    one = xr.open_dataset("repovizz://MYO/IMU/Accelerometer", engine="datapack", storage_options=storage)
    xr.testing.assert_identical(one, tree["IMU/Accelerometer"].to_dataset())


def test_a_datapack_on_rinocloud(storage: dict[str, Any], session: Session) -> None:
    fs = RinoFileSystem(**storage)
    fs.put(f"{session.folder}/", "packs/MYO/", recursive=True)
    tree = xr.open_datatree("rino://packs/MYO", engine="datapack", storage_options=storage)
    xr.testing.assert_identical(tree, xr.open_datatree(session.folder, engine="datapack"))
    options = {"rino": storage}
    one = xr.open_dataset(
        "datapack://EMG::rino://packs/MYO/datapack.json", engine="datapack", storage_options=options
    )
    xr.testing.assert_identical(one, tree["EMG"].to_dataset())
    with fs.open("packs/MYO/emg.csv") as file:
        again = xr.open_dataset(file, engine="datapack", datatype="MYO 8-channel EMG")
    np.testing.assert_array_equal(again.muscle_activity, session.values["EMG"])


def test_what_the_service_refuses_is_an_error(
    lab: LiveServer, storage: dict[str, Any], session: Session
) -> None:
    assert session.values
    with pytest.raises(PermissionError):
        xr.open_datatree("repovizz://MYO", engine="datapack", storage_options={**storage, "token": "wrong"})
    with pytest.raises(FileNotFoundError):
        xr.open_datatree("repovizz://no such", engine="datapack", storage_options=storage)
    lab.faults = lambda _, path: Fault(status=403) if "/content/" in path else None
    with pytest.raises(PermissionError):
        xr.open_datatree("repovizz://MYO", engine="datapack", storage_options=storage)


def test_a_node_that_was_not_uploaded_is_left_out(storage: dict[str, Any]) -> None:
    fs = RepovizzFileSystem(**storage)
    fs.mkdir("partly")
    children = [DataNode.create("later", "later.json"), DataNode.create("now", "now.json")]
    fs.pipe_file("partly/datapack.json", dump(Document.create("partly", children)).encode())
    fs.pipe_file("partly/now", b"[1, 2]")
    with pytest.warns(DataWarning, match="later: skipped"):
        tree = xr.open_datatree("repovizz://partly", engine="datapack", storage_options=storage)
    assert list(tree.children) == ["now"]
    assert tree.attrs["other_files"] == ["later"]


def test_a_stream_stays_the_version_that_was_opened(storage: dict[str, Any]) -> None:
    fs = RinoFileSystem(**storage)
    fs.pipe_file("versions.wav", wav(np.arange(10**6).astype(np.int16)))
    data = xr.open_dataset("rino://versions.wav", engine="datapack", storage_options=storage)
    copied = pickle.dumps(data)
    fs.pipe_file("versions.wav", wav(np.zeros(10**6, np.int16)))
    part = slice(900_000, 900_003)
    expected = np.arange(10**6).astype(np.int16)[part]
    for one in (data, pickle.loads(copied)):
        try:
            found = one.value[part, 0].values
        except ContentChangedError:
            continue
        np.testing.assert_array_equal(found, expected)


def test_many_streams_share_the_connections(lab: LiveServer, storage: dict[str, Any], tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(40, 4000, 3))
    for number, stream in enumerate(values):
        np.save(tmp_path / f"{number}.npy", stream)
    nodes = [node(str(number), f"{number}.npy", "orientation") for number in range(40)]
    (tmp_path / "datapack.json").write_text(dump(Document.create("many", nodes)))
    RepovizzFileSystem(**storage).push(str(tmp_path / "datapack.json"))
    shared_blocks._start_empty()
    lab.reset()
    tree = xr.open_datatree("repovizz://many", engine="datapack", storage_options=storage)
    assert len(lab.requests) <= 1 + 40
    lab.reset()
    for number, stream in enumerate(values):
        np.testing.assert_array_equal(tree[str(number)].angle, stream)
    assert not lab.requests  # small files are read whole when they are opened


def test_files_of_this_machine_are_not_kept_open(session: Session) -> None:
    data = xr.open_dataset(session.url("audio"), engine="datapack")
    data.audio_intensity[1000:1010].load()
    opened = {Path(file.path).parent for file in psutil.Process().open_files()}
    assert session.folder not in opened
    data.close()


def test_threads_read_one_file(storage: dict[str, Any]) -> None:
    samples = np.arange(2 * 10**6).astype(np.int16)
    RinoFileSystem(**storage).pipe_file("threads.wav", wav(samples))
    options = {"engine": "datapack", "storage_options": storage}
    data = xr.open_dataset("rino://threads.wav", chunks={"time": 10**5}, **options)
    with dask.config.set(scheduler="threads", num_workers=8):
        np.testing.assert_array_equal(data.value.compute()[:, 0], samples)


def test_a_content_by_its_hash(storage: dict[str, Any], session: Session) -> None:
    link = RepovizzFileSystem(**storage).info("MYO/EMG")["link"]
    data = xr.open_dataset(
        f"repovizz://MYO/{link}",
        engine="datapack",
        datatype="MYO 8-channel EMG",
        storage_options=storage,
    )
    np.testing.assert_array_equal(data.muscle_activity, session.values["EMG"])


@pytest.mark.soak
def test_fifty_streams_in_other_processes(storage: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=(50, 400, 3))
    nodes = []
    for number, stream in enumerate(values):
        kind = ("json", "csv", "npy")[number % 3]
        path = tmp_path / f"{number}.{kind}"
        if kind == "json":
            path.write_text(json.dumps(stream.tolist()))
        elif kind == "csv":
            np.savetxt(path, stream, delimiter=",", fmt="%.17g")
        else:
            np.save(path, stream)
        nodes.append(node(f"run {number}", path.name, "3-axis accelerometer"))
    (tmp_path / "datapack.json").write_text(dump(Document.create("runs", [Container.create("all", nodes)])))
    RepovizzFileSystem(**storage).push(str(tmp_path / "datapack.json"))
    with (
        LocalCluster(
            n_workers=rounds(1, 2),
            threads_per_worker=1,
            dashboard_address=None,
            host="127.0.0.1",
            memory_limit=0,
        ) as cluster,
        Client(cluster),
    ):
        tree = xr.open_datatree("repovizz://runs", engine="datapack", chunks={}, storage_options=storage)
        streams = [tree[f"all/run {number}"].acceleration for number in range(50)]
        means = xr.concat(streams, "run").mean("channel")
        assert means.chunks is not None
        found = means.compute()
    np.testing.assert_allclose(found, values.mean(axis=2), rtol=1e-12)
    assert found.dims == ("run", "time")
    np.testing.assert_allclose(found.time, np.arange(400) / 200)
    assert KNOWN["3-axis accelerometer"].name == tree["all/run 0"].attrs["datatype_name"]


def test_other_filesystems(session: Session) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(session.folder), "/MYO", recursive=True)
    try:
        tree = xr.open_datatree("memory://MYO/datapack.json", engine="datapack")
        xr.testing.assert_identical(tree, xr.open_datatree(session.folder, engine="datapack"))
        data = xr.open_dataset(
            "simplecache::memory://MYO/audio.wav", engine="datapack", datatype="mono audio"
        )
        assert data.sizes["time"] == 3 * RATE
    finally:
        memory.rm("/MYO", recursive=True)
