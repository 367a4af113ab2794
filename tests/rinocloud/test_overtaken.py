"""Changes act on what is at a path now, whatever the client knew of it before others changed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from rinofs import RinoFileSystem
from rinofs.errors import ContentChangedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.fs.backend import Upload
    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

Change: TypeAlias = "Callable[[RinoFileSystem, str], object]"
Interference: TypeAlias = "Callable[[Api, str], object]"
Outcome: TypeAlias = tuple[type[BaseException] | None, dict[str, Any]]
Run: TypeAlias = "Callable[..., Outcome]"

FILES = ["d/a", "d/b", "d/a1.csv", "d/f1", "d/f2", "d/f3", "d/sub/c", "e/x", "e/a", "other/empty/gone"]
MANY = ["d/a", "d/b", "d/f1", "d/f2", "d/f3"]


def make(api: Api, top: str) -> None:
    if any(record["name"] == top for record in api.children()):
        api.post("delete", id=api.id_of(top))
    for path in FILES:
        api.upload(f"{top}/{path}", path.encode(), metadata={"path": path}, tags=[path[-1]])
    api.post("delete", id=api.id_of(top, "other", "empty", "gone"))


def _id(api: Api, top: str, path: str) -> int:
    return api.id_of(top, *path.split("/"))


def rename(api: Api, top: str, path: str, name: str) -> None:
    api.post("update", id=_id(api, top, path), name=name)


def delete(api: Api, top: str, path: str) -> None:
    api.post("delete", id=_id(api, top, path))


def write(api: Api, top: str, path: str, data: bytes = b"of another client") -> None:
    api.upload(f"{top}/{path}", data, metadata={"by": "another"})


def _both(*steps: Interference) -> Interference:
    def act(api: Api, top: str) -> None:
        for step in steps:
            step(api, top)

    return act


INTERFERENCES: dict[str, Interference] = {
    "nothing": lambda _api, _top: None,
    "renamed": lambda api, top: rename(api, top, "d/a", "precious"),
    "renamed, and another one": _both(
        lambda api, top: rename(api, top, "d/a", "precious"), lambda api, top: write(api, top, "d/a")
    ),
    "written": lambda api, top: write(api, top, "d/a"),
    "moved": lambda api, top: api.post("move", items=[_id(api, top, "d/a")], parent=_id(api, top, "other")),
    "deleted": lambda api, top: delete(api, top, "d/a"),
    "deleted, and another one": _both(
        lambda api, top: delete(api, top, "d/a"), lambda api, top: write(api, top, "d/a")
    ),
    "now a folder": _both(
        lambda api, top: delete(api, top, "d/a"), lambda api, top: write(api, top, "d/a/inside")
    ),
    "folder renamed": lambda api, top: rename(api, top, "d", "d_old"),
    "folder renamed, and another one": _both(
        lambda api, top: rename(api, top, "d", "d_old"),
        lambda api, top: [write(api, top, path) for path in [*MANY, "d/sub/other"]],
    ),
    "folder deleted": lambda api, top: delete(api, top, "d"),
    "folder now a file": _both(
        lambda api, top: delete(api, top, "d"), lambda api, top: write(api, top, "d")
    ),
    "target renamed": lambda api, top: rename(api, top, "e", "e_old"),
    "target deleted": lambda api, top: delete(api, top, "e"),
    "target now a file": _both(
        lambda api, top: delete(api, top, "e"), lambda api, top: write(api, top, "e")
    ),
    "target written": lambda api, top: write(api, top, "e/x"),
    "made": lambda api, top: [
        write(api, top, path, path.encode()) for path in ("d/[ab]", "d/a[1].csv", "d/new", "other/empty/now")
    ],
}  # fmt: skip


def _append(fs: RinoFileSystem, top: str) -> None:
    with fs.open(f"{top}/d/a", "ab") as file:
        file.write(b" and more")


CHANGES: dict[str, Change] = {
    "nothing": lambda _fs, _top: None,
    "rm": lambda fs, top: fs.rm(f"{top}/d/a"),
    "rm_file": lambda fs, top: fs.rm_file(f"{top}/d/a"),
    "rm many": lambda fs, top: fs.rm([f"{top}/{path}" for path in MANY]),
    "rm pattern": lambda fs, top: fs.rm(f"{top}/d/[ab]"),
    "rm another pattern": lambda fs, top: fs.rm(f"{top}/d/a[1].csv"),
    "rm folder": lambda fs, top: fs.rm(f"{top}/d", recursive=True),
    "rm folders": lambda fs, top: fs.rm([f"{top}/d/sub", f"{top}/e"], recursive=True),
    "rm to a depth": lambda fs, top: fs.rm([f"{top}/d", f"{top}/e"], recursive=True, maxdepth=1),
    "rmdir": lambda fs, top: fs.rmdir(f"{top}/other/empty"),
    "rmdir of a full one": lambda fs, top: fs.rmdir(f"{top}/d"),
    "mv": lambda fs, top: fs.mv(f"{top}/d/a", f"{top}/d/z"),
    "mv onto": lambda fs, top: fs.mv(f"{top}/d/a", f"{top}/e/x"),
    "mv into": lambda fs, top: fs.mv(f"{top}/d/f1", f"{top}/e"),
    "mv many": lambda fs, top: fs.mv([f"{top}/{path}" for path in MANY], f"{top}/e"),
    "mv pattern": lambda fs, top: fs.mv(f"{top}/d/[ab]", f"{top}/e/"),
    "mv folder": lambda fs, top: fs.mv(f"{top}/d", f"{top}/e/moved"),
    "cp_file": lambda fs, top: fs.cp_file(f"{top}/d/a", f"{top}/e/copy"),
    "cp_file of a new one": lambda fs, top: fs.cp_file(f"{top}/d/new", f"{top}/e/x"),
    "cp into": lambda fs, top: fs.cp(f"{top}/d/a", f"{top}/e"),
    "cp many": lambda fs, top: fs.cp([f"{top}/{path}" for path in MANY], f"{top}/e/"),
    "cp pattern": lambda fs, top: fs.cp(f"{top}/d/*", f"{top}/e/"),
    "cp folder": lambda fs, top: fs.cp(f"{top}/d", f"{top}/e", recursive=True),
    "cp whole folder": lambda fs, top: fs.cp(f"{top}/d", f"{top}/e/copy", recursive=True),
    "pipe_file": lambda fs, top: fs.pipe_file(f"{top}/d/new", b"mine"),
    "pipe_file below": lambda fs, top: fs.pipe_file(f"{top}/d/a/new", b"mine"),
    "pipe": lambda fs, top: fs.pipe({f"{top}/d/{name}": b"mine" for name in "abxy"}),
    "append": _append,
    "touch": lambda fs, top: fs.touch(f"{top}/d/a"),
    "makedirs": lambda fs, top: fs.makedirs(f"{top}/d", exist_ok=True),
    "makedirs below": lambda fs, top: fs.makedirs(f"{top}/d/a/below", exist_ok=True),
    "mkdir": lambda fs, top: fs.mkdir(f"{top}/d", create_parents=False),
    "mkdir below": lambda fs, top: fs.mkdir(f"{top}/d/made", create_parents=False),
    "set_metadata": lambda fs, top: fs.set_metadata(f"{top}/d/a", {"x": 1}),
    "set_metadata_many": lambda fs, top: fs.set_metadata_many({f"{top}/{path}": {"x": 1} for path in MANY}),
    "delete_metadata": lambda fs, top: fs.delete_metadata(f"{top}/d/a", "path"),
    "set_tags": lambda fs, top: fs.set_tags(f"{top}/d/a", ["mine"]),
}


def tree(api: Api, parent: int, above: str = "") -> dict[str, Any]:
    """Return what is below a folder, as another client sees it, without what each run has anew."""
    found = {}
    for record in api.children(parent):
        path = f"{above}{record['name']}"
        found[path] = [record[field] for field in ("type", "etag", "metadata", "tags")]
        found[path].append(len(record["versions"] or ()))
        if record["type"] == "folder":
            found |= tree(api, record["id"], f"{path}/")
    return found


def outcome(change: Change, fs: RinoFileSystem, top: str) -> type[BaseException] | None:
    try:
        change(fs, top)
    except OSError as error:
        return type(error)
    return None


@pytest.fixture
def run(api: Api, options: dict[str, Any]) -> Run:
    """Carry out a change right after another client's, and return its error and what is there then."""
    fs = RinoFileSystem(**options, listings_expiry_time=3600)

    def run(change: str, interference: str, *, known: bool) -> Outcome:
        top = f"top {known}"
        make(api, top)
        if known:
            for path in fs.find(top, withdirs=True):
                fs.info(path)
                fs.ls(path)
        INTERFERENCES[interference](api, top)
        if not known:
            fs.invalidate_cache()
        error = outcome(CHANGES[change], fs, top)
        there = tree(api, api.id_of(top))
        assert set(fs.find(top, withdirs=True, refresh=True)) == {top, *(f"{top}/{path}" for path in there)}
        return error, there

    return run


@pytest.mark.one_in(9)
@pytest.mark.parametrize("interference", INTERFERENCES)
@pytest.mark.parametrize("change", CHANGES)
def test_what_was_known_makes_no_difference(run: Run, change: str, interference: str) -> None:
    """A client that has just listed everything does the same as one that knows nothing."""
    assert run(change, interference, known=True) == run(change, interference, known=False)


@pytest.mark.parametrize("change", ["rm", "rm_file", "rm many", "mv", "cp_file", "set_metadata", "set_tags"])
@pytest.mark.parametrize("interference", ["renamed", "moved", "folder renamed"])
def test_what_another_client_renamed_stays(run: Run, change: str, interference: str) -> None:
    error, there = run(change, interference, known=True)
    assert error is NotFoundError
    assert there == run("nothing", interference, known=False)[1]


@pytest.mark.parametrize("change", ["rm folder", "mv folder"])
def test_a_folder_that_another_client_renamed_stays(run: Run, change: str) -> None:
    error, there = run(change, "folder renamed", known=True)
    assert error is NotFoundError
    assert there == run("nothing", "folder renamed", known=False)[1]


@pytest.mark.parametrize("change", ["pipe_file", "pipe", "append", "makedirs", "touch"])
def test_nothing_is_stored_in_a_folder_that_another_client_renamed(run: Run, change: str) -> None:
    error, there = run(change, "folder renamed", known=True)
    assert error is None
    assert "d" in there
    kept = run("nothing", "nothing", known=False)[1]
    assert {path: one for path, one in there.items() if path.startswith("d_old/")} == {
        path.replace("d/", "d_old/", 1): one for path, one in kept.items() if path.startswith("d/")
    }


@pytest.mark.parametrize("change", ["mv many", "mv pattern", "cp into", "cp many", "cp pattern", "cp_file"])
def test_nothing_is_put_into_a_target_that_another_client_renamed(run: Run, change: str) -> None:
    _, there = run(change, "target renamed", known=True)
    kept = run("nothing", "target renamed", known=False)[1]
    assert {path for path in there if path.startswith("e_old")} == {
        path for path in kept if path.startswith("e_old")
    }


@pytest.mark.parametrize(("change", "target"), [("mv", "d/z"), ("cp_file", "e/copy"), ("cp pattern", "e/a")])
def test_what_another_client_has_just_written_is_moved_and_copied(run: Run, change: str, target: str) -> None:
    error, there = run(change, "written", known=True)
    assert error is None
    assert there[target][:4] == run("nothing", "written", known=False)[1]["d/a"][:4]


@pytest.mark.parametrize("change", ["rm", "rm many", "rm pattern"])
def test_what_another_client_has_just_written_is_removed(run: Run, change: str) -> None:
    error, there = run(change, "written", known=True)
    assert error is None
    assert "d/a" not in there


def test_a_path_that_exists_by_now_is_no_pattern(run: Run) -> None:
    error, there = run("rm another pattern", "made", known=True)
    assert error is None
    assert "d/a1.csv" in there
    assert "d/a[1].csv" not in there


def test_what_others_write_while_a_file_is_copied_in_place_of_a_move_stays(
    fs: RinoFileSystem, api: Api, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.pipe({"d/a": b"first", "e/a": b"replaced"})
    send = fs._backend.send

    def overtaken(upload: Upload) -> None:
        send(upload)
        write(api, "d", "a")

    monkeypatch.setattr(type(fs._backend), "send", lambda _backend, upload: overtaken(upload))
    if server.extensions:
        fs.mv("d/a", "e/a")  # which the server itself moves
        assert not fs.exists("d/a")
        return
    with pytest.raises(ContentChangedError, match="d/a'; it stays, and what was copied is rino://e/a"):
        fs.mv("d/a", "e/a")
    assert fs.cat_file("d/a") == b"of another client"
    assert fs.cat_file("e/a") == b"first"
