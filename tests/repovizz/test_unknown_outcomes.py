"""After a change of which the outcome is not known, what is shown is what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem
from rinofs.errors import RinofsError
from rinofs.http.session import retry
from rinofs.http.session.session import HttpSession
from rinofs.testing import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer

CHANGES: dict[str, Callable[[RepovizzFileSystem, str], Any]] = {
    "pipe_file": lambda fs, pack: fs.pipe_file(f"{pack}/a", b"longer"),
    "a new file": lambda fs, pack: fs.pipe_file(f"{pack}/new", b"new"),
    "rm": lambda fs, pack: fs.rm(f"{pack}/a"),
    "rm of a datapack": lambda fs, pack: fs.rm(pack, recursive=True),
    "mv": lambda fs, pack: fs.mv(f"{pack}/a", f"{pack}/moved"),
    "mv of a datapack": lambda fs, pack: fs.mv(pack, f"{pack} moved"),
    "cp": lambda fs, pack: fs.copy(f"{pack}/a", f"{pack}/copied"),
    "mkdir": lambda fs, pack: fs.makedirs(f"{pack}/folder"),
    "a new datapack": lambda fs, pack: fs.mkdir(f"{pack} new"),
}


def shown(fs: RepovizzFileSystem, pack: str) -> list[Any]:
    """Return what a filesystem shows, of files one by one first."""
    paths = [f"{pack}/{name}" for name in ("a", "b", "new", "moved", "copied", "folder")]
    packs = [pack, f"{pack} moved", f"{pack} new"]
    seen: list[Any] = [fs.info(path) if fs.exists(path) else path for path in (*paths, *packs)]
    return seen + [fs.ls(each) for each in packs if fs.exists(each)]


@pytest.fixture
def known(server: LiveServer, pack: str) -> RepovizzFileSystem:
    """A filesystem that has seen everything."""
    fs = RepovizzFileSystem(
        endpoint_url=server.endpoint_url,
        token=server.token,
        skip_instance_cache=True,
        listings_expiry_time=3600,
    )
    fs.pipe({f"{pack}/{name}": name.encode() for name in "ab"})
    fs.invalidate_cache()
    shown(fs, pack)
    return fs


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_a_lost_answer(
    change: Callable[[RepovizzFileSystem, str], Any],
    known: RepovizzFileSystem,
    pack: str,
    server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "MAX_TRIES", 1)
    lost = False

    def fault(method: str, _path: str) -> Fault | None:
        nonlocal lost
        lost = lost or method != "GET"
        return Fault(lose_answer=True) if lost else None

    server.faults = fault
    # A plain server cannot delete datapacks, which the client may know.
    with pytest.raises((RinofsError, OSError, NotImplementedError)):
        change(known, pack)
    server.faults = None
    seen = shown(known, pack)
    known.invalidate_cache()
    assert seen == shown(known, pack)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_an_interrupt(
    change: Callable[[RepovizzFileSystem, str], Any],
    known: RepovizzFileSystem,
    pack: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(send: Callable[..., Any]) -> Callable[..., Any]:
        def call(session: HttpSession, *args: Any, **kwargs: Any) -> Any:
            answer = send(session, *args, **kwargs)
            if args[0] != "GET":
                raise KeyboardInterrupt
            return answer

        return call

    with monkeypatch.context() as patched:
        for name in ("request", "upload"):
            patched.setattr(HttpSession, name, interrupted(getattr(HttpSession, name)))
        # A plain server cannot delete datapacks.
        with pytest.raises((KeyboardInterrupt, NotImplementedError)):
            change(known, pack)
    seen = shown(known, pack)
    known.invalidate_cache()
    assert seen == shown(known, pack)
