"""Changes act on the datapack that has the name now, whatever was known of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem
from rinofs.repovizz.client import RepovizzClient
from rinofs.repovizz.documents.queues import Queues
from rinofs.testing import Fault
from tests.repovizz.api import Api, container, data, empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer

CHANGES: dict[str, Callable[[RepovizzFileSystem, str], Any]] = {
    "rm": lambda fs, pack: fs.rm(f"{pack}/a"),
    "rm of several": lambda fs, pack: fs.rm([f"{pack}/a", f"{pack}/b"]),
    "rm of a datapack": lambda fs, pack: fs.rm(pack, recursive=True),
    "mv": lambda fs, pack: fs.mv(f"{pack}/a", f"{pack}/moved"),
    "mv of a datapack": lambda fs, pack: fs.mv(pack, f"{pack} moved"),
    "cp": lambda fs, pack: fs.copy(f"{pack}/a", f"{pack}/copied"),
    "mkdir": lambda fs, pack: fs.mkdir(f"{pack}/folder"),
    "makedirs": lambda fs, pack: fs.makedirs(f"{pack}/folder", exist_ok=True),
}


@pytest.fixture
def first(fs: RepovizzFileSystem, name: str, api: Api) -> str:
    """The id of a datapack that the filesystem knows, and that another client then renames."""
    identifier = api.create(name, *(data(file, f"{file}.csv") for file in "ab"))
    fs.find(name)
    api.post(f"/datapacks/{identifier}", name=f"{name} renamed")
    return identifier


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_renamed_datapack_stays_as_it_is(
    change: Callable[[RepovizzFileSystem, str], Any], fs: RepovizzFileSystem, name: str, api: Api, first: str
) -> None:
    before = api.get(f"/datapacks/{first}")["structure"]
    if change in (CHANGES["mkdir"], CHANGES["makedirs"]):
        change(fs, name)  # makes the datapack, as for any name that is free
    else:
        with pytest.raises(FileNotFoundError):
            change(fs, name)
    assert api.get(f"/datapacks/{first}")["structure"] == before
    assert api.get(f"/datapacks/{first}")["name"] == f"{name} renamed"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_one_that_has_the_name_now_is_changed(
    change: Callable[[RepovizzFileSystem, str], Any], fs: RepovizzFileSystem, name: str, api: Api, first: str
) -> None:
    second = api.create(name, *(data(file, f"{file}.csv") for file in "ab"))
    before = api.get(f"/datapacks/{second}")
    try:
        change(fs, name)
    except NotImplementedError:  # a server without extensions deletes no datapacks
        assert change is CHANGES["rm of a datapack"]
        return
    assert api.get(f"/datapacks/{first}")["structure"] == api.structure(first)
    assert len(api.structure(first)["children"]) == 2
    if change is CHANGES["rm of a datapack"]:
        assert second not in api.ids()
        assert first in api.ids()
    else:
        assert api.get(f"/datapacks/{second}") != before


def parts(fs: RepovizzFileSystem, path: str) -> set[str]:
    return {child.rpartition("/")[2] for child in fs.ls(path, detail=False, refresh=True)}


def test_several_copies_at_once_leave_a_renamed_datapack_as_it_is(
    fs: RepovizzFileSystem, name: str, api: Api
) -> None:
    files = [data(f"f{number}", f"f{number}.csv") for number in range(12)]
    old = [api.create(f"{name} {which}", *files) for which in range(2)]
    for which in range(2):
        fs.find(f"{name} {which}")
        api.post(f"/datapacks/{old[which]}", name=f"{name} {which} renamed")
    new = [api.create(f"{name} {which}", *files) for which in range(2)]
    sources = [f"{name} {which}/f{number}" for which in range(2) for number in range(12)]
    fs.copy(sources, [f"{source} copied" for source in sources])
    assert [len(api.structure(identifier)["children"]) for identifier in old] == [12, 12]
    assert [len(api.structure(identifier)["children"]) for identifier in new] == [24, 24]


def test_a_recursive_copy_takes_what_is_there_now(fs: RepovizzFileSystem, name: str, api: Api) -> None:
    identifier = api.create(name, container("run", data("a", "a.csv"), data("b", "b.csv")))
    fs.find(name)
    api.edit(identifier, {**api.structure(identifier), "children": [container("run", data("c", "c.csv"))]})
    fs.cp(f"{name}/run", f"{name}/again", recursive=True)
    assert parts(fs, f"{name}/again") == {"c"}
    api.post(f"/datapacks/{identifier}", name=f"{name} renamed")
    api.create(name, container("run", data("d", "d.csv"), data("e", "e.csv")))
    fs.cp(f"{name}/run", f"{name}/again", recursive=True)
    assert parts(fs, f"{name}/again") == {"d", "e"}


def test_a_pattern_stands_for_what_is_there_now(fs: RepovizzFileSystem, name: str, api: Api) -> None:
    identifier = api.create(name, data("f1", "f1.csv"), data("other", "other.csv"))
    fs.find(name)
    structure = api.structure(identifier)
    api.edit(identifier, {**structure, "children": [*structure["children"], data("f2", "f2.csv")]})
    fs.rm(f"{name}/f*")
    assert parts(fs, name) == {"other"}


def test_a_copy_of_a_document_goes_to_the_datapack_that_has_the_name_now(
    fs: RepovizzFileSystem, name: str, api: Api, first: str
) -> None:
    api.create(f"{name} source")
    before = api.structure(first)
    second = api.create(name)
    fs.cp_file(f"{name} source/datapack.json", f"{name}/document.json")
    assert api.structure(first) == before
    assert [child["name"] for child in api.structure(second)["children"]] == ["document.json"]


def test_a_lookup_that_fails_is_repeated(
    fs: RepovizzFileSystem, name: str, api: Api, first: str, server: LiveServer
) -> None:
    before = api.structure(first)
    second = api.create(name, *(data(file, f"{file}.csv") for file in "ab"))
    failing = [f"/api/v1.0/datapacks/{first}"]

    def once(_method: str, path: str) -> Fault | None:
        if path not in failing:
            return None
        failing.remove(path)
        return Fault(status=400)

    server.faults = once
    assert fs.copy([f"{name}/a", f"{name}/b"], [f"{name}/c", f"{name}/d"], on_error="return") == {}
    assert not failing
    assert api.structure(first) == before
    assert [child["name"] for child in api.structure(second)["children"]] == ["a", "b", "c", "d"]


UPLOADS: dict[str, Callable[[RepovizzFileSystem, str], Any]] = {
    "pipe": lambda fs, pack: fs.pipe(f"{pack}/a", b"new"),
    "pipe of the same content": lambda fs, pack: fs.pipe(f"{pack}/a", b"old"),
    "pipe of a new file": lambda fs, pack: fs.pipe(f"{pack}/folder/c", b"new"),
    "pipe of several": lambda fs, pack: fs.pipe({f"{pack}/{file}": b"new" for file in "abc"}),
    "touch": lambda fs, pack: fs.touch(f"{pack}/a"),
    "write": lambda fs, pack: write(fs, f"{pack}/a"),
    "document": lambda fs, pack: fs.pipe(f"{pack}/datapack.json", json.dumps(empty(pack)).encode()),
}


def write(fs: RepovizzFileSystem, path: str) -> None:
    with fs.open(path, "wb") as file:
        file.write(b"new")


@pytest.fixture
def written(fs: RepovizzFileSystem, name: str, api: Api) -> str:
    """The id of a datapack with contents that the filesystem knows, and that another client then renames."""
    fs.pipe({f"{name}/{file}": b"old" for file in "ab"})
    identifier = str(fs.info(name)["id"])
    fs.find(name)
    api.post(f"/datapacks/{identifier}", name=f"{name} renamed")
    return identifier


@pytest.mark.parametrize("exists", [False, True], ids=["no successor", "successor"])
@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
def test_uploads_go_to_the_datapack_that_has_the_name_now(
    upload: Callable[[RepovizzFileSystem, str], Any],
    exists: bool,
    fs: RepovizzFileSystem,
    name: str,
    api: Api,
    written: str,
) -> None:
    if exists:
        api.create(name, data("other", "other.csv"))
    upload(fs, name)
    assert api.get(f"/datapacks/{written}")["name"] == f"{name} renamed"
    assert {child["name"] for child in api.structure(written)["children"]} == {"a", "b"}
    assert fs.cat([f"{written}/a", f"{written}/b"]) == {f"{written}/a": b"old", f"{written}/b": b"old"}
    [now] = [number for number in api.ids() if api.get(f"/datapacks/{number}")["name"] == name]
    children = {child["name"] for child in api.structure(now)["children"]}
    if upload is UPLOADS["document"]:
        assert children == set()
    else:
        assert children > ({"other"} if exists else set())
        fs.invalidate_cache()
        contents = {path: fs.cat(path) for path in fs.find(name) if not path.endswith("/other")}
        wanted = {"touch": b"", "pipe of the same content": b"old"}
        [which] = [key for key, value in UPLOADS.items() if value is upload]
        assert set(contents.values()) == {wanted.get(which, b"new")}


NODES = {key: change for key, change in CHANGES.items() if not key.endswith("datapack")}


@pytest.mark.parametrize("change", NODES.values(), ids=NODES)
def test_what_is_renamed_after_it_was_looked_up_stays(
    change: Callable[[RepovizzFileSystem, str], Any],
    fs: RepovizzFileSystem,
    name: str,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = api.create(name, *(data(file, f"{file}.csv") for file in "ab"))
    before = api.structure(first)
    work, renamed = Queues.work, []

    def renamed_before(*arguments: Any) -> None:
        if not renamed:
            renamed.append(api.post(f"/datapacks/{first}", name=f"{name} renamed"))
        work(*arguments)

    monkeypatch.setattr(Queues, "work", renamed_before)
    with pytest.raises(FileNotFoundError, match=f"renamed .* to '{name} renamed'"):
        change(fs, name)
    assert api.get(f"/datapacks/{first}")["name"] == f"{name} renamed"
    assert {child["name"] for child in api.structure(first)["children"]} == {"a", "b"}
    assert api.structure(first)["children"] == before["children"]


def test_a_datapack_that_is_renamed_twice_at_once_has_the_first_name(
    extended: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api.of(extended)
    fs = RepovizzFileSystem(endpoint_url=extended.endpoint_url, token=extended.token)
    first = api.create("twice")
    edit, renamed = RepovizzClient.edit, []

    def renamed_before(*arguments: Any, **options: Any) -> Any:
        if not renamed:
            renamed.append(api.post(f"/datapacks/{first}", name="twice, by another"))
        return edit(*arguments, **options)

    monkeypatch.setattr(RepovizzClient, "edit", renamed_before)
    with pytest.raises(FileNotFoundError, match="another client has renamed twice"):
        fs.mv("twice", "twice, by me")
    assert api.get(f"/datapacks/{first}")["name"] == "twice, by another"


def test_a_datapack_that_is_addressed_by_its_id_keeps_it(
    fs: RepovizzFileSystem, name: str, api: Api, written: str
) -> None:
    fs.pipe(f"{written}/a", b"new")
    fs.rm(f"{written}/b")
    assert fs.cat(f"{written}/a") == b"new"
    assert [child["name"] for child in api.structure(written)["children"]] == ["a"]


def test_a_new_datapack_is_listed_in_place_of_one_that_was_renamed(
    fs: RepovizzFileSystem, name: str, api: Api
) -> None:
    first = api.create(name)
    fs.ls("")
    api.post(f"/datapacks/{first}", name=f"{name} renamed")
    fs.mkdir(name)
    listed = {info["name"]: info["id"] for info in fs.ls("")}
    assert listed[name] == fs.info(name)["id"] != first
    assert listed[f"{name} renamed"] == first


def test_an_upload_makes_no_old_document_new(
    plain_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api.of(plain_server)
    fs = RepovizzFileSystem(endpoint_url=plain_server.endpoint_url, token=plain_server.token)
    identifier = api.create("old", data("a", "a.csv"))
    fs.find("old")
    upload = RepovizzClient.upload

    def overtaken(*arguments: Any) -> str:
        structure = api.structure(identifier)
        api.edit(identifier, {**structure, "children": [*structure["children"], data("other", "other.csv")]})
        fs.invalidate_cache()
        return upload(*arguments)

    monkeypatch.setattr(RepovizzClient, "upload", overtaken)
    fs.pipe("old/a", b"new")
    assert fs.ls("old", detail=False) == ["old/a", "old/other"]


def test_a_datapack_that_is_named_twice_is_removed_once(extended: LiveServer) -> None:
    api = Api.of(extended)
    fs = RepovizzFileSystem(endpoint_url=extended.endpoint_url, token=extended.token)
    identifier = api.create("named twice")
    fs.rm(["named twice", identifier], recursive=True)
    assert identifier not in api.ids()
