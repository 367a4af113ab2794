"""What this server adds to the published API, and that it can be left out."""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import threading
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest

from rinofs.protocol.digests import parse_repr_digest
from rinofs.server.api.rinocloud import bundles
from rinofs.testing import LiveServer, live_server
from tests.server.client import Api, Files


def test_extensions_are_announced_on_every_answer(server: LiveServer, extended: LiveServer) -> None:
    announced = (
        "path, recursive, after, digest, rename, idempotency, bundle, versions, conditions, exact, search, "
        "tokens, blake3, names, empty, places"
    )
    for running in (server, extended):
        for token in (running.token, "wrong"):
            for endpoint in ("files/children", "files/nothing", "files/get_metadata"):
                header = (
                    Api(running.endpoint_url, token)
                    .post(endpoint, {})
                    .headers.get("rinocloud-api-extensions")
                )
                assert header in {announced, None}
                assert running is server or header == announced


def test_path(more: Api) -> None:
    record = more.file("exp1/run 3/a.csv", b"content")
    assert more.ok("files/get_metadata", {"path": ["exp1", "run 3", "a.csv"]}) == record
    assert more.ok("files/children", {"path": ["exp1", "run 3"]})["result"] == [record]
    assert more.ok("files/children", {"path": []})["count"] == 1
    query = [("path", "exp1"), ("path", "run 3"), ("path", "a.csv")]
    answer = more.session.get(more.url("files/download"), params=query)
    assert answer.content == b"content"
    missing = more.post("files/get_metadata", {"path": ["exp1", "run 4", "a.csv"]})
    assert missing.status_code == 404
    assert "'run 4'" in missing.json()["error"]
    assert more.form("files/get_metadata", {"path": ["exp1", "run 3"]}).json()["name"] == "run 3"


def test_recursive(more: Api) -> None:
    more.file("f/g/a")
    more.file("f/b")
    listed = more.ok("files/children", {"path": ["f"], "recursive": True, "limit": 100})
    assert listed["count"] == 3
    assert sorted(record["path"] for record in listed["result"]) == [["b"], ["g"], ["g", "a"]]
    top = more.ok("files/children", {"recursive": True, "limit": 100})["result"]
    assert ["f", "g", "a"] in [record["path"] for record in top]


def test_after(more: Api) -> None:
    numbers = [more.file(name)["id"] for name in "abcde"]
    page = more.ok("files/children", {"limit": 2, "after": numbers[1]})
    assert [record["id"] for record in page["result"]] == numbers[2:4]
    assert "count" not in page


def test_names(more: Api) -> None:
    folder = more.folder("f")["id"]
    numbers = [more.file(f"f/{name}")["id"] for name in "ab"]
    inner = more.folder("f/g")["id"]
    deepest = more.file("f/g/c")["id"]
    named = [
        {"id": number, "name": name, "type": "file", "parent": folder}
        for name, number in zip("ab", numbers, strict=True)
    ]
    named.append({"id": inner, "name": "g", "type": "folder", "parent": folder})
    asked = {"path": ["f"], "names": True, "limit": 9}
    assert more.ok("files/children", asked) == {
        "result": named,
        "count": 3,
        "limit": 9,
        "offset": 0,
        "folder": folder,
    }
    named.append({"id": deepest, "name": "c", "type": "file", "parent": inner})
    below = more.ok("files/children", {**asked, "recursive": True})
    assert (below["result"], below["count"]) == (named, 4)
    after = more.ok("files/children", {**asked, "recursive": True, "after": numbers[0], "limit": 2})
    assert after == {"result": named[1:3], "limit": 2, "offset": 0, "folder": folder}
    assert more.ok("files/children", {"names": True, "limit": 1})["folder"] is None
    assert more.post("files/children", {"names": "yes"}).status_code == 400


def test_empty(more: Api, api: Api) -> None:
    full, empty = more.folder("full")["id"], more.folder("empty")["id"]
    inside = more.file("full/inside")["id"]
    for numbers in (full, [full], [empty, full]):
        refused = more.post("files/delete", {"id": numbers, "empty": True})
        assert (refused.status_code, "not empty" in refused.json()["error"]) == (409, True)
    assert more.names() == ["full", "empty"]
    assert more.post("files/delete", {"id": empty, "empty": "yes"}).status_code == 400
    assert more.post("files/delete", {"id": [empty, inside], "empty": True}).status_code == 204
    assert more.post("files/delete", {"id": full, "empty": True}).status_code == 204
    assert more.names() == []


def test_places(more: Api, api: Api) -> None:
    folder, inside, top = more.folder("f")["id"], more.file("f/a")["id"], more.file("b")["id"]
    for paths in (
        [["f", "b"], ["b"]],
        [["f", "a"], ["a"]],
        [["f"], ["b"]],
        [["b"], ["f", "a"]],
        [["b", "a"], ["b"]],
        [[], ["b"]],
    ):
        refused = more.post("files/delete", {"id": [inside, top], "paths": paths})
        assert (refused.status_code, refused.json()["error"][:6]) == (409, "paths:")
        for endpoint in ("move", "copy"):
            asked = {"items": [inside, top], "parent": None, "paths": paths}
            assert more.post(f"files/{endpoint}", asked).status_code == 409
    for wrong in ([["f", "a"]], "f", [["f", "a"], [1]], {}):
        assert more.post("files/delete", {"id": [inside, top], "paths": wrong}).status_code == 400
    assert more.names() == ["f", "b"]
    assert more.post("files/delete", {"id": [inside, top], "paths": [["f", "a"], ["b"]]}).status_code == 204
    assert more.post("files/delete", {"id": folder, "paths": [["f"]]}).status_code == 204
    assert more.names() == []
    answer = api.post("files/delete", {"id": api.file("c")["id"], "paths": [["elsewhere"]]})
    assert answer.status_code == (409 if "rinocloud-api-extensions" in answer.headers else 204)


def test_digest(more: Api) -> None:
    record = more.file("a", b"content")
    assert record["sha256"] == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    answer = more.session.get(more.url("files/download"), params={"id": record["id"]})
    assert answer.headers["etag"] == f'"{record["etag"]}"'
    assert record["blake3"] == "3fba5250be9ac259c56e7250c526bc83bacb4be825f2799d3d59e5b4878dd74e"
    both = {"blake3": record["blake3"], "sha256": record["sha256"]}
    assert parse_repr_digest(answer.headers["repr-digest"]) == both
    changed = more.session.get(
        more.url("files/download"), params={"id": record["id"]}, headers={"If-Match": '"other-1"'}
    )
    assert changed.status_code == 412
    parts: Files = {"json": (None, '{"name": "b"}'), "file": ("b", b"content"), "sha256": (None, "0" * 64)}
    refused = more.session.post(more.url("files/upload"), files=parts)
    assert refused.status_code == 422
    assert more.names() == ["a"]
    new = {"If-None-Match": "*"}
    parts = {"json": (None, '{"name": "a"}'), "file": ("a", b"other")}
    assert more.session.post(more.url("files/upload"), files=parts, headers=new).status_code == 412
    assert more.content(record["id"]) == b"content"


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ("blake3=1", ["blake3"]),
        ("sha-256=10", ["sha256"]),
        ("blake3=3, sha-256=5", ["blake3", "sha256"]),
        ("blake3=0, sha-256=1", ["sha256"]),
        ("md5=10", ["blake3", "sha256"]),
        ("?!", ["blake3", "sha256"]),
    ],
)
def test_the_digests_that_a_request_prefers(more: Api, wanted: str, sent: list[str]) -> None:
    record = more.file("a", b"content")
    asked = {"Want-Repr-Digest": wanted}
    answer = more.session.get(more.url("files/download"), params={"id": record["id"]}, headers=asked)
    assert parse_repr_digest(answer.headers["repr-digest"]) == {name: record[name] for name in sent}


def test_an_upload_on_condition(more: Api, api: Api) -> None:
    def send(to: Api, condition: str | None, content: bytes, **headers: str) -> int:
        parts: Files = {"json": (None, '{"name": "a"}'), "file": ("a", content)}
        given = headers if condition is None else {"If-Match": condition, **headers}
        return to.session.post(to.url("files/upload"), files=parts, headers=given).status_code

    for condition in ('"x-1"', "*"):
        assert send(more, condition, b"0") == 412
    first = more.file("a", b"1")["etag"]
    assert send(more, f'"other-1", "{first}"', b"2", **{"Idempotency-Key": "k1"}) == 201
    for condition in (f'"{first}"', f'W/"{first}"', "", "nonsense"):
        assert send(more, condition, b"3") == 412, condition
    assert send(more, f'"other-1", "{first}"', b"2", **{"Idempotency-Key": "k1"}) == 201  # it was done before
    assert history(more, "a") == [b"1", b"2"]
    assert send(more, "*", b"3") == 201
    headers = {"If-Match": f'"{first}"', "rinocloud-api-payload": '{"name": "a"}'}
    assert more.session.post(more.url("files/upload_binary"), data=b"4", headers=headers).status_code == 412
    assert history(more, "a") == [b"1", b"2", b"3"]
    with live_server(extensions=False) as plain:
        assert send(Api(plain.endpoint_url, plain.token), '"x-1"', b"1") == 201


def test_rename(more: Api) -> None:
    folder, file = more.folder("f"), more.file("a")
    moved = more.ok("files/move", {"items": [file["id"]], "parent": folder["id"], "name": "b"})["result"]
    assert (moved[0]["name"], moved[0]["parent"]) == ("b", folder["id"])
    other = more.file("c")
    both = {"items": [file["id"], other["id"]], "parent": folder["id"], "name": "d"}
    assert more.post("files/move", both).status_code == 400


def test_idempotency(more: Api) -> None:
    parts: Files = {"json": (None, '{"name": "a"}'), "file": ("a", b"content")}
    for endpoint, send in (
        ("files/upload", {"files": parts}),
        ("files/create_folder", {"json": {"name": "f"}}),
        ("files/create_object", {"json": {"name": "o"}}),
    ):
        options: dict[str, Any] = {
            **send,
            "headers": {"Idempotency-Key": f"key {endpoint}".replace(" ", "-")},
        }
        answers = [more.session.post(more.url(endpoint), **options) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201] * 3
        assert len({answer.content for answer in answers}) == 1
    key = {"Idempotency-Key": "copy-1"}
    copies = [
        more.ok(
            "files/copy",
            {"id": 0 + more.ok("files/get_metadata", {"path": ["a"]})["id"], "name": "b"},
            201,
            headers=key,
        )
        for _ in range(2)
    ]
    assert copies[0] == copies[1]
    assert more.names() == ["a", "f", "o", "b"]


def history(api: Api, name: str) -> list[bytes]:
    """The contents that a file has had, the oldest first."""
    record = api.ok("files/get_metadata", {"path": [name]})
    return [api.content(number) for number in [*record["versions"], record["id"]]]


def test_a_move_or_copy_that_replaces_keeps_versions(more: Api) -> None:
    for content in (b"a1", b"a2"):
        more.file("a", content)
    for content in (b"b1", b"b2"):
        source = more.file("b", content, metadata={"from": "b"})
    answer = {"items": [source["id"]], "parent": None, "name": "a", "replace": True}
    copied = more.ok("files/copy", answer, 201)["result"][0]
    assert (copied["metadata"], copied["name"]) == ({"from": "b"}, "a")
    assert history(more, "a") == [b"a1", b"a2", b"b2"]
    assert history(more, "b") == [b"b1", b"b2"]
    more.file("a", b"a3")
    moved = more.ok("files/move", answer)["result"][0]
    assert moved["id"] == source["id"]
    assert history(more, "a") == [b"a1", b"a2", b"b1", b"b2", b"a3", b"b2"]
    assert more.names() == ["a"]
    more.ok("files/delete", {"id": moved["id"]}, 204)
    assert more.post("files/get_metadata", {"id": copied["id"]}).status_code == 404


def test_nothing_replaces_a_folder_and_no_folder_a_file(more: Api) -> None:
    folder, other, file = more.folder("f"), more.folder("other"), more.file("a", b"1")
    inner = [more.file("f/x", b"2"), more.file("other/x", b"3")]
    for body in (
        {"items": [file["id"]], "parent": None, "name": "f"},
        {"items": [folder["id"]], "parent": None, "name": "a"},
        {"items": [one["id"] for one in inner], "parent": None},  # one would replace the other
    ):
        for endpoint in ("files/move", "files/copy"):
            assert more.post(endpoint, {**body, "replace": True}).status_code == 409, (endpoint, body)
    without = {"items": [file["id"]], "parent": other["id"], "name": "x"}
    assert more.post("files/move", without).status_code == 409
    assert more.names() == ["f", "other", "a"]
    assert more.names(other["id"]) == ["x"]


def test_one_version_is_pruned_and_never_the_current_object(more: Api) -> None:
    ids = [more.file("a", content)["id"] for content in (b"1", b"2", b"3", b"4")]
    before = more.ok("files/get_metadata", {"id": ids[-1]})
    for wanted, status in ((ids[-1], 409), (ids[1:], 409), ([ids[0], 10**9], 404), ([], 400)):
        assert more.post("files/delete", {"id": wanted, "version": True}).status_code == status
    assert history(more, "a") == [b"1", b"2", b"3", b"4"]
    more.ok("files/delete", {"id": [ids[0], ids[2]], "version": True}, 204)
    after = more.ok("files/get_metadata", {"id": ids[-1]})
    assert after == {**before, "versions": [ids[1]]}
    assert history(more, "a") == [b"2", b"4"]
    assert more.ok("files/get_metadata", {"id": ids[1]})["versions"] == []


def test_the_same_content_makes_no_version(more: Api, api: Api) -> None:
    for one in (more, api):
        first = one.file("a", b"same", metadata={"n": 1}, tags=["x"])
        again = one.file("a", b"same", metadata={"n": 2})
        assert (again["id"], again["versions"], again["created_on"]) == (first["id"], [], first["created_on"])
        assert (again["metadata"], again["tags"]) == ({"n": 2}, [])
        assert again["updated_on"] > first["updated_on"]
        other = one.file("a", b"other")
        assert (other["id"] > again["id"], other["versions"]) == (True, [first["id"]])
        assert one.file("a", b"other", versions=other["versions"])["versions"] == [first["id"]]
        assert one.file("b", b"other")["id"] > other["id"]
    forced = more.file("a", b"other", new_version=True)
    assert (len(forced["versions"]), forced["metadata"]) == (2, {})
    with live_server(extensions=False) as plain:
        told = Api(plain.endpoint_url, plain.token)
        assert told.file("a", b"1", new_version=True)["metadata"] == {"new_version": True}


def test_the_same_content_in_a_bundle_makes_no_version(more: Api) -> None:
    first = more.file("a", b"same")
    files = [{"name": "a", "size": 4, "tags": ["t"]}, {"name": "a", "size": 4, "new_version": True}]
    parts: Files = {"json": (None, json.dumps({"files": files})), "file": ("files", b"samesame")}
    made = more.session.post(more.url("files/upload_many"), files=parts).json()["result"]
    assert (made[0]["id"], made[0]["tags"]) == (first["id"], ["t"])
    assert made[1]["versions"] == [first["id"]]


def test_the_published_api_has_none_of_this() -> None:
    with live_server(extensions=False) as running:
        api = Api(running.endpoint_url, running.token)
        folder, file = api.folder("f"), api.file("a", b"content")
        assert "sha256" not in file
        assert api.post("files/get_metadata", {"path": ["a"]}).status_code == 400
        assert api.ok("files/children", {"path": ["f"]})["count"] == 2
        listed = api.ok("files/children", {"recursive": True, "after": file["id"]})["result"]
        assert [record["name"] for record in listed] == ["f", "a"]
        assert all("path" not in record for record in listed)
        loose = api.ok("files/create_object", {"name": "o", "path": "p", "sha256": "s"}, 201)
        assert loose["metadata"] == {"path": "p", "sha256": "s"}
        assert api.ok("files/query", {"query": {"sha256": "s"}})["result"] == [loose]
        moved = api.ok("files/move", {"id": file["id"], "parent": folder["id"], "name": "b"})["result"]
        assert moved[0]["name"] == "a"
        answer = api.session.get(api.url("files/download"), params={"id": file["id"]})
        assert "repr-digest" not in answer.headers
        assert "etag" not in answer.headers
        parts: Files = {"json": (None, '{"name": "o"}'), "file": ("o", b"x")}
        sent = api.session.post(api.url("files/upload"), files=parts, headers={"If-None-Match": "*"})
        assert sent.status_code == 201
        key = {"Idempotency-Key": "1"}
        assert api.post("files/create_folder", {"name": "k"}, headers=key).status_code == 201
        assert api.post("files/create_folder", {"name": "k"}, headers=key).status_code == 409


def test_bundle(more: Api) -> None:
    more.file("exp1/a", b"first")
    more.file("exp1/b", b"second")
    more.file("large", bytes(256 * 1024 + 1))
    paths = [
        ["exp1", "b"],
        ["exp1", "a"],
        ["exp1", "b"],
        ["large"],
        ["exp1"],
        ["exp1", "c"],
        [],
        ["large", "a"],
    ]
    answer = more.post("files/download_many", {"paths": paths})
    assert answer.status_code == 200
    message = email.message_from_bytes(
        f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode() + answer.content,
        policy=email.policy.HTTP,
    )
    parts = list(message.iter_parts())  # type: ignore[attr-defined]
    sent = [None if part["rinocloud-api-alone"] else part.get_payload(decode=True) for part in parts]
    assert sent == [b"second", b"first", b"second", None, None, None, None, None]
    digest = b64encode(hashlib.sha256(b"second").digest()).decode()
    assert parts[0]["Repr-Digest"] == f"sha-256=:{digest}:"
    assert parts[0]["Content-Length"] == "6"


def test_a_bundle_has_its_bounds(more: Api) -> None:
    for number in range(10):
        more.file(f"f{number}", bytes([number]) * 256 * 1024)
    answer = more.post("files/download_many", {"paths": [[f"f{number}"] for number in range(10)]})
    assert answer.content.count(b"rinocloud-api-alone") == 2
    assert len(answer.content) < 2.1 * 1024 * 1024
    for paths in ([], None, "f1", [["f1"]] * 257, [5], [[5]], [["a", None]], {"f1": 1}):
        refused = more.post("files/download_many", {"paths": paths})
        assert refused.status_code == 400, paths
        assert refused.json()["error"].startswith("path")


LONG_PATHS = {
    "many names": [["a"] * 1000] * 200,
    "many names in a path": [["a"] * 200_000],
    "a long name": [["\u00e4" * 150_000]],
    "long names": [["\u00e4" * 255]] * 256,
}


@pytest.mark.parametrize("paths", LONG_PATHS.values(), ids=LONG_PATHS)
def test_long_paths_of_a_bundle_do_not_keep_the_event_loop(
    more: Api, paths: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[threading.Thread] = set()

    def noting(name: str, safe: str) -> str:
        used.add(threading.current_thread())
        return quote(name, safe=safe)

    monkeypatch.setattr(bundles, "quote", noting)
    more.post("files/download_many", {"paths": [["nothing to read"]]})
    (loop,) = used
    used.clear()
    answer = more.post("files/download_many", {"paths": paths})
    assert answer.content.count(b"rinocloud-api-alone") == len(paths)
    assert used
    assert loop not in used


def test_the_published_api_has_no_bundle() -> None:
    with live_server(extensions=False) as server:
        assert (
            Api(server.endpoint_url, server.token).post("files/download_many", {"paths": [["a"]]}).status_code
            == 404
        )
