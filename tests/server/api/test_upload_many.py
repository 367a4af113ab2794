"""Many files in one upload: as if they had come one after the other, or not at all."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from rinofs.protocol.digests import new_hasher
from rinofs.server.maintenance import fsck
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.server.client import Api

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import requests

    from rinofs.testing import LiveServer
    from tests.server.client import Files

Sent = tuple[dict[str, Any], bytes]


def send_raw(api: Api, fields: Any, content: bytes, **headers: str) -> requests.Response:
    parts: Files = {"json": (None, json.dumps(fields)), "file": ("files", content)}
    return api.session.post(api.url("files/upload_many"), files=parts, headers=headers)


def send(api: Api, files: Sequence[Sent], **headers: str) -> requests.Response:
    said = [{"size": len(content), **fields} for fields, content in files]
    return send_raw(api, {"files": said}, b"".join(content for _, content in files), **headers)


def everything(api: Api) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = api.ok("files/children", {"recursive": True, "limit": 10_000})["result"]
    return listed


def bare(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records without what no two uploads have in common."""
    own = {"id", "parent", "created_on", "updated_on", "project", "project_name", "owner"}
    shown = [{key: value for key, value in record.items() if key not in own} for record in records]
    return [{**record, "versions": len(record["versions"])} for record in shown]


def test_no_name_leads_through_folders_without_end(more: Api) -> None:
    # Each is made while nobody else can write.
    deep = "/".join(["d"] * 255)
    assert send(more, [({"name": f"{deep}/here"}, b"")]).status_code == 201
    refused = send(more, [({"name": f"{deep}/d/here"}, b"")])
    message = "files[0]: name: it leads through 256 folders, and at most 255 are made at once"
    assert (refused.status_code, refused.json()["error"]) == (400, message)


def test_files_come_in_order_with_all_that_is_said_of_them(more: Api) -> None:
    folder = more.folder("there")
    files: list[Sent] = [
        ({"name": "exp/a", "metadata": {"x": 1}, "tags": ["t"], "loose": 2}, b"first"),
        ({"name": "b", "parent": folder["id"]}, b""),
        ({"name": "exp/a"}, b"second"),
        ({"name": "exp/c", "sha256": hashlib.sha256(b"first").hexdigest()}, b"first"),
        ({"name": "exp/d", "blake3": blake3(b"first").hexdigest()}, b"first"),
    ]
    answer = send(more, files)
    assert answer.status_code == 201, answer.text
    records = answer.json()["result"]
    assert [record["name"] for record in records] == ["a", "b", "a", "c", "d"]
    assert [more.content(record["id"]) for record in records] == [content for _, content in files]
    assert records[0]["metadata"] == {"x": 1, "loose": 2}
    assert records[0]["tags"] == ["t"]
    assert records[1]["parent"] == folder["id"]
    assert records[2]["versions"] == [records[0]["id"]]
    for record in records[3:]:
        assert [record[name] for name in ("blake3", "sha256")] == [
            records[0][name] for name in ("blake3", "sha256")
        ]
    assert more.ok("files/get_metadata", {"path": ["exp", "a"]}) == records[2]


NAMES = ["a", "b", "c d", "f/a", "f/b", "f/g/a", "f/g/ü%2F", "g/a", "@1", "f/g/😀"]


@pytest.mark.parametrize("seed", range(rounds(6, 30)))
def test_it_is_as_if_they_came_one_after_the_other(extended: LiveServer, seed: int) -> None:
    chance = random.Random(seed)
    together, alone = (
        Api(extended.endpoint_url, extended.add_user(f"{seed} {which}")) for which in ("together", "alone")
    )
    for _ in range(4):
        files: list[Sent] = []
        for _ in range(chance.randrange(1, 20)):
            fields: dict[str, Any] = {"name": chance.choice(NAMES)}
            if chance.random() < 0.3:
                fields |= {"metadata": {"n": chance.randrange(9)}, "tags": [str(chance.randrange(3))]}
            files.append((fields, chance.randbytes(chance.choice([0, 1, 500]))))
        many = send(together, files)
        assert many.status_code == 201, many.text
        singles = [alone.upload(content, **fields) for fields, content in files]
        assert bare(many.json()["result"]) == bare([single.json() for single in singles])
    found, expected = (bare(everything(api)) for api in (together, alone))
    assert _files(found) == _files(expected)
    assert sorted(found, key=_path) == sorted(expected, key=_path)  # folders are made first


def _files(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["type"] == "file"]


def _path(record: dict[str, Any]) -> list[str]:
    path: list[str] = record["path"]
    return path


REFUSED: dict[str, tuple[list[Sent], int, str]] = {
    "a folder": ([({"name": "new"}, b"1"), ({"name": "folder"}, b"2")], 409, "files[1]: name: 'folder' is"),
    "below a file": ([({"name": "x/new"}, b"1"), ({"name": "file/a"}, b"2")], 409, "files[1]: name: 'file'"),
    "below a new file": ([({"name": "new"}, b"1"), ({"name": "new/a"}, b"2")], 409, "files[1]: name: 'new'"),
    "a new folder": ([({"name": "new/a"}, b"1"), ({"name": "new"}, b"2")], 409, "files[1]: name: 'new' is"),
    "no parent": ([({"name": "a"}, b"1"), ({"name": "a", "parent": 10**9}, b"")], 404, "files[1]: parent: "),
    "digest": ([({"name": "a"}, b"1"), ({"name": "b", "sha256": "0" * 64}, b"2")], 422, "files[1]: sha256: "),
    "blake3": ([({"name": "a"}, b"1"), ({"name": "b", "blake3": "0" * 64}, b"2")], 422, "files[1]: blake3: "),
    "no digest": ([({"name": "a", "sha256": "0" * 63}, b"1")], 400, "files[0]: sha256: "),
    "odd digest": ([({"name": "a", "sha256": 5}, b"1")], 400, "files[0]: sha256: "),
    "no name": ([({"name": "a"}, b"1"), ({}, b"2")], 400, "files[1]: name: "),
    "bad name": ([({"name": "a/../b"}, b"1")], 400, "files[0]: name: "),
    "metadata": ([({"name": "a"}, b"1"), ({"name": "b", "metadata": 5}, b"2")], 400, "files[1]: metadata: "),
    "tags": ([({"name": "a", "tags": {}}, b"1")], 400, "files[0]: tags: "),
    "size": ([({"name": "a", "size": "x"}, b"1")], 400, "files[0]: size: "),
    "negative": ([({"name": "a", "size": -1}, b"1")], 400, "files[0]: size: "),
    "fraction": ([({"name": "a", "size": 1.0}, b"1")], 400, "files[0]: size: "),
    "no size": ([({"name": "a", "size": None}, b"1")], 400, "files[0]: size: "),
    "too long": ([({"name": "a", "size": 3}, b"1"), ({"name": "b"}, b"1")], 400, "files[0]: size: "),
    "huge": ([({"name": "a", "size": 2**63 - 1}, b"1")], 400, "files[0]: size: "),
    "left over": ([({"name": "a", "size": 1}, b"12")], 400, "files: "),
    "none": ([], 400, "files: "),
    "too many": ([({"name": f"{number}"}, b"") for number in range(65)], 400, "files: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_is_stored_of_what_is_refused(more: Api, case: str) -> None:
    more.folder("folder")
    more.file("file", b"1")
    before = everything(more)
    files, status, said = REFUSED[case]
    answer = send(more, files, **{"Idempotency-Key": case.replace(" ", "-")})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].startswith(said)
    assert everything(more) == before
    good = send(more, [({"name": "a"}, b"1")], **{"Idempotency-Key": case.replace(" ", "-")})
    assert good.status_code == 201  # a key is used up by what was done


@pytest.mark.parametrize("files", [None, "x", {}, 5, [5], [[]], [None]])
def test_what_are_no_files(more: Api, files: Any) -> None:
    answer = send_raw(more, {"files": files}, b"")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("files")


def test_it_has_its_bounds(more: Api) -> None:
    most = 2 * 1024 * 1024
    files: list[Sent] = [({"name": f"{number}"}, bytes([number]) * (most // 64)) for number in range(64)]
    assert send(more, files).status_code == 201
    assert send(more, [*files[:-1], ({"name": "63"}, bytes(most // 64 + 1))]).status_code == 413
    assert send(more, [({"name": "a"}, bytes(10 * most))]).status_code == 413
    assert send(more, [({"name": "a", "metadata": {"x": "y" * 1024 * 1024}}, b"1")]).status_code == 413
    assert len(everything(more)) == 64


@pytest.mark.parametrize("name", ["blake3", "sha256"])
def test_the_digest_of_all(more: Api, name: str) -> None:
    hasher = new_hasher(name)
    hasher.update(b"12")
    for digest, status in ((hasher.hexdigest(), 201), ("0" * 64, 422), ("0", 400)):
        files = {"files": [{"name": f"a {status}", "size": 1}, {"name": f"b {status}", "size": 1}]}
        parts: Files = {
            "json": (None, json.dumps(files)),
            "file": ("files", b"12"),
            name: (None, digest),
        }
        answer = more.session.post(more.url("files/upload_many"), files=parts)
        assert answer.status_code == status, answer.text
    assert [record["name"] for record in everything(more)] == ["a 201", "b 201"]


def test_what_comes_again_is_stored_once(more: Api) -> None:
    files: list[Sent] = [({"name": f"f/{number}"}, b"%d" % number) for number in range(9)]
    key = {"Idempotency-Key": "one-upload"}
    first = send(more, files, **key)
    again = send(more, files, **key)
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    assert all(record["versions"] == [] for record in everything(more))
    assert send(more, [*files[:-1], ({"name": "f/8"}, b"9")], **key).status_code == 422
    assert send(more, [*files[:-1], ({"name": "f/9"}, b"8")], **key).status_code == 422
    # Without the key it is another upload: what is the same stays as it is, what is new is a version.
    record = first.json()["result"][0]
    same, _, changed = send(more, [*files[:2], ({"name": "f/2"}, b"another")]).json()["result"]
    assert (same["id"], same["versions"]) == (record["id"], [])
    assert changed["versions"] == [first.json()["result"][2]["id"]]


def test_two_at_once_of_the_same_names(extended: LiveServer, more: Api) -> None:
    names = [f"{folder}/{number}" for folder in "xyz" for number in range(12)]
    token = more.session.headers["Authorization"].removeprefix("Token ")  # type: ignore[arg-type]
    answers: list[requests.Response] = []

    def upload(which: int) -> None:
        api = Api(extended.endpoint_url, str(token))
        order = random.Random(which).sample(names, len(names))
        answers.append(send(api, [({"name": name}, f"{which} {name}".encode()) for name in order]))

    threads = [threading.Thread(target=upload, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 4
    files = [record for record in everything(more) if record["type"] == "file"]
    assert sorted("/".join(record["path"]) for record in files) == sorted(names)
    assert {len(record["versions"]) for record in files} == {3}
    # One after the other: who is last for one name is last for all.
    assert len({more.content(record["id"])[:1] for record in files}) == 1


def test_the_published_api_has_none() -> None:
    with live_server(extensions=False) as server:
        api = Api(server.endpoint_url, server.token)
        assert send(api, [({"name": "a"}, b"1")]).status_code == 404
        assert api.names() == []


def test_what_is_stored_is_in_order(tmp_path: Path) -> None:
    with live_server(data_dir=tmp_path) as server:
        api = Api(server.endpoint_url, server.token)
        for _ in range(3):
            send(api, [({"name": f"{number}"}, random.randbytes(number)) for number in range(64)])
        send(api, [({"name": "new"}, b"1"), ({"name": "new/a"}, b"2")])
    services = open_services(ServerSettings(tmp_path))
    report = fsck(services)
    services.close()
    assert report.problems == ()
