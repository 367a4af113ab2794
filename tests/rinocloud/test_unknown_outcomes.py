"""After a change of which the outcome is not known, what is shown is what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.errors import RinofsError
from rinofs.http.session import retry
from rinofs.http.session.session import HttpSession
from rinofs.testing import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rinofs.testing import LiveServer

CHANGES: dict[str, Callable[[RinoFileSystem], Any]] = {
    "pipe_file": lambda fs: fs.pipe_file("d/a", b"longer"),
    "a new file": lambda fs: fs.pipe_file("d/new", b"new"),
    "pipe": lambda fs: fs.pipe({"d/a": b"longer", "d/b": b"longer", "d/c": b"longer"}),
    "append": lambda fs: append(fs, "d/a"),
    "rm": lambda fs: fs.rm("d/a"),
    "rm of a folder": lambda fs: fs.rm("d", recursive=True),
    "mv": lambda fs: fs.mv("d/a", "e/moved"),
    "mv over a file": lambda fs: fs.mv("d/a", "d/b"),
    "cp": lambda fs: fs.copy("d/a", "e/copied"),
    "cp over a file": lambda fs: fs.copy("d/a", "d/b"),
    "mkdir": lambda fs: fs.makedirs("d/folder"),
    "set_metadata": lambda fs: fs.set_metadata("d/a", {"x": 1}),
    "set_tags": lambda fs: fs.set_tags("d/a", ["x"]),
}
READS = {"metadata", "children", "list", "download", "query", "count", "names"}


def append(fs: RinoFileSystem, path: str) -> None:
    with fs.open(path, "ab") as file:
        file.write(b" and more")


def shown(fs: RinoFileSystem) -> list[Any]:
    """Return what a filesystem shows, of files one by one first."""
    paths = ["d", "e", *(f"d/{name}" for name in ("a", "b", "c", "new", "folder")), "e/moved", "e/copied"]
    seen: list[Any] = [fs.info(path) if fs.exists(path) else path for path in paths]
    for folder in ("d", "e"):
        seen += fs.ls(folder) if fs.exists(folder) else []
    return seen


def filesystem(server: LiveServer) -> RinoFileSystem:
    return RinoFileSystem(
        endpoint_url=server.endpoint_url,
        token=server.token,
        skip_instance_cache=True,
        listings_expiry_time=3600,
    )


@pytest.fixture
def known(server: LiveServer, tmp_path: Path) -> RinoFileSystem:
    """A filesystem that has seen everything."""
    fs = filesystem(server)
    fs.pipe({f"d/{name}": name.encode() for name in "abc"})
    fs.makedirs("e")
    fs.invalidate_cache()
    shown(fs)
    server.requests.clear()
    return fs


def is_change(path: str) -> bool:
    return path.strip("/").rpartition("/")[2] not in READS


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_a_lost_answer(
    change: Callable[[RinoFileSystem], Any],
    known: RinoFileSystem,
    server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "MAX_TRIES", 1)
    lost = False

    def fault(_method: str, path: str) -> Fault | None:
        nonlocal lost
        lost = lost or is_change(path)
        return Fault(lose_answer=True) if lost else None

    server.faults = fault
    with pytest.raises((RinofsError, OSError)):
        change(known)
    server.faults = None
    seen = shown(known)
    known.invalidate_cache()
    assert seen == shown(known)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_an_interrupt(
    change: Callable[[RinoFileSystem], Any],
    known: RinoFileSystem,
    server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(send: Callable[..., Any]) -> Callable[..., Any]:
        def call(session: HttpSession, *args: Any, **kwargs: Any) -> Any:
            answer = send(session, *args, **kwargs)
            if is_change(args[1] if args[0] in {"GET", "POST"} else args[0]):
                raise KeyboardInterrupt
            return answer

        return call

    with monkeypatch.context() as patched:
        for name in ("request", "upload"):
            patched.setattr(HttpSession, name, interrupted(getattr(HttpSession, name)))
        with pytest.raises(KeyboardInterrupt):
            change(known)
    seen = shown(known)
    known.invalidate_cache()
    assert seen == shown(known)
