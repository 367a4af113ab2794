"""A refusal or a fault of the network is that error, whatever reads the file, and in a tree as well."""

from __future__ import annotations

import gc
import io
from itertools import count
from typing import TYPE_CHECKING, Any

import edfio
import fsspec
import h5py
import numpy as np
import pytest
import soundfile
import xarray as xr

from rinofs.datapack import DataNode, Document, dump
from rinofs.datapack.document.messages import DataWarning
from rinofs.datapack.formats.library_files import LibraryFile
from rinofs.datapack.formats.tables import reading
from rinofs.errors import (
    AuthenticationError,
    ConnectionFailedError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from rinofs.fs.blocks import shared_blocks
from rinofs.http.session import retry
from rinofs.testing import Fault, LiveServer, live_server
from tests.datapack.test_annotations import EAF, LONG, VTT
from tests.datapack.test_recordings import EEG, signals, xdf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing.recording import Faults

FRAMES = 200_000  # so that no reader has all of a file after it is opened


def sound(container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, FRAMES)
    soundfile.write(file, noise, 44100, format=container, subtype=subtype)
    return file.getvalue()


def array(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def recording(folder: Path, suffix: str) -> bytes:
    path = folder / f"a.{suffix}"
    if suffix == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=np.random.default_rng(1).normal(size=FRAMES), chunks=(1000,))
    elif suffix == "edf":
        edfio.Edf(signals(edfio.EdfSignal, EEG, 900)).write(path)
    else:
        edfio.Bdf(signals(edfio.BdfSignal, EEG, 900)).write(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    rows = "\n".join(f"{number}.5,{number % 7}" for number in range(30_000))
    fields = np.zeros(FRAMES, [("x", "f4"), ("y", "f4")])
    stream = {
        "name": "s",
        "rate": 100,
        "format": "int32",
        "times": np.arange(20_000) / 100,
        "rows": [[number] for number in range(20_000)],
    }
    return {
        "csv": f"x,y\n{rows}\n".encode(),
        "json": f"[{','.join(map(str, range(60_000)))}]".encode(),
        "wav": sound("WAV", "PCM_16"),
        "flac": sound("FLAC", "PCM_16"),
        "aiff": sound("AIFF", "PCM_16"),
        "ogg": sound("OGG", "VORBIS"),
        "mp3": sound("MP3", "MPEG_LAYER_III"),
        "npy": array(np.zeros((FRAMES, 2))),
        "fortran.npy": array(np.asfortranarray(np.zeros((FRAMES, 2)))),
        "fields.npy": array(fields),
        "edf": recording(folder, "edf"),
        "bdf": recording(folder, "bdf"),
        "h5": recording(folder, "h5"),
        "xdf": xdf(stream),
        "eaf": EAF.encode() + b" " * 200_000,
        "TextGrid": LONG.encode() + b"\n" * 200_000,
        "vtt": VTT.encode() + b"\n" * 200_000,
        "repovizz.csv": b"repovizz,framerate=100\n" + b"1,2,3," * 40_000,
    }


FORMATS = [
    *("csv", "json", "wav", "flac", "aiff", "ogg", "mp3", "npy", "fortran.npy", "fields.npy"),
    *("edf", "bdf", "h5", "xdf", "eaf", "TextGrid", "vtt", "repovizz.csv"),
]

LAZY = ["csv", "wav", "flac", "aiff", "ogg", "mp3", "npy", "fortran.npy", "fields.npy", "edf", "bdf", "h5"]

FAULTS: dict[str, tuple[Fault, type[BaseException]]] = {
    "401": (Fault(status=401), AuthenticationError),
    "403": (Fault(status=403), NotAllowedError),
    "404": (Fault(status=404), NotFoundError),
    "500": (Fault(status=500), UnavailableError),
    "503": (Fault(status=503), UnavailableError),
    "reset": (Fault(lose_answer=True), ConnectionFailedError),
}


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(scope="module")
def urls(server: LiveServer, files: dict[str, bytes]) -> dict[str, str]:
    """Put a datapack for each format; return the paths of their files."""
    fs = fsspec.filesystem("rino", **options(server))
    for name, data in files.items():
        fs.pipe_file(f"{name}/file.{name}", data)
        document = Document.create("lab", [DataNode.create("stream", f"file.{name}")])
        fs.pipe_file(f"{name}/datapack.json", dump(document).encode())
    return {name: f"rino://{name}/file.{name}" for name in files}


@pytest.fixture(scope="module")
def packs(server: LiveServer, files: dict[str, bytes]) -> str:
    """Put all files into a datapack of repovizz2, a container for each; return its name."""
    fs = fsspec.filesystem("repovizz", **options(server))
    fs.pipe({f"faults/{name}/file.{name}": data for name, data in files.items()})
    return "faults"


def options(server: LiveServer) -> dict[str, Any]:
    return {"endpoint_url": server.endpoint_url, "token": server.token}


@pytest.fixture(autouse=True)
def _once(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have nothing tried again, and nothing in memory."""
    monkeypatch.setattr(retry, "MAX_TRIES", 1)
    shared_blocks._start_empty()
    server.reset()
    yield
    server.reset()


def downloads(fault: Fault, passed: int = 0) -> Faults:
    """Return what goes wrong with the content of files, but for the first of them."""
    left = count()

    def faults(_method: str, path: str) -> Fault | None:
        return fault if "/download/" in path and next(left) >= passed else None

    return faults


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", FORMATS)
def test_opening(name: str, fault: str, server: LiveServer, urls: dict[str, str]) -> None:
    made_up, error = FAULTS[fault]
    server.faults = downloads(made_up)
    with pytest.raises(error) as caught:
        xr.open_dataset(urls[name], engine="datapack", storage_options=options(server)).load()
    assert type(caught.value) is error


def library_files() -> list[LibraryFile]:
    return [thing for thing in gc.get_objects() if isinstance(thing, LibraryFile)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", LAZY)
def test_slicing(
    name: str, fault: str, server: LiveServer, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "KEPT", 1000)  # bytes up to which a table stays in memory
    made_up, error = FAULTS[fault]
    others = library_files()
    dataset = xr.open_dataset(urls[name], engine="datapack", storage_options=options(server))
    [variable] = dataset.data_vars.values()
    shared_blocks._start_empty()
    server.faults = lambda _method, _path: made_up
    with pytest.raises(error) as caught:
        variable[len(variable) // 2 : len(variable) // 2 + 1000].load()
    assert type(caught.value) is error
    server.faults = None
    assert variable[:10].load().shape[0] == 10
    if name == "h5":  # HDF5 crashes Python at its end where a file is still held then
        del caught
        gc.collect()
        assert all(any(file is other for other in others) for file in library_files())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", FORMATS)
def test_trees(name: str, fault: str, server: LiveServer, urls: dict[str, str]) -> None:
    made_up, error = FAULTS[fault]
    server.faults = downloads(made_up, passed=1)  # the document comes first
    with pytest.raises(error) as caught:
        xr.open_datatree(f"rino://{name}", engine="datapack", storage_options=options(server))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (name, fault)
        for fault in FAULTS
        for name in FORMATS
        if fault == "404" or name in {"csv", "flac", "h5"}
    ],
)
def test_trees_of_repovizz(name: str, fault: str, server: LiveServer, packs: str) -> None:
    made_up, error = FAULTS[fault]
    server.faults = lambda _method, path: made_up if "/content/" in path else None
    with pytest.raises(error) as caught:
        xr.open_datatree(f"repovizz://{packs}/{name}", engine="datapack", storage_options=options(server))
    assert type(caught.value) is error


@pytest.mark.parametrize("service", ["rino", "repovizz"])
def test_what_was_never_uploaded_is_left_out(service: str, server: LiveServer) -> None:
    fs = fsspec.filesystem(service, **options(server))
    later = DataNode.create("later", "later.csv")
    fs.mkdir("partly")
    fs.pipe_file("partly/datapack.json", dump(Document.create("partly", [later])).encode())
    with pytest.warns(DataWarning, match="later.*: skipped"):
        tree = xr.open_datatree(f"{service}://partly", engine="datapack", storage_options=options(server))
    assert tree.attrs["other_files"] == ["later"]
