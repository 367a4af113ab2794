"""Many small files: what is sent by one request, and what goes alone; the outcome is the same."""

from __future__ import annotations

import io
import json
import os
import random
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs import RinoFileSystem
from rinofs.errors import AuthenticationError, ConflictError, ProtocolError, UnavailableError
from rinofs.protocol.extensions import RINOCLOUD_EXTENSIONS, RinocloudExtension
from rinofs.testing import Fault
from tests.campaign import rounds
from tests.rinocloud import proxy
from tests.rinocloud.proxy import proxy_to

if TYPE_CHECKING:
    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

EXTENSIONS = {RINOCLOUD_EXTENSIONS: ", ".join(RinocloudExtension)}  # of the same server
LARGE = bytes(range(256)) * 1200  # more than is sent together
MANY = {f"lab/{number:03}": str(number).encode() * number for number in range(70)}  # two requests


with_extensions = pytest.mark.parametrize("either_server", [True], ids=["extended"], indirect=True)


def sent(server: LiveServer) -> list[str]:
    """Return the endpoints of the uploads."""
    endpoints = [seen.path.rsplit("/", 2)[-2] for seen in server.requests]
    return sorted(name for name in endpoints if name.startswith("upload"))


def stored(fs: RinoFileSystem, folder: str = "") -> dict[str, bytes]:
    other = RinoFileSystem(endpoint_url=fs.endpoint_url, token=fs.storage_options["token"])
    other.invalidate_cache()
    names = other.find(folder)
    return other.cat(names) if names else {}


def write(folder: Path, contents: dict[str, bytes]) -> str:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


def test_pipe_of_many(fs: RinoFileSystem, server: LiveServer) -> None:
    odd = {"lab/b/large": LARGE, "lab/b/empty": b"", "lab/b/d @ü%2F \U0001f600": b"odd", "@@7": b"an at sign"}
    fs.pipe(MANY | odd)
    together, alone = ["upload_many"] * 2, ["upload_multipart"]
    assert sent(server) == ([*together, *alone] if server.extensions else alone * (len(MANY) + 4))
    assert fs.info("lab/007")["size"] == 7
    assert stored(fs) == MANY | odd


def test_put_of_a_folder(fs: RinoFileSystem, server: LiveServer, tmp_path: Path) -> None:
    contents = MANY | {"top": b"1", "lab/large": LARGE, "lab/deep/er/a": b"deep"}
    local = write(tmp_path / "local", contents)
    callback = fsspec.Callback()
    fs.put(local, "new", recursive=True, callback=callback)
    assert stored(fs) == {f"new/{name}": content for name, content in contents.items()}
    assert callback.value == callback.size
    if server.extensions:
        assert sent(server) == ["upload_many"] * 2 + ["upload_multipart"]
    fs.put(local, "new", recursive=True)
    assert stored(fs) == {f"new/local/{name}": content for name, content in contents.items()} | {
        f"new/{name}": content for name, content in contents.items()
    }


class Told(fsspec.Callback):  # type: ignore[misc]
    """Notes what it is told of each file."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, fsspec.Callback] = {}

    def branched(self, path_1: str, path_2: str, **_: Any) -> fsspec.Callback:
        assert path_1 not in self.files
        return self.files.setdefault(path_1, fsspec.Callback())


def test_a_callback_is_told_of_each_file(fs: RinoFileSystem, tmp_path: Path) -> None:
    local = write(tmp_path / "local", MANY | {"large": LARGE})
    told = Told()
    fs.put(local, "new", recursive=True, callback=told)
    for path, child in told.files.items():
        if Path(path).is_file():
            assert child.size == child.value == Path(path).stat().st_size
    assert told.value == told.size == len(told.files)


def test_few_files_go_alone(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe({f"{number}": b"1" for number in range(7)})
    assert sent(server) == ["upload_multipart"] * 7


def test_a_request_is_bounded(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe({f"lab/{number}": bytes([number]) * 250_000 for number in range(20)})
    if server.extensions:
        assert sent(server) == ["upload_many"] * 3
        assert max(seen.bytes_in for seen in server.requests) < 2.1 * 1024 * 1024
    assert len(stored(fs)) == 20


def test_what_is_said_is_stored(fs: RinoFileSystem, server: LiveServer, api: Api, tmp_path: Path) -> None:
    local = write(tmp_path / "local", MANY)
    (tmp_path / "local/lab/003.json").write_text('{"beside": 3, "shared": 1}')
    fs.put(local, "new", recursive=True, sidecars=True, metadata={"shared": 2}, tags=["t"])
    fs.pipe({f"piped/{name}": b"1" for name in MANY}, metadata={"p": [1]}, tags=("a", "b"))
    assert sent(server).count("upload_many") == (4 if server.extensions else 0)
    assert api.record("new", "lab", "003")["metadata"] == {"beside": 3, "shared": 2}
    assert api.record("new", "lab", "004")["metadata"] == {"shared": 2}
    assert api.record("new", "lab", "004")["tags"] == ["t"]
    piped = api.record("piped", "lab", "004")
    assert (piped["metadata"], piped["tags"]) == ({"p": [1]}, ["a", "b"])
    assert not fs.exists("new/lab/003.json")
    with pytest.raises(TypeError):
        fs.pipe({f"bad/{number}": b"1" for number in range(9)}, metadata={"x": object()})
    assert not fs.exists("bad", refresh=True)


def test_more_is_said_than_goes_into_one_request(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe({f"{number}": b"1" for number in range(10)}, metadata={"x": "y" * 200_000})
    assert sent(server) == ["upload_multipart"] * 10


def test_mode_create(fs: RinoFileSystem, server: LiveServer, tmp_path: Path) -> None:
    fs.pipe_file("lab/007", b"there")
    local = write(tmp_path / "local", MANY)
    server.reset()
    with pytest.raises(FileExistsError):
        fs.pipe(MANY, mode="create")
    with pytest.raises(FileExistsError):
        fs.put(f"{local}/", "", recursive=True, mode="create")
    assert "upload_many" not in sent(server)
    assert stored(fs)["lab/007"] == b"there"


def test_in_a_transaction(fs: RinoFileSystem, server: LiveServer) -> None:
    with fs.transaction:
        fs.pipe(MANY)
        assert sent(server) == []
    assert stored(fs) == MANY


def test_a_folder_is_in_the_way(fs: RinoFileSystem, server: LiveServer, tmp_path: Path) -> None:
    fs.mkdir("lab/007")
    local = write(tmp_path / "local", MANY)
    for act in (partial(fs.pipe, MANY), partial(fs.put, f"{local}/", "", recursive=True)):
        with pytest.raises(IsADirectoryError, match="lab/007"):
            act()
        left = stored(fs)
        assert left.items() <= MANY.items()
        if server.extensions:
            assert len(left) >= 6  # the other request


def test_a_file_is_on_the_way(fs: RinoFileSystem, api: Api) -> None:
    api.upload("lab", b"a file")
    with pytest.raises(NotADirectoryError):
        fs.pipe(MANY)
    assert stored(fs) == {"lab": b"a file"}


def test_ids_on_the_way(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe_file("lab/other", b"old")
    folder, file = fs.info("lab")["id"], fs.info("lab/other")["id"]
    server.reset()
    by_id = {f"@{folder}/new {number}": b"%d" % number for number in range(9)} | {f"@{file}": b"by id"}
    fs.pipe(MANY | by_id)
    assert sent(server).count("upload_multipart") >= 10
    expected = {f"lab/new {number}": b"%d" % number for number in range(9)} | {"lab/other": b"by id"}
    assert stored(fs) == MANY | expected


def test_paths_that_cannot_be(fs: RinoFileSystem, server: LiveServer) -> None:
    with pytest.raises(ValueError, match="name"):
        fs.pipe(MANY | {"lab/a\0b": b"1"})
    with pytest.raises(IsADirectoryError):
        fs.pipe(MANY | {"": b"1"})
    assert stored(fs) == (MANY if server.extensions else stored(fs))


def test_the_folder_was_replaced_by_another(fs: RinoFileSystem, server: LiveServer, api: Api) -> None:
    fs.pipe_file("lab/old", b"1")
    fs.ls("lab")
    api.post("delete", id=api.record("lab")["id"])
    api.upload("lab/other", b"2")
    server.reset()
    fs.pipe(MANY)
    assert stored(fs) == MANY | {"lab/other": b"2"}
    if server.extensions:
        assert set(sent(server)) == {"upload_many"}


def test_one_path_twice(fs: RinoFileSystem, tmp_path: Path) -> None:
    local = write(tmp_path, {f"{number}": b"%d" % number for number in range(20)})
    names = [f"{local}/{number}" for number in range(20)]
    fs.put(names, [f"same {number % 2}" for number in range(20)])
    found = stored(fs)
    assert sorted(found) == ["same 0", "same 1"]
    for name in found:
        assert len(fs.versions(name)) == 10


def test_files_that_change_or_cannot_be_read(fs: RinoFileSystem, server: LiveServer, tmp_path: Path) -> None:
    local = write(tmp_path, MANY)
    names = [f"{local}/{name}" for name in MANY]
    with pytest.raises(FileNotFoundError, match="nothing"):
        fs.put([*names, f"{local}/nothing"], [*MANY, "nothing"])
    folders = [f"{local}/lab"]
    fs.put([*names, *folders], [*MANY, "empty folder"])
    assert fs.isdir("empty folder")
    assert stored(fs) == MANY
    os.truncate(f"{local}/lab/050", 0)
    os.mkfifo(f"{local}/pipe")
    server.reset()
    fs.put(names, list(MANY))
    assert stored(fs) == MANY | {"lab/050": b""}


@with_extensions
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=400, body=b'{"error": "no"}', headers=EXTENSIONS), None),
        (Fault(status=403, body=b'{"error": "no"}', headers=EXTENSIONS), None),
        (Fault(status=404, body=b'{"error": "no"}', headers=EXTENSIONS), None),
        (Fault(status=413, body=b'{"error": "no"}', headers=EXTENSIONS), None),
        (Fault(status=507, body=b'{"error": "no"}', headers=EXTENSIONS), None),
        (Fault(status=401, body=b'{"detail": "no"}', headers=EXTENSIONS), AuthenticationError),
        (Fault(status=500, body=b"{}", headers=EXTENSIONS), UnavailableError),
        (Fault(status=200, body=b"<html>sign in</html>", headers=EXTENSIONS), ProtocolError),
        (Fault(status=201, body=b'{"result": []}', headers=EXTENSIONS), ProtocolError),
        (Fault(status=201, body=b"{}", headers=EXTENSIONS), ProtocolError),
    ],
)
def test_a_refusal(
    fs: RinoFileSystem, server: LiveServer, tmp_path: Path, fault: Fault, error: type[Exception] | None
) -> None:
    server.faults = lambda _method, path: fault if path.endswith("upload_many/") else None
    some = dict(list(MANY.items())[:20])
    local = write(tmp_path / "local", some)
    if error is None:
        fs.put(f"{local}/", "", recursive=True)  # one by one
        assert sent(server).count("upload_multipart") == len(some)
        assert stored(fs) == some
        return
    with pytest.raises(error):
        fs.put(f"{local}/", "", recursive=True)
    assert stored(fs) == {}


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    "fault", [proxy.lost_answer, proxy.lost_request, proxy.reset_midway, proxy.truncated]
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_broken_connection(server: LiveServer, fault: proxy.Fault, times: int) -> None:
    if times > 1 and not server.extensions:
        return  # what was lost twice is not sent again without a key
    with proxy_to(server.endpoint_url) as between:
        fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
        left = [fault] * times
        between.faults = lambda exchange: left.pop() if left and "upload" in exchange.endpoint else None
        fs.pipe(MANY)
        assert left == []
        assert stored(fs) == MANY
        assert all(len(fs.versions(name)) == 1 for name in list(MANY)[:3])


@with_extensions
def test_another_server_takes_its_place(fs: RinoFileSystem, server: LiveServer) -> None:
    """One without extensions, which has no such endpoint and does not say what it can."""
    gone = Fault(status=404, body=b"{}")
    server.faults = lambda _method, path: gone if path.endswith("upload_many/") else None
    fs.pipe(MANY)
    assert stored(fs) == MANY


@pytest.mark.parametrize("seed", range(rounds(2, 16)))
def test_it_is_as_if_each_went_alone(fs: RinoFileSystem, api: Api, seed: int) -> None:
    chance = random.Random(seed)
    names = [
        f"{folder}{name}" for folder in ("", "f/", "f/g/", "h i/") for name in ("a", "b", "ü", "c %", "~1")
    ]
    for _ in range(3):
        chosen = chance.sample(names, chance.randrange(6, len(names)))
        sizes = [0, 1, 1000, 256 * 1024, 256 * 1024 + 1]
        contents = {name: chance.randbytes(chance.choice(sizes)) for name in chosen}
        said: Any = {"metadata": {"n": chance.randrange(9)}} if chance.random() < 0.5 else {}
        fs.pipe({f"together/{name}": content for name, content in contents.items()}, **said)
        for name, content in contents.items():
            fs.pipe_file(f"alone/{name}", content, **said)
    found = {}
    for top in ("together", "alone"):
        fs.invalidate_cache()
        infos = fs.find(top, detail=True).values()
        found[top] = [
            (
                info["name"].removeprefix(top),
                info["size"],
                info["etag"],
                info["metadata"],
                len(info["versions"]),
            )
            for info in infos
        ]
    assert found["together"] == found["alone"]


def test_without_verification(options: Any, server: LiveServer) -> None:
    fs = RinoFileSystem(**options, verify_content=False)
    fs.pipe(MANY)
    assert stored(fs) == MANY
    assert sent(server) == (["upload_many"] * 2 if server.extensions else ["upload_multipart"] * len(MANY))


@with_extensions
def test_what_was_damaged_on_the_way_is_not_stored(server: LiveServer) -> None:
    with proxy_to(server.endpoint_url) as between:
        fs = RinoFileSystem(endpoint_url=between.url, token=server.token)
        between.faults = lambda exchange: damaged if exchange.endpoint == "upload_many" else None
        fs.pipe(MANY)
    assert sent(server).count("upload_multipart") == len(MANY)
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    assert stored(fs) == MANY
    assert len(fs.versions("lab/067")) == 1


def damaged(exchange: proxy.Exchange) -> None:
    """Turn a digit of a content, as a broken proxy would."""
    body = exchange.reader.read(exchange.length)
    start = body.index(b"\r\n\r\n", body.index(b'name="file"')) + 4
    changed = bytearray(body)
    changed[start] ^= 1
    exchange.reader = io.BytesIO(bytes(changed))
    exchange.answer(exchange.forward())


def test_a_conflict_keeps_its_name(fs: RinoFileSystem, server: LiveServer) -> None:
    body = json.dumps({"error": "no"}).encode()
    taken = Fault(status=409, body=body, headers=EXTENSIONS if server.extensions else {})
    server.faults = lambda _method, path: taken if "/upload" in path else None
    with pytest.raises(ConflictError):
        fs.pipe(MANY)


class Interrupted(fsspec.Callback):  # type: ignore[misc]
    """Ctrl-C, once the first files are stored."""

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        if self.value > 3 and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt


def test_an_interruption(fs: RinoFileSystem, server: LiveServer, tmp_path: Path) -> None:
    many = {f"lab/{number:04}": b"%d" % number for number in range(600 if server.extensions else 60)}
    local = write(tmp_path / "local", many)
    with pytest.raises(KeyboardInterrupt):
        fs.put(f"{local}/", "", recursive=True, callback=Interrupted())
    left = {path.split("/", 1)[1] for path in fs.find("lab")}
    assert len(left) < len(many)
    assert {f"lab/{name}" for name in left} <= set(many)
    if server.extensions:
        assert len(left) % 64 == 0  # whole requests
