"""Where a store is: URLs, names, pickles, services that can only be read."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.core.buffer import cpu, default_buffer_prototype

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.datapack import Container, DataNode, Document, dump
from rinofs.zarr import RinoStore

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.testing import LiveServer

PROTOTYPE = default_buffer_prototype()


def _array(store: RinoStore) -> Any:
    array = zarr.create_array(store, shape=(4, 4), chunks=(2, 2), dtype="f8", overwrite=True)
    array[:] = 1.5
    return array


@pytest.mark.parametrize("url", ["rino://lab/field.zarr", "rinocloud://lab/field.zarr/"])
def test_by_url(options: dict[str, Any], url: str) -> None:
    _array(RinoStore.from_url(url, options))
    assert zarr.open_array("rino://lab/field.zarr", storage_options=options, mode="r")[0, 0] == 1.5
    store = RinoStore.from_url(url, storage_options=options, read_only=True)
    assert (store.path, store.read_only) == ("lab/field.zarr", True)
    assert store == RinoStore(RinoFileSystem(**options), "lab/field.zarr", read_only=True)
    assert store != store.with_read_only(False)
    assert zarr.open_array(store, mode="r")[:].sum() == 24


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://x", "memory://x is not a rino:// or repovizz:// URL; use zarr.storage.FsspecStore"),
        ("rino://", "rino:// is the top level; name a folder for the store"),
    ],
)
def test_what_is_no_place_for_a_store(options: dict[str, Any], url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{expected}$"):
        RinoStore.from_url(url, options if url.startswith("rino") else None)


def test_an_array_of_a_folder_by_its_id(fs: RinoFileSystem) -> None:
    fs.makedirs("lab")
    place = f"@{fs.info('lab')['id']}"
    _array(RinoStore(fs, place))
    _array(RinoStore(fs, place))  # which clears it
    assert zarr.open_array(RinoStore(fs, "lab"), mode="r")[:].sum() == 24


def test_names_that_look_like_ids_are_names(fs: RinoFileSystem) -> None:
    fs.pipe_file("elsewhere/zarr.json", b"somebody's own")
    number = fs.info("elsewhere")["id"]
    root = zarr.create_group(RinoStore(fs, "lab"))
    for name in (f"@{number}", f"@@{number}", "@home"):
        root.create_group(name)
    assert fs.cat_file("elsewhere/zarr.json") == b"somebody's own"
    again = zarr.open_group(RinoStore(fs, "lab"), mode="r")
    assert sorted(again.group_keys()) == sorted([f"@{number}", f"@@{number}", "@home"])


async def test_a_token_of_the_configuration_is_in_no_pickle(
    configured: None, server: LiveServer, fs: RinoFileSystem
) -> None:
    fs.pipe_file("s/a", b"1")
    pickled = pickle.dumps(RinoStore.from_url("rino://s"))
    assert server.token.encode() not in pickled
    value = await pickle.loads(pickled).get("a", PROTOTYPE)
    assert value.to_bytes() == b"1"


def test_a_token_given_in_code_goes_along(options: dict[str, Any], fs: RinoFileSystem) -> None:
    fs.pipe_file("s/a", b"1")
    store = RinoStore.from_url("rino://s", options)
    assert options["token"] not in repr(store) + str(store)
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.get_sync("a").to_bytes() == b"1"


def test_a_datapack_can_be_read(server: LiveServer, tmp_path: Path) -> None:
    source = zarr.storage.LocalStore(tmp_path / "field")
    zarr.create_array(source, shape=(4, 4), chunks=(4, 4), dtype="f8", zarr_format=2)[:] = 1.5
    nodes = [DataNode.create(name, f"field/{name}") for name in (".zarray", "0.0")]
    document = Document.create("MYO", [Container.create("field", nodes)])
    (tmp_path / "datapack.json").write_text(dump(document))
    options = {"endpoint_url": server.endpoint_url, "token": server.token}
    fs = RepovizzFileSystem(**options)
    fs.push(str(tmp_path / "datapack.json"))
    try:
        store = RinoStore.from_url("repovizz://MYO/field", options)
        assert store.read_only
        np.testing.assert_array_equal(zarr.open_array(store, mode="r")[:], np.full((4, 4), 1.5))
        with pytest.raises(ValueError, match="read-only"):
            store.set_sync("0.0", cpu.Buffer.from_bytes(b""))
        with pytest.raises(ValueError, match=r"^repovizz://MYO/field: stores in \w+ are read-only$"):
            store.with_read_only(False)
    finally:
        fs.rm("MYO", recursive=True)


def test_what_to_install_where_zarr_is_missing() -> None:
    program = "import sys; sys.modules['zarr'] = None; import rinofs.zarr"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1] == (
        "ImportError: rinofs.zarr needs zarr 3: pip install 'rinofs[zarr]'"
    )
