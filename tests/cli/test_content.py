"""`cat` and `info`."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run, Start


def test_cat_joins_files_byte_for_byte(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)))
    (tmp_path / "b").write_bytes(b"\r\nend")
    result = run("cat", tmp_path / "a", f"file://{tmp_path}/b")
    assert result.stdout_bytes == bytes(range(256)) + b"\r\nend"


def test_cat_goes_on_after_what_it_cannot_show(run: Run, runs: Path) -> None:
    result = run("cat", runs / "gone", runs, runs / "a.csv")
    assert result.exit_code == 1
    assert result.stdout == "x,y\n1,2\n"
    assert result.stderr.splitlines() == [
        f"rinofs: {runs}/gone: no such file or directory",
        f"rinofs: {runs}: is a folder; name a file in it, or use `rinofs get -r`",
    ]


def test_info_shows_what_is_known(run: Run, runs: Path) -> None:
    lines = dict(line.split(maxsplit=1) for line in run("info", runs / "a.csv").stdout.splitlines())
    assert lines["type"] == "file"
    assert lines["size"] == "8"
    documents = json.loads(run("info", "--json", runs / "a.csv", runs / "empty").stdout)
    assert [document["type"] for document in documents] == ["file", "directory"]


def test_a_reader_that_has_enough_is_no_failure(start: Start, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"y\n" * 4_000_000)
    cat = start("cat", big)
    assert cat.stdout is not None
    assert cat.stdout.readline() == b"y\n"
    cat.stdout.close()
    assert cat.stderr is not None
    assert cat.stderr.read() == b""
    assert cat.wait() == 141


def test_a_long_list_into_head_is_quiet(tmp_path: Path, start: Start) -> None:
    for number in range(600):
        (tmp_path / f"{number:0200}").touch()
    find = start("find", tmp_path)
    head = subprocess.run(["head", "-1"], stdin=find.stdout, capture_output=True, check=True)
    assert head.stdout.startswith(str(tmp_path).encode())
    assert find.stdout is not None
    find.stdout.close()
    assert find.stderr is not None
    assert find.stderr.read() == b""
    assert find.wait() == 141
