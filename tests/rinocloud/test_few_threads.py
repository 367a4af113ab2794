"""A client whose system allows few threads, or none, is slower, and no different otherwise."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.fs.transfer import splitting
from rinofs.testing import Fault, live_server
from tests.few_threads import few_threads, finished

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer

DATA = random.Random(7).randbytes(13 * 1024 * 1024)
FILES = {f"few/{number}": bytes([number]) * 1000 for number in range(20)}


@pytest.fixture(scope="module", params=[True, False], ids=["extended", "published"])
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server that takes a moment for each answer."""
    with live_server(extensions=request.param) as server:
        server.faults = lambda _method, _path: Fault(delay=0.01)
        filesystem(server).pipe({**FILES, "few/large": DATA})
        yield server


def filesystem(server: LiveServer, **options: Any) -> RinoFileSystem:
    return RinoFileSystem(
        endpoint_url=server.endpoint_url, token=server.token, skip_instance_cache=True, **options
    )


def _cat(fs: RinoFileSystem, _tmp_path: Path) -> None:
    assert fs.cat(list(FILES)) == FILES


def _get(fs: RinoFileSystem, tmp_path: Path) -> None:
    fs.get("few", str(tmp_path / "few"), recursive=True)
    assert {f"few/{path.name}": path.read_bytes() for path in (tmp_path / "few").iterdir()} == {
        **FILES,
        "few/large": DATA,
    }


def _get_in_parts(fs: RinoFileSystem, tmp_path: Path) -> None:
    fs.get_file("few/large", tmp_path / "large")
    assert (tmp_path / "large").read_bytes() == DATA


def _read(fs: RinoFileSystem, _tmp_path: Path) -> None:
    with fs.open("few/large") as file:
        assert b"".join(iter(lambda: file.read(700_000), b"")) == DATA


def _put(fs: RinoFileSystem, tmp_path: Path) -> None:
    (tmp_path / "put").mkdir()
    for path, content in {**FILES, "few/large": DATA}.items():
        (tmp_path / "put" / path.removeprefix("few/")).write_bytes(content)
    fs.put(f"{tmp_path}/put/", "again/", recursive=True)
    assert fs.cat("again", recursive=True) == {
        path.replace("few/", "again/"): content for path, content in {**FILES, "few/large": DATA}.items()
    }


@pytest.mark.parametrize("work", [_cat, _get, _get_in_parts, _read, _put])
@pytest.mark.parametrize("allowed", [0, 2])
def test_whatever_the_system_allows(
    work: Any, allowed: int, server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "PART", 1024 * 1024)
    fs = filesystem(server, parallel_ranges=6 if work is _get_in_parts else 1)
    with few_threads(allowed) as refused:
        finished(lambda: work(fs, tmp_path))
    assert not (work is _get_in_parts and server.extensions) or "rinofs-part" in refused
