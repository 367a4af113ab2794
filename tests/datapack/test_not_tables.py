"""Large files that are no tables, or can only be read whole: told by their beginning, and not downloaded."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import edfio
import fsspec
import numpy as np
import pytest
import xarray as xr

from rinofs.datapack import DataNode, DataWarning, Document, dump
from rinofs.datapack.arrays import opening
from rinofs.datapack.datatypes.registry import DatatypeRegistry
from rinofs.testing import LiveServer, live_server
from tests.datapack.test_annotations import EAF, LONG, VTT
from tests.datapack.test_recordings import EEG, signals
from tests.forkserver import in_own_process

if TYPE_CHECKING:
    from collections.abc import Iterator

TWO_GIB = 2 * 1024**3
HEAD = 64 * 1024


def prose(line: str) -> bytes:
    return (line * (HEAD // len(line) + 1)).encode()


BEGINNINGS = {
    "acquisition.log": prose("2026-03-01 12:00:00,123 INFO amplifier: 3 of 8 channels are ready\n"),
    "brackets.log": prose("[2026-03-01 12:00:00] INFO [amplifier] started\n"),
    "numbered.log": prose("1 2 3 started\n2 3 stopped\n"),
    "one-line.txt": prose("no end of a line in all of this, "),
    "diary.md": prose("# Day 1\n\nThe subject came late; we began at 9,30.\n\n"),
    "lines.jsonl": prose('{"time": 1, "x": 2}\n'),
    "object.json": b'{"samples": [' + prose("[1, 2], "),
    "objects.json": b"[" + prose('{"x": 1}, '),
    "words.json": b"[" + prose('["a", "b"], '),
    "blob.bin": bytes(range(256)) * 256,
    "zeros.bin": bytes(HEAD),
}
READ_WHOLE = {
    "rows.json": b"[" + prose("[1, 2], "),
    "annotations.eaf": EAF.encode(),
    "speech.TextGrid": LONG.encode(),
    "captions.vtt": VTT.encode(),
    "drums.csv": b"onset time,offset time,offset type\n" + prose("1.5,2,damped\n"),
}


def edf(folder: Path) -> bytes:
    edfio.Edf(signals(edfio.EdfSignal, EEG, 900)).write(folder / "a.edf")
    return (folder / "a.edf").read_bytes()


def write_pack(folder: Path, files: dict[str, bytes], size: int) -> None:
    """Write a datapack of files that are made long by zeros, which take no room on the disk."""
    drums = DatatypeRegistry.published()["drum notes"].id
    for name, data in files.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.truncate(max(size, len(data)))
    nodes = [
        DataNode.create(name, name, datatype=drums if name == "drums.csv" else None) for name in sorted(files)
    ]
    (folder / "datapack.json").write_text(dump(Document.create("pack", nodes)))


def bytes_read() -> int:
    """Return what this process has read from files so far, by the operating system's count."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar:")).split()[1])


def tree_of(url: str, **options: str) -> tuple[xr.DataTree, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tree = xr.open_datatree(url, engine="datapack", storage_options=options)
    return tree, [str(one.message) for one in caught if issubclass(one.category, DataWarning)]


@in_own_process
def test_two_gibibytes_of_each_are_listed_by_their_beginning(tmp_path: Path) -> None:
    (tmp_path / "warm").mkdir()
    write_pack(tmp_path / "warm", {**BEGINNINGS, **READ_WHOLE, "eeg.edf": edf(tmp_path)}, 0)
    tree_of(str(tmp_path / "warm"))  # imports, and what they read
    (tmp_path / "pack").mkdir()
    files = {**BEGINNINGS, **READ_WHOLE, "eeg.edf": edf(tmp_path)}
    write_pack(tmp_path / "pack", files, TWO_GIB)
    before = bytes_read()
    tree, told = tree_of(str(tmp_path / "pack"))
    assert bytes_read() - before < len(files) * (HEAD + 8192)
    assert set(tree.attrs["other_files"]) == {*BEGINNINGS, *READ_WHOLE}
    assert tree["eeg.edf"].children or tree["eeg.edf"].data_vars
    for name in READ_WHOLE:
        assert any(f"/{name}::" in one and "2048 MiB" in one for one in told)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as started:
        yield started


@pytest.mark.parametrize("name", [*BEGINNINGS, *READ_WHOLE, "eeg.edf"])
def test_a_service_is_asked_for_64_kib_of_each(
    server: LiveServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST_WHOLE", 300_000)
    data = {**BEGINNINGS, **READ_WHOLE}.get(name) or edf(tmp_path)
    write_pack(tmp_path, {name: data}, 400_000)
    options = {"endpoint_url": server.endpoint_url, "token": server.token}
    fs = fsspec.filesystem("rino", **options)
    folder = f"pack of {name.partition('.')[0]}"
    for each in (name, "datapack.json"):
        fs.put_file(str(tmp_path / each), f"{folder}/{each}")
    server.reset()
    tree, _ = tree_of(f"rino://{folder}", **options)
    sent = [request.bytes_out for request in server.requests if "download" in request.path]
    document = len((tmp_path / "datapack.json").read_bytes())
    assert sum(sent) <= HEAD + document
    assert tree.attrs.get("other_files", []) == ([name] if name != "eeg.edf" else [])


def test_what_a_tree_leaves_out_for_its_size_opens_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST_WHOLE", 1000)
    values = np.arange(3000).reshape(-1, 3)
    (tmp_path / "rows.json").write_text(json.dumps(values.tolist()))
    (tmp_path / "datapack.json").write_text(
        dump(Document.create("pack", [DataNode.create("rows", "rows.json")]))
    )
    tree, told = tree_of(str(tmp_path))
    assert tree.attrs["other_files"] == ["rows"]
    assert "open it by open_dataset" in told[0]
    data = xr.open_dataset(f"datapack://rows::file://{tmp_path}/datapack.json", engine="datapack")
    np.testing.assert_array_equal(data.value, values)


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("a.csv", "[x],[y]\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a", "{x};{y}\n1;2\n3;4\n", [[1, 2], [3, 4]]),
        ("a.csv", "[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        ("a", f"[{'[1.25, 2],' * 3000} [3, 4]]", [[1.25, 2]] * 3000 + [[3, 4]]),
    ],
)
def test_json_is_told_from_tables_by_its_beginning(
    tmp_path: Path, name: str, text: str, values: list[list[float]]
) -> None:
    (tmp_path / name).write_text(text)
    np.testing.assert_array_equal(xr.open_dataset(tmp_path / name, engine="datapack").value, values)
