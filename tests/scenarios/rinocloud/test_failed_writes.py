"""A write that fails publishes nothing: what was there stays, and where nothing was, nothing is."""

from __future__ import annotations

import gc
import gzip
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rinofs import RinoFileSystem, errors
from rinofs.errors import NotWrittenWarning
from rinofs.http.session import retry
from rinofs.testing import Fault
from tests.forkserver import server_process
from tests.rinocloud import proxy
from tests.rinocloud.proxy import proxy_to
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.rinocloud.proxy import Proxy

OLD = b"what was there\n"
CONTENT = random.Random(11).randbytes(3_000_000)


class Breakdown(Exception):  # noqa: N818 - raised by nothing but these tests
    """Comes in the middle of a write."""


class Unwritable:
    """A cell that cannot be turned into text."""

    def __str__(self) -> str:
        raise Breakdown


def break_down() -> None:
    raise Breakdown


def drop(files: list[Any]) -> None:
    files.clear()
    gc.collect()  # an exception that was caught on the way may hold a file for a while


def is_idle(server: LiveServer) -> bool:
    """Tell whether no upload is on its way, nor any trace of one that was."""
    return not any((server.data_dir / "blobs" / "temporary").iterdir())


# Exceptions


def binary(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fs.open(path, "wb") as file:
        file.write(CONTENT)
        raise error


def text(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fs.open(path, "w", encoding="utf-8") as file:
        file.write("half")
        raise error


def wrapped_text(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with io.TextIOWrapper(fs.open(path, "wb"), encoding="utf-8") as file:
        file.write("half")
        raise error


def appended(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fs.open(path, "ab") as file:
        file.write(b"more")
        raise error


def compressed(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fs.open(path, "wb", compression="gzip") as file:
        file.write(CONTENT)
        raise error


def compressed_text(
    fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]
) -> None:
    with fs.open(path, "wt", compression="zstd") as file:
        file.write("half")
        raise error


def wrapped_gzip(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fs.open(path, "wb") as target, gzip.open(target, "wt") as file:
        file.write("half")
        raise error


def fsspec_binary(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fsspec.open(f"rino://{path}", "wb", **options) as file:
        file.write(CONTENT)
        raise error


def fsspec_text(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fsspec.open(f"rino://{path}", "wt", **options) as file:
        file.write("half")
        raise error


def fsspec_compressed(
    fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]
) -> None:
    with fsspec.open(f"rino://{path}", "wt", compression="gzip", **options) as file:
        file.write("half")
        raise error


def fsspec_files(fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]) -> None:
    with fsspec.open_files([f"rino://{path}", "rino://other"], "wb", **options) as files:
        for file in files:
            file.write(CONTENT)
        raise error


def in_transaction(
    fs: RinoFileSystem, path: str, options: dict[str, Any], error: type[BaseException]
) -> None:
    with fs.transaction:
        fs.pipe_file(path, CONTENT)
        with fs.open("other", "wb") as file:
            file.write(CONTENT)
        raise error


WRITES = [
    binary,
    text,
    wrapped_text,
    appended,
    compressed,
    compressed_text,
    wrapped_gzip,
    fsspec_binary,
    fsspec_text,
    fsspec_compressed,
    fsspec_files,
    in_transaction,
]


@pytest.mark.covering
@pytest.mark.filterwarnings("ignore::rinofs.errors.NotWrittenWarning")
@pytest.mark.parametrize("error", [Breakdown, KeyboardInterrupt])
@pytest.mark.parametrize("write", WRITES)
def test_an_exception_publishes_nothing(
    fs: RinoFileSystem,
    server: LiveServer,
    options: dict[str, Any],
    write: Callable[[RinoFileSystem, str, dict[str, Any], type[BaseException]], None],
    error: type[BaseException],
) -> None:
    fs.pipe_file("old", OLD)
    before = fs.info("old")
    server.reset()
    for path in ("old", "new"):
        with pytest.raises(error):
            write(fs, path, options, error)
        gc.collect()  # what is left of the file must not send anything either
    assert not [seen for seen in server.requests if "upload" in seen.path]
    fs.invalidate_cache()
    assert fs.find("") == ["old"]
    assert fs.cat_file("old") == OLD
    assert fs.info("old") == before


@pytest.mark.covering
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst", "a.csv.bz2", "a.csv.zip"])
def test_a_table_that_fails_midway_publishes_nothing(
    fs: RinoFileSystem, options: dict[str, Any], name: str
) -> None:
    whole = pd.DataFrame({"x": range(20_000)})
    broken = pd.DataFrame({"x": [*range(20_000), Unwritable()]})
    with pytest.raises(Breakdown):
        broken.to_csv(f"rino://{name}", storage_options=options, chunksize=1000)
    assert not fs.exists(name)
    whole.to_csv(f"rino://{name}", storage_options=options, index=False)
    before = fs.cat_file(name)
    with pytest.raises(Breakdown):
        broken.to_csv(f"rino://{name}", storage_options=options, chunksize=1000)
    fs.invalidate_cache()
    assert fs.cat_file(name) == before
    pd.testing.assert_frame_equal(pd.read_csv(f"rino://{name}", storage_options=options), whole)


def dataset(*, fails: bool) -> xr.Dataset:
    """Return some chunks, the last of which cannot be computed."""

    def compute(block: Any, block_info: Any = None) -> Any:
        if fails and block_info[0]["chunk-location"] == (7,):
            raise Breakdown
        return block * 2

    whole: Any = da.from_array(np.arange(8000.0), chunks=1000)  # type: ignore[no-untyped-call]
    values = whole.map_blocks(compute, dtype=float)
    return xr.Dataset({"x": ("t", values)}, coords={"t": np.arange(8000)})


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Keep dask from going on in other threads after a failure, beyond the end of the test."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.usefixtures("_one_thread")
def test_a_zarr_store_that_fails_midway_holds_whole_objects_only(
    fs: RinoFileSystem, options: dict[str, Any], tmp_path: Path
) -> None:
    dataset(fails=False).to_zarr(tmp_path / "whole.zarr", consolidated=False)
    with pytest.raises(Breakdown):
        dataset(fails=True).to_zarr("rino://broken.zarr", storage_options=options, consolidated=False)
    stored = fs.find("broken.zarr")
    assert stored
    for path in stored:
        content = fs.cat_file(path)
        if path.endswith(".json"):
            assert json.loads(content)["zarr_format"] == 3
        else:
            assert content == (tmp_path / "whole.zarr" / path.removeprefix("broken.zarr/")).read_bytes()


@pytest.mark.usefixtures("_one_thread")
def test_a_zarr_store_in_a_transaction_is_there_at_its_end_or_not_at_all(fs: RinoFileSystem) -> None:
    with pytest.raises(Breakdown), fs.transaction:
        dataset(fails=True).to_zarr(fs.get_mapper("a.zarr"), consolidated=False)
    fs.invalidate_cache()
    assert fs.find("") == []
    with fs.transaction:
        dataset(fails=False).to_zarr(fs.get_mapper("a.zarr"), consolidated=False)
    xr.testing.assert_identical(
        xr.open_zarr(fs.get_mapper("a.zarr"), consolidated=False).load(), dataset(fails=False).load()
    )


# Files that nobody closes


@pytest.mark.parametrize(
    ("mode", "compression"), [("wb", None), ("w", None), ("xb", None), ("wb", "gzip"), ("wt", "gzip")]
)
def test_a_file_that_is_never_closed_is_not_written(
    fs: RinoFileSystem, mode: str, compression: str | None
) -> None:
    files = [fs.open("a", mode, compression=compression)]
    files[0].write(b"half" if "b" in mode else "half")
    with pytest.warns(NotWrittenWarning, match="rino://a was never closed: nothing was written"):
        drop(files)
    assert fs.find("") == []


def test_a_file_that_is_open_when_the_program_ends_is_not_written(
    fs: RinoFileSystem, options: dict[str, Any]
) -> None:
    script = (
        "import json, sys, rinofs\n"
        "fs = rinofs.RinoFileSystem(**json.loads(sys.argv[1]))\n"
        "file, text = fs.open('a', 'wb'), fs.open('b', 'w')\n"
        "file.write(b'half'), text.write('half')\n"
    )
    command = [sys.executable, "-c", script, json.dumps(options)]
    subprocess.run(command, check=True, timeout=60, stderr=subprocess.DEVNULL)
    assert fs.find("") == []


# What is written while an exception is handled


def test_a_report_of_a_failure_is_written(fs: RinoFileSystem, options: dict[str, Any]) -> None:
    try:
        break_down()
    except Breakdown:
        with fs.open("binary", "wb") as file:
            file.write(OLD)
        with fs.open("text", "w", encoding="utf-8") as written:
            written.write(OLD.decode())
        with fs.open("gzip", "wt", compression="gzip") as packed:
            packed.write(OLD.decode())
        with io.TextIOWrapper(fs.open("wrapped", "wb"), encoding="utf-8") as wrapped:
            wrapped.write(OLD.decode())
        with fs.open("own gzip", "wb") as target, gzip.open(target, "wb") as own:
            own.write(OLD)
        with fsspec.open("rino://fsspec", "wt", **options) as opened:
            opened.write(OLD.decode())
        closed = fs.open("closed", "wb")
        closed.write(OLD)
        closed.close()
        pd.DataFrame({"x": [1]}).to_csv("rino://table", storage_options=options, index=False)
    for name in ("binary", "text", "wrapped", "fsspec", "closed"):
        assert fs.cat_file(name) == OLD
    for name in ("gzip", "own gzip"):
        assert gzip.decompress(fs.cat_file(name)) == OLD
    assert fs.cat_file("table") == b"x\n1\n"


def test_an_exception_that_was_dealt_with_inside_stops_nothing(fs: RinoFileSystem) -> None:
    with fs.open("a", "w") as file:
        try:
            break_down()
        except Breakdown:
            file.write("failed")
    with fs.open("b", "w") as file:
        try:
            break_down()
        except Breakdown:
            with fs.open("inner", "w") as inner:
                inner.write("failed too")
        file.write("went on")
    assert fs.cat(["a", "b", "inner"]) == {"a": b"failed", "b": b"went on", "inner": b"failed too"}


def test_a_second_exception_while_one_is_handled_publishes_nothing(fs: RinoFileSystem) -> None:
    def report() -> None:
        try:
            break_down()
        except Breakdown:
            with fs.open("a", "w") as file:
                file.write("half")
                raise KeyError from None

    with pytest.raises(KeyError):
        report()
    assert fs.find("") == []


def test_closing_by_hand_while_an_exception_is_handled_warns(fs: RinoFileSystem) -> None:
    file = fs.open("a", "wb")
    file.write(b"half")
    try:
        break_down()
    except Breakdown:
        with pytest.warns(NotWrittenWarning, match="closed while Breakdown was being handled"):
            file.close()
    assert fs.find("") == []


# Broken connections


@pytest.fixture
def between(server: LiveServer) -> Iterator[Proxy]:
    with proxy_to(server.endpoint_url) as between:
        yield between


@pytest.fixture
def behind(between: Proxy, server: LiveServer) -> RinoFileSystem:
    """A filesystem behind a proxy."""
    return RinoFileSystem(endpoint_url=between.url, token=server.token, timeout=5)


def pipe_file(fs: RinoFileSystem, path: str, local: Path) -> None:
    fs.pipe_file(path, CONTENT)


def put_file(fs: RinoFileSystem, path: str, local: Path) -> None:
    (local / "content").write_bytes(CONTENT)
    fs.put_file(local / "content", path)


def open_and_write(fs: RinoFileSystem, path: str, local: Path) -> None:
    with fs.open(path, "wb") as file:
        file.write(CONTENT)


SENDS = [pipe_file, put_file, open_and_write]


@pytest.mark.covering(2)
@pytest.mark.parametrize("after", [0, 1000, 2_900_000])
@pytest.mark.parametrize("send", SENDS)
def test_a_connection_that_always_breaks_publishes_nothing(
    fs: RinoFileSystem,
    behind: RinoFileSystem,
    between: Proxy,
    server: LiveServer,
    tmp_path: Path,
    send: Callable[[RinoFileSystem, str, Path], None],
    after: int,
) -> None:
    fs.pipe_file("old", OLD)
    before = fs.info("old")
    behind.ls("")
    between.faults = lambda exchange: (
        proxy.broken_off_after(after) if exchange.endpoint == "upload_multipart" else None
    )
    for path in ("old", "new"):
        with pytest.raises(errors.ConnectionFailedError):
            send(behind, path, tmp_path)
    wait_until(lambda: is_idle(server))
    fs.invalidate_cache()
    assert fs.find("") == ["old"]
    assert fs.cat_file("old") == OLD
    assert fs.info("old") == before


@pytest.mark.covering(2)
@pytest.mark.parametrize("fault", [proxy.broken_off_after(500_000), proxy.lost_answer, proxy.truncated])
@pytest.mark.parametrize("send", SENDS)
def test_a_connection_that_breaks_once_leaves_one_version(
    fs: RinoFileSystem,
    behind: RinoFileSystem,
    between: Proxy,
    tmp_path: Path,
    send: Callable[[RinoFileSystem, str, Path], None],
    fault: proxy.Fault,
) -> None:
    fs.pipe_file("old", OLD)
    before = fs.info("old")
    behind.ls("")
    for path, versions in (("old", [before["id"]]), ("new", [])):
        waiting = [fault]
        between.faults = lambda exchange, waiting=waiting: (
            waiting.pop() if waiting and exchange.endpoint == "upload_multipart" else None
        )
        send(behind, path, tmp_path)
        assert waiting == []
        fs.invalidate_cache()
        assert fs.cat_file(path) == CONTENT
        assert fs.info(path)["versions"] == versions
        later = {"sha256": None}  # of a larger content, which the server may take after its answer
        assert behind.info(path) | later == fs.info(path) | later


def test_what_was_made_for_good_is_known_as_that_when_its_answer_is_lost(
    fs: RinoFileSystem, behind: RinoFileSystem, between: Proxy
) -> None:
    behind.ls("")
    waiting = [proxy.lost_answer]
    between.faults = lambda exchange: (
        waiting.pop() if waiting and exchange.endpoint == "upload_multipart" else None
    )
    behind.pipe_file("a", CONTENT, mode="create", metadata={"x": [1, 2]}, tags=["t"])
    assert waiting == []
    info = fs.info("a")
    assert (info["versions"], info["metadata"], info["tags"]) == ([], {"x": [1, 2]}, ["t"])
    with pytest.raises(FileExistsError):
        behind.pipe_file("a", CONTENT, mode="create")


def test_what_is_damaged_on_the_way_is_not_accepted(
    fs: RinoFileSystem, behind: RinoFileSystem, between: Proxy, server: LiveServer
) -> None:
    fs.pipe_file("a", OLD)
    before = fs.info("a")
    behind.ls("")
    between.faults = lambda exchange: (
        proxy.damaged_on_the_way_in if exchange.endpoint == "upload_multipart" else None
    )
    if server.extensions:
        with pytest.raises(errors.InvalidRequestError, match="blake3"):
            behind.pipe_file("a", CONTENT)
        fs.invalidate_cache()
        assert fs.info("a") == before
        assert is_idle(server)
        return
    with pytest.raises(errors.ContentMismatchError, match="differs from the content that was sent") as caught:
        behind.pipe_file("a", CONTENT)
    fs.invalidate_cache()
    stored = fs.info("a")
    assert re.findall(r"\d+", caught.value.message) == [str(stored["id"]), str(before["id"])]
    between.faults = None
    behind.restore("a", before["id"])
    assert behind.cat_file("a") == OLD


# Ended processes

CHILD = """
import json, sys, rinofs
options, operation, source, target = json.loads(sys.argv[1])
fs = rinofs.RinoFileSystem(**options)
fs.ls("")
print("ready", flush=True)
sys.stdin.readline()
try:
    getattr(fs, operation)(source, target, recursive=True)
except KeyboardInterrupt:
    print("interrupted")
"""


class Child:
    """A process that copies files."""

    def __init__(self, *arguments: Any) -> None:
        command = [sys.executable, "-c", CHILD, json.dumps(arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """End the process, and return when it is gone."""
        self._process.kill()
        self._process.wait()

    def end_among(self, server: LiveServer, endpoint: str, number: signal.Signals) -> None:
        """Have the process sent a signal when some of its transfers are done and others are under way.

        The first eight go through. All later ones are held, so that no machine is fast enough to do them, and
        the signal goes out with the first that begins after one was answered.
        """
        begun, is_sent = 0, False

        def fault(method: str, path: str) -> Fault | None:
            nonlocal begun, is_sent
            if not path.rstrip("/").endswith(endpoint):
                return None
            begun += 1
            if begun <= 8:
                return None
            if not is_sent and any(
                request.path == path and request.status < 300 for request in server.requests
            ):
                is_sent = True
                os.kill(self._process.pid, number)
            return Fault(delay=600)

        server.reset()
        server.faults = fault

    def wait(self) -> tuple[int, str]:
        output, _ = self._process.communicate("go\n", timeout=PATIENCE)
        return self._process.returncode, output


@pytest.fixture
def many(tmp_path: Path) -> dict[str, bytes]:
    """Local files by name."""
    (tmp_path / "many").mkdir()
    contents = {f"{number}.bin": random.Random(number).randbytes(400_000) for number in range(24)}
    for name, content in contents.items():
        (tmp_path / "many" / name).write_bytes(content)
    return contents


def test_a_killed_writer_publishes_nothing(
    fs: RinoFileSystem, server: LiveServer, options: dict[str, Any], tmp_path: Path
) -> None:
    fs.pipe_file("big", OLD)
    with (tmp_path / "big").open("wb") as file:
        file.truncate(64_000_000)
    with proxy_to(server.endpoint_url) as between:
        child = Child({**options, "endpoint_url": between.url}, "put", str(tmp_path / "big"), "big")
        half = proxy.broken_off_after(32_000_000, then=child.kill)
        between.faults = lambda exchange: half if exchange.endpoint == "upload_multipart" else None
        assert child.wait() == (-signal.SIGKILL, "")
        wait_until(lambda: is_idle(server))
    fs.invalidate_cache()
    assert fs.cat_file("big") == OLD
    assert fs.info("big")["versions"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_uploads_of_many_that_are_ended_are_whole_or_absent(
    fs: RinoFileSystem,
    server: LiveServer,
    options: dict[str, Any],
    tmp_path: Path,
    many: dict[str, bytes],
    number: signal.Signals,
) -> None:
    child = Child(options, "put", f"{tmp_path / 'many'}/", "stored/")
    child.end_among(server, "upload_multipart", number)
    code, output = child.wait()
    assert (code, output) == ((0, "interrupted\n") if number == signal.SIGINT else (-number, ""))
    server.reset()
    wait_until(lambda: is_idle(server))
    fs.invalidate_cache()
    stored = fs.cat(fs.find("stored"))
    assert 1 <= len(stored) < len(many)
    for path, content in stored.items():
        assert content == many[path.removeprefix("stored/")]
        assert fs.info(path)["versions"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_downloads_of_many_that_are_ended_are_whole_or_absent(
    fs: RinoFileSystem,
    server: LiveServer,
    options: dict[str, Any],
    tmp_path: Path,
    many: dict[str, bytes],
    number: signal.Signals,
) -> None:
    fs.pipe({f"stored/{name}": content for name, content in many.items()})
    target = tmp_path / "got"
    child = Child({**options, "timeout": 10}, "get", "stored/", f"{target}/")  # what is held ends with it
    child.end_among(server, "download", number)
    code, output = child.wait()
    assert (code, output) == ((0, "interrupted\n") if number == signal.SIGINT else (-number, ""))
    names = {path.name for path in target.iterdir()}
    parts = {name for name in names if name.startswith(".rinofs-") and name.endswith(".part")}
    assert number == signal.SIGKILL or not parts
    assert len(names - parts) < len(many)
    for name in names - parts:
        assert (target / name).read_bytes() == many[name]


def test_one_that_cannot_be_read_leaves_the_others_whole(
    fs: RinoFileSystem, tmp_path: Path, many: dict[str, bytes]
) -> None:
    with pytest.raises(FileNotFoundError):
        fs.put(
            [str(tmp_path / "many" / name) for name in [*many, "missing"]],
            [f"stored/{name}" for name in [*many, "missing"]],
        )
    for path, content in fs.cat(fs.find("stored")).items():
        assert content == many[path.removeprefix("stored/")]
    assert not fs.exists("stored/missing")


# Restarts


@pytest.mark.parametrize("arguments", [[], ["--no-extensions"]], ids=["extended", "plain"])
def test_a_restarted_server_is_met_again(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.005)
    data_dir, token = tmp_path / "data", "rino_" + "r" * 43
    with server_process(data_dir, "--token", token, *arguments) as first:
        url = first.endpoint_url
        fs = RinoFileSystem(endpoint_url=url, token=token)
        fs.pipe_file("a", OLD)
        reader = fs.open("a")
        first.kill()
    with pytest.raises(errors.ConnectionFailedError):
        fs.pipe_file("a", CONTENT)
    with pytest.raises(errors.ConnectionFailedError):
        fs.cat_file("a")
    with pytest.raises(errors.ConnectionFailedError):
        fs.exists("b")
    with server_process(data_dir, "--token", token, "--port", url.rpartition(":")[2], *arguments) as second:
        assert second.endpoint_url == url
        assert fs.cat_file("a") == OLD
        assert reader.read() == OLD
        assert fs.info("a", refresh=True)["versions"] == []
        fs.pipe_file("a", CONTENT)
        assert fs.cat_file("a") == CONTENT
        assert fs.info("a")["versions"] != []
