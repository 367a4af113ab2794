"""One operation on a file, in a process of its own that tells how much memory it took; see test_memory.py."""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import rinofs

MIB = 1024 * 1024
RANGE, RANGES = MIB // 4, 128  # bytes, and how many of them are asked for at once
PIECE, PIECES = MIB // 8, 512  # bytes of a small file, and how many of them are put at once
SMALL, BIG = "small", "big"


def memory_of(pid: int | str, name: str) -> int:
    """Return what the kernel says of a process: ``VmRSS``, or ``VmHWM`` for the peak, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"nothing is known of the {name} of process {pid}")


def count_peak_from_here(pid: int | str) -> int:
    """Have the peak of a process counted anew, and return what it holds now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_of(pid, "VmRSS")


def put_file(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    fs.put_file(local, path)


def write_in_pieces(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    with local.open("rb") as source, fs.open(path, "wb") as file:
        while piece := source.read(MIB):
            file.write(piece)


def put_many(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    count = min(local.stat().st_size // PIECE, PIECES)
    with tempfile.TemporaryDirectory(dir=local.parent) as folder:
        for number in range(count):
            (Path(folder) / str(number)).write_bytes(number.to_bytes(8) * (PIECE // 8))
        fs.put(folder, f"{path} in pieces", recursive=True)
    assert len(fs.ls(f"{path} in pieces")) == count


def get_file(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    with tempfile.TemporaryDirectory(dir=local.parent) as folder:
        target = Path(folder) / "file"
        fs.get_file(path, target)
        assert target.stat().st_size == local.stat().st_size


def get_in_parts(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    options = {"endpoint_url": fs.endpoint_url, "token": fs.storage_options["token"]}
    get_file(rinofs.RinoFileSystem(**options, parallel_ranges=4), path, local)


def read_in_pieces(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    count = 0
    with fs.open(path) as file:
        while piece := file.read(MIB):
            count += len(piece)
    assert count == local.stat().st_size


def cat_file(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    assert len(fs.cat_file(path)) == local.stat().st_size


def get_eight(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    def get(_: int) -> int:
        with Path(os.devnull).open("wb") as sink:
            fs.get_file(path, outfile=sink)
        return local.stat().st_size

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(get, range(8))) == 8 * local.stat().st_size


def cat_ranges(fs: rinofs.RinoFileSystem, path: str, local: Path) -> None:
    size = local.stat().st_size
    starts = list(range(0, size - RANGE + 1, size // min(RANGES, size // RANGE)))
    parts = fs.cat_ranges([path] * len(starts), starts, [start + RANGE for start in starts], on_error="raise")
    assert {len(part) for part in parts} == {RANGE}


def main(endpoint_url: str, token: str, operation: str, folder: str) -> None:
    """Do it with a small file, wait for a line, do it with the big one, and print the bytes that took."""
    fs = rinofs.RinoFileSystem(endpoint_url=endpoint_url, token=token)
    rinofs.set_cache_size(16 * MIB)
    work = globals()[operation]
    work(fs, SMALL, Path(folder) / SMALL)
    base = count_peak_from_here("self")
    print("ready", flush=True)
    sys.stdin.readline()
    work(fs, BIG, Path(folder) / BIG)
    print(memory_of("self", "VmHWM") - base)


if __name__ == "__main__":
    main(*sys.argv[1:])
