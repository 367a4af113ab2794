"""Several writers of one datapack at the same time lose nothing of each other's."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem
from rinofs.datapack import parse
from rinofs.datapack.document.validation import flaws
from rinofs.errors import ContentChangedError, PreconditionError
from rinofs.fs.backend import Upload
from rinofs.repovizz.backend import RepovizzBackend, Shared
from rinofs.testing import Fault
from tests.repovizz.api import Api, container
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer

PROGRAM = """
import sys
from rinofs import RepovizzFileSystem
fs = RepovizzFileSystem(endpoint_url=sys.argv[1], token=sys.argv[2])
for number in range(int(sys.argv[5])):
    fs.pipe_file(f"{sys.argv[3]}/{sys.argv[4]}/{number}.txt", f"{sys.argv[4]} {number}".encode())
"""


class Stranger(RepovizzFileSystem):
    """Shares nothing with the others: as if it were in a process of its own."""

    cachable = False

    def _connect(self, credentials: Any, url: Any) -> RepovizzBackend:
        return RepovizzBackend(credentials, self.options, url, Shared())


def stranger(server: LiveServer) -> Stranger:
    return Stranger(endpoint_url=server.endpoint_url, token=server.token)


def written(server: LiveServer, pack: str) -> dict[str, bytes]:
    """Return all contents as an outsider sees them, and look that the document is valid."""
    fs = stranger(server)
    assert not flaws(parse(fs.cat_file(f"{pack}/datapack.json")))
    found: dict[str, bytes] = fs.cat(pack, recursive=True)
    return {path.removeprefix(f"{pack}/"): data for path, data in found.items()}


def test_fifty_writers_at_once_all_succeed(extended: LiveServer, name: str) -> None:
    stranger(extended).mkdir(name)
    together = threading.Barrier(50)

    def write(number: int) -> None:
        fs = stranger(extended)
        together.wait()
        fs.pipe_file(f"{name}/c{number % 7}/{number}.txt", str(number).encode())

    with ThreadPoolExecutor(50) as executor:
        list(executor.map(write, range(50)))
    assert written(extended, name) == {f"c{n % 7}/{n}.txt": str(n).encode() for n in range(50)}


def test_fifty_threads_of_one_process_take_turns(
    server: LiveServer, fs: RepovizzFileSystem, pack: str
) -> None:
    with ThreadPoolExecutor(50) as executor:
        list(executor.map(lambda n: fs.pipe_file(f"{pack}/{n}.txt", str(n).encode()), range(50)))
    assert written(server, pack) == {f"{n}.txt": str(n).encode() for n in range(50)}
    conflicts = [request for request in server.requests if request.status == 412]
    assert len(conflicts) < 10


def test_two_processes_lose_nothing(extended: LiveServer, name: str) -> None:
    stranger(extended).mkdir(name)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, extended.endpoint_url, extended.token, name, who, "10"]
        )
        for who in ("one", "two")
    ]
    assert [program.wait(PATIENCE) for program in programs] == [0, 0]
    expected = {f"{who}/{n}.txt": f"{who} {n}".encode() for who in ("one", "two") for n in range(10)}
    assert written(extended, name) == expected


def test_an_edit_is_applied_to_what_others_made_of_the_document(extended: LiveServer, name: str) -> None:
    one, two = stranger(extended), stranger(extended)
    one.mkdir(name)
    two.ls(name)  # knows the empty datapack
    one.pipe_file(f"{name}/theirs.txt", b"theirs")
    two.pipe_file(f"{name}/mine.txt", b"mine")
    two.mkdir(f"{name}/folder")
    one.rm(f"{name}/theirs.txt")
    two.mv(f"{name}/mine.txt", f"{name}/folder/mine.txt")
    assert written(extended, name) == {"folder/mine.txt": b"mine"}


def test_what_is_not_there_any_more_is_not_found(extended: LiveServer, name: str) -> None:
    one, two = stranger(extended), stranger(extended)
    one.pipe_file(f"{name}/a.txt", b"a")
    two.ls(name)
    one.rm(f"{name}/a.txt")
    with pytest.raises(FileNotFoundError):
        two.rm(f"{name}/a.txt")
    one.pipe_file(f"{name}/b.txt", b"b")
    with pytest.raises(FileExistsError):
        two.pipe_file(f"{name}/b.txt", b"other", mode="create")
    assert two.cat_file(f"{name}/b.txt") == b"b"


def test_overwriting_does_not_touch_who_shares_the_content(
    server: LiveServer, fs: RepovizzFileSystem, pack: str
) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"same")
    fs.cp_file(f"{pack}/a.txt", f"{pack}/b.txt")
    fs.pipe_file(f"{pack}/c.txt", b"same")
    fs.pipe_file(f"{pack}/a.txt", b"other")
    assert written(server, pack) == {"a.txt": b"other", "b.txt": b"same", "c.txt": b"same"}


def test_overwriting_does_not_touch_who_begins_to_share_it_meanwhile(extended: LiveServer, name: str) -> None:
    one, two = stranger(extended), stranger(extended)
    one.pipe_file(f"{name}/a.txt", b"same")
    two.ls(name)
    one.cp_file(f"{name}/a.txt", f"{name}/b.txt")  # two does not know of it
    two.pipe_file(f"{name}/a.txt", b"other")
    assert written(extended, name) == {"a.txt": b"other", "b.txt": b"same"}


def test_others_edits_between_look_and_edit_are_kept_on_a_plain_server(
    plain_server: LiveServer, name: str
) -> None:
    plain_server.reset()
    one, two = stranger(plain_server), stranger(plain_server)
    one.mkdir(name)
    two.ls(name)
    one.pipe_file(f"{name}/one.txt", b"1")
    two.pipe_file(f"{name}/two.txt", b"2")
    assert written(plain_server, name) == {"one.txt": b"1", "two.txt": b"2"}


@pytest.mark.parametrize("path", ["new.txt", "shared.txt"])
def test_others_edits_while_a_content_is_sent_are_kept(server: LiveServer, name: str, path: str) -> None:
    one, two = stranger(server), stranger(server)
    one.pipe_file(f"{name}/shared.txt", b"shared")
    one.cp_file(f"{name}/shared.txt", f"{name}/twin.txt")
    two.ls(name)

    class Slow(io.BytesIO):
        """A content that somebody else is faster than."""

        done = False

        def readinto(self, buffer: Any) -> int:
            if not self.done:
                self.done = True
                one.mkdir(f"{name}/meanwhile")
                one.mv(f"{name}/twin.txt", f"{name}/meanwhile/twin.txt")
            return super().readinto(buffer)

    slow = Slow(b"slow")
    two._backend.send(Upload(f"{name}/{path}", slow, 4))
    assert slow.done
    expected = {"shared.txt": b"shared", "meanwhile/twin.txt": b"shared", path: b"slow"}
    assert written(server, name) == expected


def test_a_writer_gives_up_on_a_datapack_that_never_rests(
    extended: LiveServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rinofs.repovizz.documents.editor

    monkeypatch.setattr(rinofs.repovizz.documents.editor, "MAX_TRIES", 3)
    fs = stranger(extended)
    fs.mkdir(name)
    identifier = fs.info(name)["id"]
    edits = lambda method, path: method == "POST" and path.endswith(identifier)  # noqa: E731
    extended.faults = lambda method, path: Fault(status=412) if edits(method, path) else None
    with pytest.raises(PreconditionError, match="during 3 attempts"):
        fs.mkdir(f"{name}/folder")
    assert len([request for request in extended.requests if request.status == 412]) == 3


@pytest.mark.parametrize(
    ("moved", "stored"),
    [("x", "x"), ("d", "d/a"), ("d", "d/new"), ("d", "d/e/new"), ("x", "d/a"), ("d", "x")],
    ids=["file", "file in the folder", "new file", "new folder", "file elsewhere", "file beside it"],
)
def test_what_others_store_during_a_move_to_another_datapack_stays(
    server: LiveServer, name: str, moved: str, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, other = stranger(server), stranger(server)
    source, target = f"{name}/{moved}", f"{name} target/moved"
    fs.pipe({f"{name}/x": b"x", f"{name}/d/a": b"a"})
    fs.mkdir(f"{name} target")

    def overtaken(send: Callable[..., str]) -> Callable[..., str]:
        def act(*args: Any) -> str:
            answer = send(*args)
            monkeypatch.undo()
            other.pipe_file(f"{name}/{stored}", b"of another client")
            return answer

        return act

    for step in ("store", "upload"):  # with extensions and without
        monkeypatch.setattr(fs._backend.client, step, overtaken(getattr(fs._backend.client, step)))
    if f"{stored}/".startswith(f"{moved}/"):
        with pytest.raises(ContentChangedError, match=f"{source}'; it stays, and what was copied is .*moved"):
            fs.mv(source, target)
        assert {f"{name}/x", f"{name}/d/a"} <= set(fs.find(name))
    else:
        fs.mv(source, target)
        assert not fs.exists(source)
    assert fs.cat_file(f"{name}/{stored}") == b"of another client"
    assert list(fs.cat(target, recursive=True).values() if moved == "d" else [fs.cat(target)]) == [
        {"x": b"x", "d": b"a"}[moved]
    ]


def test_a_datapack_that_others_change_during_a_move_into_another_one_stays(
    extended: LiveServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, other = stranger(extended), stranger(extended)
    fs.pipe({f"{name}/x": b"x", f"{name} target/y": b"y"})
    store = fs._backend.client.store

    def overtaken(*args: Any) -> str:
        stored = store(*args)
        monkeypatch.undo()
        other.pipe_file(f"{name}/x", b"of another client")
        return stored

    monkeypatch.setattr(fs._backend.client, "store", overtaken)
    with pytest.raises(ContentChangedError, match="changed while it was moved"):
        fs.mv(name, f"{name} target/")
    assert fs.cat_file(f"{name}/x") == b"of another client"
    assert fs.cat_file(f"{name} target/{name}/x") == b"x"
    fs.mv(name, f"{name} target/again")
    assert fs.cat_file(f"{name} target/again/x") == b"of another client"
    assert not fs.exists(name)


def _with_text(folder: dict[str, Any]) -> None:
    folder["children"][0]["text"] = "a note of another client"


def _with_meta(folder: dict[str, Any]) -> None:
    folder["children"][0]["meta"] = {"of": "another client"}


def _with_folder(folder: dict[str, Any]) -> None:
    folder["children"].append(container("new"))


@pytest.mark.parametrize("change", [_with_text, _with_meta, _with_folder])
def test_what_others_change_of_nodes_during_a_move_stays(
    server: LiveServer, name: str, change: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, api = stranger(server), Api.of(server)
    fs.pipe_file(f"{name}/d/a", b"a")
    fs.mkdir(f"{name} target")
    identifier = fs.info(name)["id"]
    changed: list[Any] = []

    def overtaken(send: Callable[..., str]) -> Callable[..., str]:
        def act(*args: Any) -> str:
            answer = send(*args)
            if not changed:
                structure = api.structure(identifier)
                change(structure["children"][0])
                api.edit(identifier, structure)
                changed.append(api.structure(identifier)["children"])
            return answer

        return act

    for step in ("store", "upload"):  # with extensions and without
        monkeypatch.setattr(fs._backend.client, step, overtaken(getattr(fs._backend.client, step)))
    with pytest.raises(ContentChangedError, match="it stays"):
        fs.mv(f"{name}/d", f"{name} target/d", recursive=True)
    assert api.structure(identifier)["children"] == changed[0]


def test_what_is_stored_while_a_datapack_is_renamed_stays(
    server: LiveServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = stranger(server)
    fs.pipe_file(f"{name}/x", b"x")
    identifier = fs.info(name)["id"]
    edit, uploads = fs._backend.client.edit, ThreadPoolExecutor(1)

    def beside(*args: Any, **options: Any) -> Any:
        if "name" in options and not stored:
            stored.append(uploads.submit(fs.pipe_file, f"{identifier}/late", b"late"))
            with suppress(TimeoutError):
                stored[0].result(1)
        return edit(*args, **options)

    stored: list[Any] = []
    monkeypatch.setattr(fs._backend.client, "edit", beside)
    fs.mv(name, f"{name} renamed", recursive=True)
    stored[0].result(PATIENCE)
    uploads.shutdown()
    other = stranger(server)
    assert other.cat(f"{name} renamed", recursive=True) == {
        f"{name} renamed/late": b"late",
        f"{name} renamed/x": b"x",
    }


def test_a_datapack_is_renamed_by_its_id_whatever_its_name_is(
    server: LiveServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, api = stranger(server), Api.of(server)
    identifier = api.create(name)
    edit, renamed = fs._backend.client.edit, []

    def overtaken(*args: Any, **options: Any) -> Any:
        if not renamed:
            renamed.append(api.post(f"/datapacks/{identifier}", name=f"{name} of another client"))
        return edit(*args, **options)

    monkeypatch.setattr(fs._backend.client, "edit", overtaken)
    fs.mv(identifier, f"{name} mine", recursive=True)
    assert api.get(f"/datapacks/{identifier}")["name"] == f"{name} mine"
