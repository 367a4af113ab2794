"""Making, removing, copying and moving."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from rinofs.errors import NotAllowedError
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.rinocloud import changes
from rinofs.rinocloud.client import RinocloudClient
from rinofs.server.catalog.records import Change
from rinofs.testing import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

FILES = {"dir/a": b"1", "dir/b": b"22", "dir/sub/c": b"333", "other/d": b"4444"}

# Only the server can check at the moment of a change.
with_extensions = pytest.mark.parametrize("either_server", [True], ids=["extended"], indirect=True)


@pytest.fixture(autouse=True)
def files(api: Api, server: LiveServer) -> dict[str, bytes]:
    for path, data in FILES.items():
        api.upload(path, data, metadata={"path": path}, tags=[path[-1]])
    server.reset()
    return dict(FILES)


def contents(fs: RinoFileSystem) -> dict[str, bytes]:
    """Return everything that is there, as another client would see it."""
    fs.invalidate_cache()
    found = fs.find("")
    return {path: fs.cat_file(path) for path in found}


def replaces(fs: RinoFileSystem) -> bool:
    """Tell whether the server itself moves and copies onto files."""
    return fs._backend.client.features.has(RinocloudExtension.VERSIONS)


# Folders


def test_folders(fs: RinoFileSystem) -> None:
    fs.mkdir("new/folder/deep")
    assert fs.isdir("new/folder/deep")
    with pytest.raises(FileNotFoundError):
        fs.mkdir("x/y", create_parents=False)
    fs.mkdir("x", create_parents=False)
    for path in ("new", "dir", "dir/a", "", "new/folder"):
        with pytest.raises(FileExistsError):
            fs.mkdir(path)
        with pytest.raises(FileExistsError):
            fs.makedirs(path)
    for path in ("new", "dir", "", "brand/new"):
        fs.makedirs(path, exist_ok=True)
    for make in (fs.mkdir, fs.makedirs, lambda path: fs.makedirs(path, exist_ok=True)):
        with pytest.raises(NotADirectoryError):
            make("dir/a/below")
        with pytest.raises(NotADirectoryError):
            make("dir/a/below/that")
    with pytest.raises(FileExistsError):
        fs.makedirs("dir/a", exist_ok=True)


def test_folders_by_id(fs: RinoFileSystem, api: Api) -> None:
    number = api.id_of("dir")
    fs.makedirs(f"@{number}", exist_ok=True)
    with pytest.raises(FileExistsError):
        fs.mkdir(f"@{number}")
    fs.mkdir(f"@{number}/new")
    assert fs.isdir("dir/new")
    with pytest.raises(NotAllowedError, match="chosen"):
        fs.mkdir("@999999")


def test_rmdir(fs: RinoFileSystem, api: Api) -> None:
    fs.mkdir("empty")
    fs.rmdir("empty")
    assert not fs.exists("empty")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("dir")
    with pytest.raises(NotADirectoryError):
        fs.rmdir("dir/a")
    fs.mkdir("quick")
    assert fs.ls("quick") == []
    api.upload("quick/file", b"1")  # nobody told us
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("quick")


@pytest.mark.parametrize("stored", ["quick/file", "quick/sub/file"])
@pytest.mark.parametrize(
    "remove",
    [
        lambda fs: fs.rmdir("quick"),
        lambda fs: fs.rm_file("quick"),
        lambda fs: fs.rm("quick", recursive=True, maxdepth=1),
    ],
    ids=["rmdir", "rm_file", "rm"],
)
@with_extensions
def test_what_others_store_in_a_folder_that_is_removed_stays(
    fs: RinoFileSystem,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    remove: Callable[[RinoFileSystem], object],
    stored: str,
) -> None:
    fs.mkdir("quick")
    send = RinocloudClient.delete

    def interfere(client: RinocloudClient, found: Any, label: str, **given: Any) -> None:
        api.upload(stored, b"by somebody else")
        send(client, found, label, **given)

    monkeypatch.setattr(RinocloudClient, "delete", interfere)
    with contextlib.suppress(OSError):
        remove(fs)
    assert contents(fs)[stored] == b"by somebody else"


# Removing


def test_rm(fs: RinoFileSystem, files: dict[str, bytes]) -> None:
    fs.rm("dir/a")
    with pytest.raises(IsADirectoryError, match="recursive"):
        fs.rm("dir/sub")
    with pytest.raises(FileNotFoundError):
        fs.rm("dir/a")
    with pytest.raises(FileNotFoundError):
        fs.rm("nothing*")
    fs.rm("dir/sub", recursive=True)
    assert contents(fs) == {"dir/b": b"22", "other/d": b"4444"}
    fs.rm("*/*")
    assert fs.find("", withdirs=True) == ["dir", "other"]


def test_rm_of_several_is_whole_or_not_at_all(fs: RinoFileSystem, api: Api, files: dict[str, bytes]) -> None:
    with pytest.raises(FileNotFoundError):
        fs.rm(["dir/a", "missing", "dir/b"])
    with pytest.raises(IsADirectoryError):
        fs.rm(["dir/a", "dir/sub"])
    assert contents(fs) == files
    fs.find("")
    api.post("delete", id=api.id_of("dir", "b"))  # nobody told us
    with pytest.raises(FileNotFoundError):
        fs.rm(["dir/a", "dir/b"])
    del files["dir/b"]
    assert contents(fs) == files
    fs.rm(["dir", "dir/sub", "dir/sub/c", "dir/a"], recursive=True)
    assert contents(fs) == {"other/d": b"4444"}


def test_rm_with_a_depth(fs: RinoFileSystem) -> None:
    fs.rm("dir", recursive=True, maxdepth=1)
    assert contents(fs) == {"dir/sub/c": b"333", "other/d": b"4444"}
    fs.rm("dir", recursive=True, maxdepth=2)
    assert fs.find("", withdirs=True) == ["other", "other/d"]


@pytest.mark.parametrize("missing", ["missing", "dir/missing", "dir/a/below", "missing/below"])
@pytest.mark.parametrize("maxdepth", [None, 1, 2])
def test_rm_of_a_path_that_does_not_exist_removes_nothing(
    fs: RinoFileSystem, files: dict[str, bytes], missing: str, maxdepth: int | None
) -> None:
    fs.find("")
    for paths in (["dir", missing], [missing, "dir", "other"], ["dir/*", missing, "dir/a", "dir/b"]):
        with pytest.raises(FileNotFoundError):
            fs.rm(paths, recursive=True, maxdepth=maxdepth)
        assert contents(fs) == files


def test_rm_of_an_empty_folder_with_a_depth(fs: RinoFileSystem) -> None:
    fs.mkdir("empty")
    fs.rm("empty", recursive=True, maxdepth=1)
    assert not fs.exists("empty")


def test_rm_of_very_many_looks_all_of_them_up_first(
    fs: RinoFileSystem, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "DELETED_AT_ONCE", 2)
    paths = [f"many/{letter}" for letter in "abcdef"]
    fs.pipe(dict.fromkeys(paths, b"1"))
    fs.find("")
    api.post("delete", id=api.id_of("many", "f"))
    with pytest.raises(FileNotFoundError, match="many/f"):
        fs.rm(paths)
    assert fs.find("many", refresh=True) == paths[:-1]
    fs.rm(paths[:-1])
    assert fs.find("many", refresh=True) == []


@pytest.mark.parametrize("change", ["written", "deleted"])
def test_rm_of_very_many_of_which_one_changes_meanwhile(
    fs: RinoFileSystem, api: Api, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(changes, "DELETED_AT_ONCE", 2)
    paths = [f"many/{letter}" for letter in "abcdef"]
    fs.pipe(dict.fromkeys(paths, b"1"))
    send, sent = RinocloudClient.delete, []

    def interfere(client: RinocloudClient, found: Any, label: str, **given: Any) -> None:
        sent.append(found)
        if len(sent) == 2 and change == "written":
            api.upload("many/d", b"by somebody else")
        elif len(sent) == 2:
            api.post("delete", id=api.id_of("many", "d"))
        send(client, found, label, **given)

    monkeypatch.setattr(RinocloudClient, "delete", interfere)
    if change == "deleted":
        with pytest.raises(FileNotFoundError, match="many/d"):
            fs.rm(paths)
        assert fs.find("many", refresh=True) == ["many/c", "many/e", "many/f"]
    else:
        fs.rm(paths)
        assert fs.find("many", refresh=True) == []


@pytest.mark.parametrize("another", [False, True], ids=["gone", "another"])
@pytest.mark.parametrize("target", ["dir/z", "other/z", "other", "other/d"])
@pytest.mark.parametrize("change", ["mv", "cp"])
@with_extensions
def test_what_others_rename_right_after_it_was_looked_up_is_not_moved_or_copied(
    fs: RinoFileSystem, api: Api, monkeypatch: pytest.MonkeyPatch, change: str, target: str, another: bool
) -> None:
    number, going = api.id_of("dir", "a"), RinocloudClient._going

    def interfere(client: RinocloudClient, *given: Any) -> dict[str, Any]:
        monkeypatch.setattr(RinocloudClient, "_going", going)
        api.post("update", id=number, name="kept")
        if another:
            api.upload("dir/a", b"another")
        return going(client, *given)

    monkeypatch.setattr(RinocloudClient, "_going", interfere)
    act = getattr(fs, change)
    if another:
        act("dir/a", target)
        assert fs.cat_file("other/a" if target == "other" else target) == b"another"
    else:
        with pytest.raises(FileNotFoundError):
            act("dir/a", target)
        assert set(contents(fs)) == {"dir/kept", *FILES} - {"dir/a"}
    assert fs.cat_file("dir/kept") == b"1"
    assert fs.info("dir/kept", refresh=True)["id"] == number


@pytest.mark.parametrize("renamed", ["dir/a", "dir/sub", "dir"])
@pytest.mark.parametrize("again", [False, True], ids=["gone", "another"])
@pytest.mark.parametrize(
    "remove",
    [
        lambda fs: fs.rm("dir/a"),
        lambda fs: fs.rm(["dir/a", "dir/b", "other/d"]),
        lambda fs: fs.rm("dir", recursive=True),
        lambda fs: fs.rm(["other/d", "dir/sub"], recursive=True),
        lambda fs: fs.rm("dir/*", recursive=True),
    ],
    ids=["one", "many", "folder", "two", "pattern"],
)
@with_extensions
def test_what_others_rename_right_after_it_was_looked_up_stays(
    fs: RinoFileSystem,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    remove: Callable[[RinoFileSystem], object],
    renamed: str,
    again: bool,
) -> None:
    number = api.id_of(*renamed.split("/"))
    send = RinocloudClient.delete

    def interfere(client: RinocloudClient, found: Any, label: str, **given: Any) -> None:
        monkeypatch.setattr(RinocloudClient, "delete", send)
        api.post("update", id=number, name="kept")
        if again:
            api.upload("dir/a" if renamed == "dir/a" else f"{renamed}/a", b"another")
        send(client, found, label, **given)

    monkeypatch.setattr(RinocloudClient, "delete", interfere)
    with contextlib.suppress(FileNotFoundError):
        remove(fs)
    inside_what_is_deleted = renamed != "dir" and not fs.exists("dir", refresh=True)
    assert inside_what_is_deleted or api.post("get_metadata", id=number)["name"] == "kept"


def test_the_top_level_stays(fs: RinoFileSystem, files: dict[str, bytes]) -> None:
    everything: list[str | list[str]] = ["", "/", ["dir", ""]]
    for paths in everything:
        with pytest.raises(PermissionError):
            fs.rm(paths, recursive=True)
    assert contents(fs) == files


def test_rm_removes_the_versions_too(fs: RinoFileSystem, api: Api) -> None:
    first = api.id_of("dir", "a")
    fs.pipe_file("dir/a", b"new")
    fs.rm("dir/a")
    assert not fs.exists(f"@{first}")


# Moving


def test_mv_of_files(fs: RinoFileSystem, api: Api) -> None:
    number = api.id_of("dir", "a")
    fs.mv("dir/a", "dir/renamed")
    assert fs.info("dir/renamed")["id"] == number
    fs.mv("dir/renamed", "other")
    assert fs.info("other/renamed")["id"] == number
    fs.mv("other/renamed", "brand/new/name")
    assert fs.info("brand/new/name")["id"] == number
    assert fs.info("brand/new/name")["metadata"] == {"path": "dir/a"}
    fs.mv("brand/new/name", "other/d")
    assert (fs.info("other/d")["id"] == number) == replaces(fs)
    fs.mv("other/d", "/")
    assert contents(fs) == {"d": b"1", "dir/b": b"22", "dir/sub/c": b"333"}


def test_mv_of_folders(fs: RinoFileSystem, api: Api) -> None:
    number = api.id_of("dir")
    fs.find("")
    fs.mv("dir", "renamed")
    assert fs.find("renamed") == ["renamed/a", "renamed/b", "renamed/sub/c"]
    assert not fs.exists("dir/a")
    fs.mv("renamed", "other/")
    assert fs.info("other/renamed")["id"] == number
    assert fs.cat_file("other/renamed/sub/c") == b"333"
    assert not fs.exists("renamed")


def test_mv_of_several(fs: RinoFileSystem) -> None:
    fs.mv(["dir/a", "dir/sub"], "other")
    assert contents(fs) == {"dir/b": b"22", "other/a": b"1", "other/d": b"4444", "other/sub/c": b"333"}
    fs.mv("other/[ad]", "dir")
    assert sorted(contents(fs)) == ["dir/a", "dir/b", "dir/d", "other/sub/c"]
    with pytest.raises(NotADirectoryError):
        fs.mv(["dir/a", "dir/b"], "nowhere")


def test_mv_that_cannot_be(fs: RinoFileSystem, files: dict[str, bytes]) -> None:
    fs.mkdir("other/dir")
    fs.mkdir("x/dir")
    for source, target, error in (
        ("missing", "x", FileNotFoundError),
        ("missing", "missing", FileNotFoundError),
        ("dir/missing", "dir", FileNotFoundError),
        ("dir", "other", FileExistsError),
        ("dir", "other/d", NotADirectoryError),
        ("other/d", "dir/a/x", NotADirectoryError),
        ("dir", "dir/sub/x", OSError),
        ("dir", "dir/sub", OSError),
        ("dir", "dir/new/folder", OSError),
        ("dir/a", "@999999", PermissionError),
    ):
        with pytest.raises(error):
            fs.mv(source, target)
    with pytest.raises(IsADirectoryError):
        fs.mv("dir", "y", recursive=False)
    with pytest.raises(NotImplementedError):
        fs.mv("dir", "y", maxdepth=1)
    assert contents(fs) == files
    assert not fs.exists("dir/new")


def test_mv_to_where_it_is(fs: RinoFileSystem, files: dict[str, bytes], server: LiveServer) -> None:
    fs.mv("dir/a", "dir/a")
    fs.mv("dir", "dir")
    fs.mv("dir/a", "dir")
    assert contents(fs) == files


def test_mv_by_ids(fs: RinoFileSystem, api: Api) -> None:
    a, b, sub, other = (api.id_of(*path.split("/")) for path in ("dir/a", "dir/b", "dir/sub", "other"))
    fs.mv(f"@{a}", f"@{other}")
    assert fs.info("other/a")["id"] == a
    fs.mv(f"@{a}", "")
    assert fs.info("a")["id"] == a
    fs.mv(f"@{a}", f"@{b}")  # in its place
    assert (fs.info("dir/b")["id"] == a) == replaces(fs)
    assert fs.info("dir/b")["versions"] == [b]
    assert fs.cat_file(f"@{b}") == b"22"
    fs.mv(f"@{sub}", f"@{other}/renamed")
    assert contents(fs) == {"dir/b": b"1", "other/d": b"4444", "other/renamed/c": b"333"}


@pytest.mark.parametrize("path", ["dir", "dir/sub", "dir/a"])
def test_mv_to_its_own_id_changes_nothing(
    fs: RinoFileSystem, files: dict[str, bytes], server: LiveServer, path: str
) -> None:
    number = fs.info(path)["id"]
    for source, target in ((path, f"@{number}"), (f"@{number}", path), (f"@{number}", f"@{number}")):
        fs.mv(source, target, recursive=True)
    assert contents(fs) == files
    assert fs.info(path)["id"] == number


def test_a_moved_file_keeps_its_versions(fs: RinoFileSystem) -> None:
    fs.pipe_file("dir/a", b"second")
    fs.mv("dir/a", "other/moved")
    assert [fs.cat_file(f"@{info['id']}") for info in fs.versions("other/moved")] == [b"1", b"second"]


def test_a_file_with_versions_moves_onto_one_that_its_id_names(fs: RinoFileSystem, api: Api) -> None:
    fs.pipe_file("dir/a", b"second")
    fs.mv("dir/a", f"dir/@{api.id_of('dir', 'b')}")
    assert not fs.exists("dir/a")
    kept = sorted(fs.cat_file(f"@{info['id']}") for info in fs.versions("dir/b"))
    assert (fs.cat_file("dir/b"), kept) == (b"second", [b"1", b"22", b"second"])


# Copying


def test_cp_of_files(fs: RinoFileSystem, api: Api) -> None:
    fs.pipe_file("dir/a", b"second", metadata={"n": 2}, tags=["x"])
    replaced = fs.info("other/d")["id"]
    fs.cp("dir/a", "other")
    fs.cp("dir/a", "other/d")
    fs.cp_file("dir/a", "brand/new/copy")
    for path, earlier in (("other/a", []), ("other/d", [replaced]), ("brand/new/copy", [])):
        info = fs.info(path)
        assert (info["metadata"], info["tags"], info["versions"]) == ({"n": 2}, ["x"], earlier)
        assert fs.cat_file(path) == b"second"
    fs.pipe_file("other/a", b"third")
    assert fs.cat_file("dir/a") == b"second"


def test_cp_of_folders(fs: RinoFileSystem, files: dict[str, bytes]) -> None:
    fs.cp("dir", "copy", recursive=True)
    fs.cp("dir", "other", recursive=True)
    fs.cp("dir/", "other", recursive=True)
    inside = {path.removeprefix("dir"): data for path, data in files.items() if path.startswith("dir")}
    copies = {f"{top}{name}": data for top in ("copy", "other/dir", "other") for name, data in inside.items()}
    assert contents(fs) == files | copies
    fs.cp("dir", "dir/sub/again", recursive=True)
    assert fs.find("dir/sub/again") == ["dir/sub/again/a", "dir/sub/again/b", "dir/sub/again/sub/c"]
    fs.cp("dir", "flat")
    assert not fs.exists("flat")


def test_cp_of_everything(fs: RinoFileSystem, files: dict[str, bytes]) -> None:
    fs.cp("", "backup", recursive=True)
    assert contents(fs) == files | {f"backup/{path}": data for path, data in files.items()}


def test_cp_that_cannot_be(fs: RinoFileSystem, files: dict[str, bytes]) -> None:
    for source, target, error in (
        ("missing", "x", FileNotFoundError),
        ("dir/a", "dir/b/x", NotADirectoryError),
        ("dir/a", "@999999", PermissionError),
    ):
        with pytest.raises(error):
            fs.cp(source, target)
    with pytest.raises(FileNotFoundError):
        fs.cp("missing", "x", recursive=True)
    with pytest.raises(FileExistsError):
        fs.cp("dir", "other/d", recursive=True)
    with pytest.raises(FileExistsError):
        fs.cp_file("dir/a", "other")
    fs.cp(["dir/a", "missing"], ["x/a", "x/b"], on_error="ignore")
    assert contents(fs) == files | {"x/a": b"1"}


def test_cp_to_where_it_is(fs: RinoFileSystem, api: Api, files: dict[str, bytes]) -> None:
    number = api.id_of("dir", "a")
    for source, target in (
        ("dir/a", "dir/a"),
        ("dir/a", f"@{number}"),
        (f"@{number}", "dir/a"),
        ("dir/a", "dir"),
    ):
        fs.cp(source, target)
    assert contents(fs) == files
    assert api.id_of("dir", "a") == number


def test_cp_by_ids(fs: RinoFileSystem, api: Api, files: dict[str, bytes]) -> None:
    a, sub, other = (api.id_of(*path.split("/")) for path in ("dir/a", "dir/sub", "other"))
    fs.cp(f"@{a}", f"@{other}")
    fs.cp(f"@{a}", f"@{other}/d")
    fs.cp(f"@{sub}", f"@{other}", recursive=True)
    assert contents(fs) == files | {"other/a": b"1", "other/d": b"1", "other/sub/c": b"333"}


def test_cp_into_itself_by_ids(fs: RinoFileSystem, api: Api, files: dict[str, bytes]) -> None:
    fs.cp(f"@{api.id_of('dir')}", "dir/sub/again", recursive=True)
    assert contents(fs) == files | {
        "dir/sub/again/a": b"1",
        "dir/sub/again/b": b"22",
        "dir/sub/again/sub/c": b"333",
    }


def test_cp_of_an_earlier_version(fs: RinoFileSystem, api: Api) -> None:
    first = api.id_of("dir", "a")
    fs.pipe_file("dir/a", b"second")
    fs.cp(f"@{first}", "old")
    assert fs.cat("old") == b"1"
    with pytest.raises(NotAllowedError):
        fs.mv(f"@{first}", "x")
    with pytest.raises(NotAllowedError):
        fs.rm(f"@{first}")


# What others did meanwhile


def test_what_was_known_of_source_and_target_was_overtaken(fs: RinoFileSystem, api: Api) -> None:
    fs.find("", withdirs=True)
    for name in ("dir", "other"):
        fs.info(name)
        api.post("delete", id=api.id_of(name))
    api.upload("dir/a", b"new")
    api.upload("other/e", b"5")
    fs.cp("dir/a", "other/copied")
    fs.invalidate_cache()
    fs.find("", withdirs=True)
    api.post("delete", id=api.id_of("dir"))
    api.post("delete", id=api.id_of("other"))
    api.upload("dir/a", b"newer")
    api.upload("other/f", b"6")
    fs.mv("dir/a", "other/moved")
    assert contents(fs) == {"other/f": b"6", "other/moved": b"newer"}
    assert fs._backend.client.features.lacking == set()


# What is sent again


def retried(
    fs: RinoFileSystem,
    server: LiveServer,
    endpoint: str,
    change: Callable[[], Any],
    meanwhile: Callable[[], Any],
) -> None:
    """Make a change whose first answer is lost, and another client's before it is sent again."""
    sent: list[str] = []

    def lose(_method: str, path: str) -> Fault | None:
        if path.strip("/").rpartition("/")[2] != endpoint:
            return None
        sent.append(path)
        if len(sent) == 1:
            return Fault(lose_answer=True)
        meanwhile()
        return None

    fs.find("")
    server.faults = lose
    change()
    server.faults = None
    assert len(sent) == 2
    fs.invalidate_cache()


@pytest.mark.parametrize(
    "endpoint", ["update", "delete_metadata_field", "move", "create_folder_if_not_exist"]
)
def test_what_is_sent_again_undoes_nothing_of_others(
    fs: RinoFileSystem, server: LiveServer, api: Api, endpoint: str
) -> None:
    store, user = server._services.store, server._user
    a, folder = api.id_of("dir", "a"), api.id_of("dir")

    def remove_new() -> None:
        store.delete(user, [store.get(user, ["new"]).id])

    mine, theirs, is_theirs = {
        "update": (
            lambda: fs.set_metadata("dir/a", {"x": "mine"}),
            lambda: store.update(user, a, Change(merged={"x": "theirs"})),
            lambda: fs.get_metadata("dir/a")["x"] == "theirs",
        ),
        "delete_metadata_field": (
            lambda: fs.delete_metadata("dir/a", "path"),
            lambda: store.update(user, a, Change(merged={"path": "theirs"})),
            lambda: fs.get_metadata("dir/a").get("path") == "theirs",
        ),
        "move": (
            lambda: fs.mv("dir/a", "other/a"),
            lambda: store.move(user, [a], folder),
            lambda: fs.exists("dir/a"),
        ),
        "create_folder_if_not_exist": (
            lambda: fs.makedirs("new", exist_ok=True),
            remove_new,
            lambda: not fs.exists("new"),
        ),
    }[endpoint]
    retried(fs, server, endpoint, mine, theirs)
    assert is_theirs() == server.extensions  # published servers carry out what is sent again


# What is in the way is not lost


def test_what_would_be_replaced_stays_if_that_fails(
    fs: RinoFileSystem, server: LiveServer, files: dict[str, bytes]
) -> None:
    fs.find("")
    refused = {"copy", "move"} if replaces(fs) else {"upload_multipart"}

    def refuse(method: str, path: str) -> Fault | None:
        asked = path.strip("/").rpartition("/")[2]
        return Fault(status=403, body=b'{"error": "no"}') if asked in refused else None

    server.faults = refuse
    for change in (fs.cp_file, fs.mv):
        with pytest.raises(PermissionError):
            change("dir/a", "other/d")
    server.faults = None
    assert contents(fs) == files
    assert fs.info("other/d")["versions"] == []
