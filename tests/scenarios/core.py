"""What any client has to do with any server: run as a script, by the client of another release too.

Usage: python core.py ENDPOINT_URL TOKEN FOLDER, where rinofs is to be imported from that folder. It uses
nothing but what fsspec and the previous release have.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import fsspec

import rinofs

LARGE = bytes(range(256)) * 26_000  # 6.6 MB: more than one piece of an etag
SERVICES = ("rino", "repovizz")


def write_and_read(fs: Any) -> None:
    fs.pipe_file("core/a.txt", b"first")
    fs.pipe_file("core/a.txt", b"second")
    fs.pipe_file("core/a.txt", b"second")
    assert fs.cat_file("core/a.txt") == b"second"
    assert fs.cat_file("core/a.txt", 1, 3) == b"ec"
    with fs.open("core/folder/log.txt", "w") as file:
        file.write("one\n")
    for line in ("two\n", "three\n"):
        with fs.open("core/folder/log.txt", "a") as file:
            file.write(line)
    assert fs.cat_file("core/folder/log.txt") == b"one\ntwo\nthree\n"
    with fs.open("core/new.bin", "ab") as file:
        file.write(b"\xff")
    assert fs.cat_file("core/new.bin") == b"\xff"
    for path, expected in (("core/a.txt", FileExistsError), ("core/other.txt", None)):
        try:
            fs.pipe_file(path, b"other", mode="create")
        except FileExistsError:
            assert expected is FileExistsError
        else:
            assert expected is None
    fs.pipe_file("core/large.bin", LARGE)
    assert fs.cat_file("core/large.bin") == LARGE
    with fs.open("core/large.bin") as file:
        file.seek(5_000_000)
        assert file.read(100) == LARGE[5_000_000:5_000_100]


def look(fs: Any) -> None:
    assert fs.exists("core/a.txt")
    assert not fs.exists("core/missing")
    assert fs.isdir("core/folder")
    assert fs.info("core/a.txt")["size"] == 6
    assert fs.find("core") == [
        "core/a.txt",
        "core/folder/log.txt",
        "core/large.bin",
        "core/new.bin",
        "core/other.txt",
    ]
    assert fs.glob("core/*.txt") == ["core/a.txt", "core/other.txt"]


def move_and_copy(fs: Any) -> None:
    fs.cp_file("core/a.txt", "core/copied.txt")
    fs.cp_file("core/a.txt", "core/other.txt")  # onto a file
    fs.mv("core/copied.txt", "core/folder/moved.txt")
    fs.mv("core/folder/moved.txt", "core/other.txt")  # onto a file
    assert fs.cat_file("core/other.txt") == b"second"
    assert fs.find("core/folder") == ["core/folder/log.txt"]
    fs.mv("core/folder", "core/renamed")
    fs.cp("core/renamed", "core/again", recursive=True)
    assert fs.cat_file("core/again/log.txt") == b"one\ntwo\nthree\n"
    fs.rm("core/again", recursive=True)
    fs.rm(["core/other.txt", "core/new.bin"])
    assert fs.find("core") == ["core/a.txt", "core/large.bin", "core/renamed/log.txt"]


def transfer(fs: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {f"{number:02}.csv": str(number).encode() * number for number in range(20)}
        files["deep.bin"] = LARGE
        here, there = Path(folder, "here"), Path(folder, "there")
        here.mkdir()
        for name, content in files.items():
            (here / name).write_bytes(content)
        fs.put(f"{here}/", "core/tree", recursive=True)
        fs.get("core/tree", str(there), recursive=True)
        assert {path.name: path.read_bytes() for path in there.iterdir()} == files
        assert fs.cat("core/tree/0*.csv") == {
            f"core/tree/{name}": content for name, content in files.items() if name.startswith("0")
        }
    with fs.transaction:
        fs.pipe({f"core/kept/{number}": b"x" for number in range(10)})
    assert len(fs.find("core/kept")) == 10


def know(fs: Any) -> None:
    """What Rinocloud alone has."""
    fs.pipe_file("core/known.txt", b"1", metadata={"subject": "A22", "rate": 5}, tags=["pilot"])
    fs.pipe_file("core/known.txt", b"2", metadata={"subject": "A22", "rate": 7})
    assert [info["metadata"]["rate"] for info in fs.versions("core/known.txt")] == [5, 7]
    fs.restore("core/known.txt", fs.versions("core/known.txt")[0]["id"])
    assert (fs.cat_file("core/known.txt"), fs.info("core/known.txt")["tags"]) == (b"1", ["pilot"])
    fs.set_metadata("core/known.txt", {"rate": 9})
    assert [info["name"] for info in fs.query("core", subject="A22", rate__gt=8)] == ["core/known.txt"]


def main(endpoint_url: str, token: str) -> None:
    for service in SERVICES:
        options = {"endpoint_url": endpoint_url, "token": token, "skip_instance_cache": True}
        fs = fsspec.filesystem(service, **options)
        if fs.exists("core"):
            fs.rm("core", recursive=True)
        for part in (write_and_read, look, move_and_copy, transfer):
            part(fs)
        if service == "rino":
            know(fs)


if __name__ == "__main__":
    assert Path(rinofs.__file__).is_relative_to(sys.argv[3]), rinofs.__file__
    main(*sys.argv[1:3])
