"""Many small files: what comes in one answer, and what has to be asked for alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs import RinoFileSystem
from rinofs.errors import NotAllowedError, NotFoundError, ProtocolError
from rinofs.testing import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rinofs.testing import LiveServer

EXTENSIONS = {"rinocloud-api-extensions": "path, bundle"}
LARGE = bytes(range(256)) * 1200  # more than is sent along


@pytest.fixture
def contents(fs: RinoFileSystem) -> dict[str, bytes]:
    """A hundred small files, an empty one, one that is too large, in three folders."""
    made = {f"a/{number:03}": str(number).encode() * number for number in range(100)}
    made |= {"b/c/large": LARGE, "b/c/empty": b"", "b/d @ü%2F 1": b"odd name", "top": b"1"}
    fs.pipe(made)
    return made


def asked(server: LiveServer) -> list[str]:
    return [seen.path.rsplit("/", 2)[-2] for seen in server.requests if "download" in seen.path]


def test_cat_of_many(fs: RinoFileSystem, server: LiveServer, contents: dict[str, bytes]) -> None:
    server.reset()
    assert fs.cat(list(contents)) == contents
    if server.extensions:
        assert sorted(asked(server)) == ["download", "download_many", "download_many"]
    else:
        assert asked(server) == ["download"] * sum(map(bool, contents.values()))


def test_get_of_many(
    fs: RinoFileSystem, server: LiveServer, contents: dict[str, bytes], tmp_path: Path
) -> None:
    fs.find("")
    server.reset()
    callback = fsspec.Callback()
    fs.get("", str(tmp_path / "all"), recursive=True, callback=callback)
    local = {str(path.relative_to(tmp_path / "all")): path for path in (tmp_path / "all").rglob("*")}
    assert {name: path.read_bytes() for name, path in local.items() if path.is_file()} == contents
    assert callback.value == callback.size
    assert len(asked(server)) == (3 if server.extensions else sum(map(bool, contents.values())))


def test_few_files_are_asked_for_alone(
    fs: RinoFileSystem, server: LiveServer, contents: dict[str, bytes]
) -> None:
    server.reset()
    assert fs.cat(["a/001", "a/002", "top"]) == {name: contents[name] for name in ("a/001", "a/002", "top")}
    assert asked(server) == ["download"] * 3


def test_what_is_missing_or_no_file(fs: RinoFileSystem, contents: dict[str, bytes]) -> None:
    names = [*(f"a/{number:03}" for number in range(10)), "a/nothing", "no/folder", "b", "a/001/below"]
    with pytest.raises(FileNotFoundError):
        fs.cat(names)
    found = fs.cat(names, on_error="omit")
    assert found == {name: contents[name] for name in names[:10]}
    returned = fs.cat(names, on_error="return")
    assert {name: type(returned[name]) for name in names[10:]} == {
        "a/nothing": NotFoundError,
        "no/folder": NotFoundError,
        "b": IsADirectoryError,
        "a/001/below": NotFoundError,
    }


def test_ids_and_versions(fs: RinoFileSystem, contents: dict[str, bytes]) -> None:
    names = [f"a/{number:03}" for number in range(10)]
    by_id = [f"@{fs.info(name)['id']}" for name in names]
    wanted = {name: contents[name] for name in names}
    assert fs.cat([*names, *by_id]) == wanted | dict(zip(by_id, wanted.values(), strict=True))
    fs.pipe({names[3]: b"newer", "@@7": b"an at sign"})
    found = fs.cat([*names, "@@7"])
    assert (found[names[3]], found["@@7"]) == (b"newer", b"an at sign")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=403, body=b"{}", headers=EXTENSIONS), NotAllowedError),
        (Fault(status=200, body=b"<html>sign in</html>", headers=EXTENSIONS), ProtocolError),
    ],
)
def test_a_refusal(
    options: Any,
    server: LiveServer,
    contents: dict[str, bytes],
    tmp_path: Path,
    fault: Fault,
    error: type[Exception],
) -> None:
    if not server.extensions:
        return
    fs = RinoFileSystem(**options)
    server.faults = lambda _method, path: fault if path.endswith("download_many/") else None
    names = list(contents)
    with pytest.raises(error):
        fs.cat(names)
    with pytest.raises(error):
        fs.get(names, str(tmp_path / "got"))
    assert fs.cat(names, on_error="return") == contents  # one by one
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".part")] == []


def damaged(body: bytes) -> bytes:
    return body.replace(b"7777777", b"7777778", 1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (damaged, None),
        (lambda body: body[: len(body) // 2], ProtocolError),
        (lambda body: body.replace(b"a/012", b"a/013"), ProtocolError),
        (lambda body: body.replace(b"Content-Length: 22", b"Content-Length: x"), ProtocolError),
        (lambda body: b"", ProtocolError),
    ],
    ids=["damaged", "cut", "another file", "no length", "empty"],
)
def test_a_broken_answer(
    options: Any,
    server: LiveServer,
    contents: dict[str, bytes],
    change: Callable[[bytes], bytes],
    error: type[Exception] | None,
) -> None:
    if not server.extensions:
        return
    fs = RinoFileSystem(**options)
    names = sorted(contents)[:64]  # what is asked for at once
    asking = {"paths": [name.split("/") for name in names]}
    answer = fs._backend.session.request("POST", "/api/1/files/download_many/", json=asking, repeatable=True)
    kind = {"content-type": answer.headers["content-type"]}
    broken = Fault(status=200, body=change(answer.content), headers=kind)
    server.faults = lambda _method, path: broken if path.endswith("download_many/") else None
    if error is None:
        assert fs.cat(names) == {name: contents[name] for name in names}
        return
    with pytest.raises(error):
        fs.cat(names)
