"""Tables of hours: one pass, kept for the sessions to come; slices read little, and memory is bounded."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rinofs.datapack import DataWarning
from rinofs.datapack.formats.handles import FileHandle
from rinofs.datapack.formats.tables import reading
from rinofs.datapack.formats.tables.cells import NUMBER
from rinofs.datapack.formats.tables.decimals import plain_numbers
from rinofs.datapack.formats.tables.parsing import Parser
from rinofs.datapack.formats.tables.reading import TableSamples
from rinofs.datapack.formats.tables.sniffing import dialect_of
from rinofs.testing import LiveServer, live_server
from tests.campaign import rounds
from tests.datapack.long_recording import CHANNELS, RATE, values_of, write_recording
from tests.forkserver import in_own_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = rounds(4320, 8640)  # a twentieth of a day, or a tenth
ROOT = Path(__file__).parents[2]


@contextmanager
def client(server: LiveServer, cache: Path) -> Iterator[Callable[[str], tuple[list[Any], float]]]:
    """Start a process that opens and slices; a call is a step of it."""
    options = json.dumps({"endpoint_url": server.endpoint_url, "token": server.token})
    # As for a whole day, which is larger than the memory that keeps contents.
    environment = {**os.environ, "RINOFS_CACHE_DIR": str(cache), "RINOFS_CACHE_SIZE": "16000000"}
    command = [sys.executable, "-m", "tests.datapack.long_recording"]
    with subprocess.Popen(
        [*command, "rino://warm.csv", "rino://day.csv", options],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def step(line: str) -> tuple[list[Any], float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            found, memory = json.loads(process.stdout.readline())
            return found, memory

        yield step


@pytest.mark.soak
def test_a_minute_of_hours_takes_one_pass_then_a_megabyte_and_three_requests(tmp_path: Path) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_recording(folder / "day.csv", SECONDS)
        write_recording(folder / "warm.csv", 10)
        size = (folder / "day.csv").stat().st_size
        server = stack.enter_context(live_server())
        fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)
        fs.put(f"{folder}/", "", recursive=True)

        def sent() -> tuple[int, int]:
            return len(server.requests), sum(request.bytes_out for request in server.requests)

        for passes in (1, 0):  # the second process finds the index of the first
            step = stack.enter_context(client(server, tmp_path / "cache"))
            server.reset()
            assert step("open")[0] == [SECONDS * RATE, CHANNELS, RATE]
            assert sent()[1] <= passes * size + 256 * 1024
            for start in (0, 1234, SECONDS - 60):
                server.reset()
                found, memory = step(str(start))
                expected = values_of(start * RATE, (start + 60) * RATE)
                assert found == [int(expected.sum()), len(expected)]
                requests, read = sent()
                assert requests <= 3
                assert read <= 1_000_000
            assert memory < 64


def opened(path: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return xr.open_dataset(path, engine="datapack")


@pytest.fixture
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "KEPT", 1000)
    monkeypatch.setattr(reading, "BLOCK", 5000)


def settled(path: Path) -> Path:
    """Have a file be of an age at which its time tells of every change."""
    past = time.time() - 60
    os.utime(path, (past, past))
    return path


@pytest.mark.usefixtures("_small_is_large")
@pytest.mark.parametrize("even", [True, False])
def test_what_the_pass_found_is_the_same_in_the_next_session(
    tmp_path: Path, even: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.arange(5000) / 100 if even else np.cumsum(np.random.default_rng(1).random(5000)).round(4)
    frame = pd.DataFrame({"time": times, "a": np.arange(5000), "b": np.arange(5000) % 2, "c": 0.25})
    frame.to_csv(tmp_path / "t.csv", index=False)
    first = opened(settled(tmp_path / "t.csv")).load()
    monkeypatch.setattr(TableSamples, "_pass", None)  # a second pass would fail
    again = opened(tmp_path / "t.csv")
    xr.testing.assert_identical(again.load(), first)
    np.testing.assert_allclose(again.time, times, atol=1e-9)
    np.testing.assert_array_equal(again.value, frame[["a", "b", "c"]])


@pytest.mark.usefixtures("_small_is_large")
def test_another_content_is_passed_over_again(tmp_path: Path) -> None:
    for rows in (3000, 4000, 4000):
        values = np.random.default_rng(rows).integers(0, 9, (rows, 2))
        pd.DataFrame(values).to_csv(tmp_path / "t.csv", index=False, header=["a", "b"])
        for _ in range(2):
            np.testing.assert_array_equal(opened(settled(tmp_path / "t.csv")).value, values)


@pytest.mark.usefixtures("_small_is_large")
@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04 no index", b"\x93NUMPY"])
def test_an_index_that_cannot_be_read_is_made_again(
    tmp_path: Path, broken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINOFS_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 3000)
    opened(settled(tmp_path / "t.csv"))
    [entry] = (tmp_path / "cache" / "indexes").iterdir()
    entry.write_bytes(broken)
    assert opened(tmp_path / "t.csv").value.shape == (3000, 2)
    assert entry.stat().st_size > 100


@pytest.mark.usefixtures("_small_is_large")
@pytest.mark.parametrize("folder", ["", "/dev/null/no"])
def test_where_nothing_can_be_kept_tables_open_all_the_same(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINOFS_CACHE_DIR", folder)
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 3000)
    assert opened(settled(tmp_path / "t.csv")).value.sum() == 9000


@pytest.mark.usefixtures("_small_is_large")
def test_a_file_that_lost_rows_since_it_was_opened_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 3000)
    data = opened(path)
    path.write_text("a,b\n" + "1,2\n\n\n" * 1500)
    with pytest.raises(ValueError, match="it changed since it was opened"):
        data.value.values  # noqa: B018 - reads


@pytest.mark.usefixtures("_small_is_large")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_large_tables_in_any_encoding_are_read_in_parts(tmp_path: Path, encoding: str, end: str) -> None:
    values = np.arange(9000).reshape(-1, 3) / 4
    text = "x,Ċ,z\n" + "".join(",".join(map(str, row)) + "\n" for row in values.tolist())
    (tmp_path / "t.csv").write_bytes(text.replace("\n", end).encode(encoding))
    data = opened(tmp_path / "t.csv")
    assert data.channel.values.tolist() == ["x", "Ċ", "z"]
    np.testing.assert_array_equal(data.value[1000:1100], values[1000:1100])
    np.testing.assert_array_equal(data.value, values)


CELLS = ["0", "-0", "-0.0", "+7", "12", "3.25", "-.5", "5.", "0.1", "123456789012345.6", "9007199254740993"]
UNUSUAL = ["", ".", "-", "1.2.3", "1-2", "--1", "1e3", "nan", " 4", "1.-5", "0.30000000000000004441", "٣"]


@pytest.mark.parametrize("seed", range(40))
def test_plain_decimals_are_parsed_as_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    delimiter, width = ",;\t"[seed % 3], int(rng.integers(1, 5))
    cells = [*CELLS, *(UNUSUAL if seed % 2 else [])]
    rows = [[str(rng.choice(cells)) for _ in range(width)] for _ in range(int(rng.integers(1, 9)))]
    text = "".join(delimiter.join(row) + "\n" for row in rows)
    found = plain_numbers(text, delimiter if width > 1 else "", width)
    if found is None:
        return
    expected = np.array([[float(cell) for cell in row] for row in rows])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        np.signbit(found.astype(float)) | (found == 0), np.signbit(expected) | (found == 0)
    )
    if found.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("length", range(5))
def test_any_cell_is_read_as_one_by_one_or_not_at_all(length: int) -> None:
    for characters in itertools.product("05+-.", repeat=length):
        cell = "".join(characters)
        for text, place in (
            (f"{cell},1\n3,4\n", (0, 0)),
            (f"1,{cell}\n3,4\n", (0, 1)),
            (f"1,2\n3,{cell}\n", (1, 1)),
            (f"7\n{cell}\n8\n", (1, 0)),
            (f"7\n{cell}\n", (1, 0)),
        ):
            found = plain_numbers(text, "," if "," in text else "", 2 if "," in text else 1)
            if found is not None:
                assert NUMBER.fullmatch(cell), text
                assert found[place] == float(cell), text
                assert found.dtype.kind == "i" or np.signbit(found[place]) == np.signbit(float(cell)), text


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64, 10**30])
@pytest.mark.parametrize("sign", ["", "-", "+"])
def test_integers_of_more_digits_than_a_float_are_not_plain(number: int, sign: str) -> None:
    assert plain_numbers(f"{sign}{number}\n5\n", "", 1) is None


def test_plain_decimals_are_those_that_python_reads() -> None:
    rng = np.random.default_rng(5)
    numbers = [f"{number:.{digits}f}" for digits in range(13) for number in rng.normal(0, 30, 400)]
    found = plain_numbers("\n".join(numbers), "", 1)
    assert found is not None
    assert found[:, 0].tolist() == [float(number) for number in numbers]


@pytest.mark.parametrize("rows", ["1,2\n3\n4,5,6\n", "1,2,3\n", "1,2\n\n3,4\n", "1,2\n3,4,\n", ",1\n2,3\n"])
def test_rows_of_another_length_are_not_plain(rows: str) -> None:
    assert plain_numbers(rows, ",", 2) is None


@in_own_process
def test_a_pass_holds_little_beside_the_times(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t,x\n" + "".join(f"{row / 100},{row % 7}\n" for row in range(900_000)))
    handle = FileHandle(fsspec.filesystem("file"), str(tmp_path / "t.csv"))
    tracemalloc.start()
    samples = TableSamples(handle, "csv", "t.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert samples.times() == (0, "t", samples._index.times)
    assert samples._index.times is not None
    assert samples._index.times.rate == 100


def test_a_parser_takes_rows_of_any_line_end() -> None:
    parser = Parser(dialect_of(b"1,2.5\r\n3,4\r\n", whole=True))
    assert parser.block("1,2.5\r\n3,4\r\n", 0, 0).values.tolist() == [[1, 2.5], [3, 4]]
