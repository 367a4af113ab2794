from __future__ import annotations

import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
import requests
from blake3 import blake3

from rinofs.protocol.digests import new_hasher, parse_repr_digest
from rinofs.protocol.limits import MAX_KEYWORDS, MAX_NODES
from tests.server.packs import EMG, Api, container, data, pack

if TYPE_CHECKING:
    from rinofs.testing import LiveServer


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


MYO = pack(
    "MYO_various",
    data("Video", "video.mp4", mime="video/mp4; charset=binary"),
    data("Audio", "audio.wav", meta={"mime": "audio/wav"}),
    container("EMG", data("EMG", "emg.json", type=EMG)),
    container("IMU", data("Accelerometer", "accelerometer.json"), data("Gyroscope", "gyroscope.json")),
)
FILES = {
    "video.mp4": b"moving",
    "audio.wav": b"RIFF",
    "emg.json": b"[[1,2],[3,4]]",
    "accelerometer.json": b"[[0.947266,-0.337891,0.169922]]",
    "gyroscope.json": b"[[1,2,3]]",
}


def test_the_tutorial_of_the_service(api: Api) -> None:
    myself = api.get("/user").json()
    assert myself["datapacks"] == []
    assert myself["folders"] == myself["groups"] == []
    links = {"self": f"/api/v1.0/users/{myself['username']}", "collection": "/api/v1.0/users"}
    assert myself["_links"] == links
    # Upload: the structure, the links, each file.
    posted = {"structure": MYO, "name": MYO["info"]["name"], "owner": myself["id"]}
    result = api.post("/datapacks", json=posted).json()
    assert result["result"] == "OK"
    datapack = result["item"]
    identifier = datapack["id"]
    assert datapack == {
        "id": identifier,
        "name": "MYO_various",
        "owner": myself["id"],
        "folder": None,
        "structure": MYO,
        "group_edit_permissions": [],
    }
    listed = api.get(f"/datapacks/{identifier}/content").json()
    assert set(listed) == set(FILES)
    assert listed["emg.json"] == data("EMG", "emg.json", type=EMG)
    for link, content in FILES.items():
        answer = api.post(f"/datapacks/{identifier}/content/{link}", files={link: content})
        assert answer.json() == {"id": sha1(content), "result": "OK"}
    # Retrieval: the links lead to the contents now.
    assert api.get("/user").json()["datapacks"] == [identifier]
    children = api.get(f"/datapacks/{identifier}").json()["structure"]["children"]
    assert children[0]["link"] == f"repovizz:{sha1(b'moving')}"
    accelerometer = children[3]["children"][0]["link"]
    for wanted in (accelerometer, accelerometer.removeprefix("repovizz:")):
        assert api.get(f"/datapacks/{identifier}/content/{wanted}").content == FILES["accelerometer.json"]
    # Edition: the name, then the document, then one more node with its file.
    assert api.post(f"/datapacks/{identifier}", json={"name": "New name"}).json() == {"result": "OK"}
    edited = api.get(f"/datapacks/{identifier}").json()
    assert edited["name"] == "New name"
    document = edited["structure"]
    document["children"][0]["text"] = "Camera"
    document["children"][2]["children"].append(data("EMG 2", "emg 2.json", type=EMG))
    assert api.post(f"/datapacks/{identifier}", json={"structure": document}).json() == {"result": "OK"}
    assert api.structure(identifier) == document
    assert "emg 2.json" in api.get(f"/datapacks/{identifier}/content").json()
    answer = api.post(f"/datapacks/{identifier}/content/emg 2.json", files={"file": b"[[5]]"})
    assert answer.json() == {"id": sha1(b"[[5]]"), "result": "OK"}
    document["children"][2]["children"][1]["link"] = f"repovizz:{sha1(b'[[5]]')}"
    assert api.structure(identifier) == document


def test_users_see_themselves_by_name_too(api: Api) -> None:
    myself = api.get("/user").json()
    assert api.get(f"/users/{myself['username']}").json() == myself


@pytest.mark.parametrize(
    "link",
    [
        "a b.csv",
        "IMU/acc.csv",
        "100%.csv",
        "a%2Fb",
        "é#?&+;.csv",
        "日本語",
        "a\nb\r\n",
        "a//b\\c".replace("//", "/"),
    ],
)
def test_links_of_any_characters(api: Api, link: str) -> None:
    identifier = api.create(pack("pack", data("a", link)))
    quoted = requests.utils.quote(link, safe="")
    assert api.put(identifier, quoted, b"once").json() == {"id": sha1(b"once"), "result": "OK"}
    assert api.structure(identifier)["children"][0]["link"] == f"repovizz:{sha1(b'once')}"


def test_links_may_hold_slashes_that_are_not_encoded(api: Api) -> None:
    identifier = api.create(pack("pack", data("a", "IMU/left arm/acc.csv")))
    assert api.put(identifier, "IMU/left%20arm/acc.csv", b"1").json() == {"id": sha1(b"1"), "result": "OK"}


@pytest.mark.parametrize("link", ["a//b", "/a", "a/", "", "%2E%2E/a", "a/%2E/b"])
def test_no_link_leads_out(server: LiveServer, extended: Api, link: str) -> None:
    identifier = extended.create(pack("pack", data("a", "a")))
    url = f"{extended.base}/datapacks/{identifier}/content/{link}"
    sent = requests.Request("POST", url, files={"file": b"x"}, headers=extended.session.headers).prepare()
    sent.url = url  # as it is: the library would resolve the dots
    answer = extended.session.send(sent, timeout=30)
    assert answer.status_code in {404, 422}
    assert "error" in answer.json()
    assert extended.structure(identifier)["children"][0]["link"] == "a"


def test_posting_to_a_hash_replaces_the_file_of_all_its_nodes(api: Api) -> None:
    identifier = api.create(
        pack("pack", data("a", "a.csv"), container("c", data("b", "a.csv"), data("c", "c")))
    )
    api.put(identifier, "a.csv", b"one")
    api.put(identifier, f"repovizz:{sha1(b'one')}", b"two")
    children = api.structure(identifier)["children"]
    assert children[0]["link"] == children[1]["children"][0]["link"] == f"repovizz:{sha1(b'two')}"
    assert children[1]["children"][1]["link"] == "c"


def test_the_content_may_be_a_part_of_any_name(api: Api) -> None:
    identifier = api.create(pack("pack", *(data(str(n), f"{n}.csv") for n in range(5))))
    for number, part in enumerate(["file", "0.csv", "json", "sha256", "blake3"]):
        content = f"content {number}".encode()
        answer = api.post(f"/datapacks/{identifier}/content/{number}.csv", files={part: content})
        assert answer.json() == {"id": sha1(content), "result": "OK"}


@pytest.mark.parametrize("name", ["blake3", "sha256"])
def test_a_content_that_is_not_the_announced_one_is_refused(extended: Api, name: str) -> None:
    identifier = extended.create(pack(f"pack {name}", data("a", "a.csv")))
    hasher = new_hasher(name)
    hasher.update(b"sent")
    announced = {name: hasher.hexdigest()}
    path = f"/datapacks/{identifier}/content/a.csv"
    refused = extended.post(path, files={"file": b"other"}, data=announced)
    assert refused.status_code == 422
    assert extended.structure(identifier)["children"][0]["link"] == "a.csv"
    assert extended.post(path, files={"file": b"sent"}, data=announced).status_code == 200


def test_a_content_can_be_there_before_any_node_links_to_it(extended: Api) -> None:
    identifier = extended.create(pack("pack"))
    before = extended.get(f"/datapacks/{identifier}").headers["etag"]
    answer = extended.post(f"/datapacks/{identifier}/content", files={"file": b"to come"})
    assert answer.json() == {"id": sha1(b"to come"), "result": "OK"}
    # Nobody sees anything of it yet.
    assert extended.get(f"/datapacks/{identifier}").headers["etag"] == before
    assert extended.get(f"/datapacks/{identifier}/content").json() == {}
    link = f"repovizz:{sha1(b'to come')}"
    extended.post(f"/datapacks/{identifier}", json={"structure": pack("pack", data("a", link))})
    assert extended.get(f"/datapacks/{identifier}/content").json()[link]["size"] == 7
    assert extended.get(f"/datapacks/{identifier}/content/{link}").content == b"to come"
    announced = {"sha256": hashlib.sha256(b"sent").hexdigest()}
    path = f"/datapacks/{identifier}/content"
    assert extended.post(path, files={"file": b"other"}, data=announced).status_code == 422
    assert extended.get(f"{path}/{sha1(b'other')}").status_code == 404
    assert extended.post("/datapacks/other/content", files={"file": b"x"}).status_code == 403


def test_no_node_no_content(api: Api) -> None:
    identifier = api.create(pack("pack", data("a", "a.csv")))
    refused = api.put(identifier, "b.csv", b"x")
    assert refused.status_code == 404
    assert "b.csv" in refused.json()["error"]
    assert api.get(f"/datapacks/{identifier}/content/{'0' * 40}").status_code == 404
    assert api.get(f"/datapacks/{identifier}/content/a.csv").status_code == 404


def test_the_same_content_is_stored_once(extended: Api, server: LiveServer) -> None:
    content = b"the same content, however often"
    stored = server.data_dir / "blobs" / "b3"
    before = len(list(stored.glob("*/*")))
    for number in range(3):
        identifier = extended.create(pack(f"pack {number}", data("a", "a"), data("b", "b")))
        assert extended.put(identifier, "a", content).json() == extended.put(identifier, "b", content).json()
    assert len(list(stored.glob("*/*"))) == before + 1


def test_a_taken_name_is_a_conflict_that_names_the_other(api: Api) -> None:
    identifier = api.create(pack("pack"))
    other = api.create(pack("other"))
    message = {"error": f"Datapack pack already exists with id {identifier}", "error_code": 409}
    taken = api.post("/datapacks", json={"name": "pack", "structure": pack("pack")})
    assert (taken.status_code, taken.json()) == (409, message)
    taken = api.post(f"/datapacks/{other}", json={"name": "pack"})
    assert (taken.status_code, taken.json()) == (409, message)
    assert api.post(f"/datapacks/{identifier}", json={"name": "pack"}).json() == {"result": "OK"}


FLAWS: list[tuple[Any, str]] = [
    ({"info": {"name": "a"}, "children": []}, "info.author"),
    (pack("a", {"class": "data", "name": "n", "text": ""}), "n: 'link' is missing"),
    (pack("a", container("c", {"class": "data", "name": "n", "link": "l"})), "c/n: 'text' is missing"),
    (pack("a", container("c", {**data("n", "l"), "link": 3})), "c/n: 'link'"),
    (pack("a", {"class": "neither", "name": "n", "text": ""}), "n: 'class'"),
    (pack("a", {"class": "container", "name": "n", "text": "", "children": 3}), "n: 'children'"),
    (pack("a", "text"), "[0]"),
    ([], "datapack document"),
    ("text", "datapack document"),
    (7, "datapack document"),
]


@pytest.mark.parametrize(("structure", "message"), FLAWS, ids=[message for _, message in FLAWS])
def test_a_flaw_is_named_by_its_node(api: Api, structure: Any, message: str) -> None:
    refused = api.post("/datapacks", json={"name": "a", "structure": structure})
    assert refused.status_code == 422
    assert message in refused.json()["error"]
    identifier = api.create(pack("fine"))
    refused = api.post(f"/datapacks/{identifier}", json={"structure": structure})
    assert refused.status_code == 422
    assert message in refused.json()["error"]
    assert api.structure(identifier) == pack("fine")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a"},
        {"structure": pack("a")},
        {"name": "", "structure": pack("a")},
        {"name": 7, "structure": pack("a")},
        {"name": "a\nb", "structure": pack("a")},
        {},
    ],
)
def test_a_new_datapack_needs_a_name_and_a_structure(api: Api, fields: dict[str, Any]) -> None:
    assert api.post("/datapacks", json=fields).status_code == 422
    assert api.get("/user").json()["datapacks"] == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"name": NaN}', b'{"name": "\\ud800"}', b"\xff", b'{"structure":' * 2000]
)
def test_what_is_no_json_object_is_refused(api: Api, body: bytes) -> None:
    refused = api.post("/datapacks", data=body, headers={"content-type": "application/json"})
    assert refused.status_code in {400, 422}
    assert "error" in refused.json()


def test_a_body_is_read_as_json_whatever_it_is_called(api: Api) -> None:
    body = json.dumps({"name": "form", "structure": pack("form")})
    headers = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
    assert api.post("/datapacks", data=body, headers=headers).json()["item"]["name"] == "form"


def nested(depth: int) -> dict[str, Any]:
    node = data("leaf", "leaf.csv")
    for level in range(depth):
        node = container(str(level), node)
    return pack("deep", node)


def test_documents_may_be_deep(api: Api) -> None:
    identifier = api.create(nested(48))
    assert api.get(f"/datapacks/{identifier}").status_code == 200
    assert list(api.get(f"/datapacks/{identifier}/content").json()) == ["leaf.csv"]
    assert api.put(identifier, "leaf.csv", b"deep").status_code == 200
    assert list(api.get(f"/datapacks/{identifier}/content").json()) == [f"repovizz:{sha1(b'deep')}"]


@pytest.mark.parametrize("depth", [50, 100, 190])
def test_what_is_too_deep_is_named(extended: Api, depth: int) -> None:
    refused = extended.post("/datapacks", json={"name": "deep", "structure": nested(depth)})
    assert refused.status_code == 422
    assert "nested too deeply" in refused.json()["error"]


def test_documents_may_be_large_but_not_endless(extended: Api) -> None:
    nodes = [data(f"node {number}", f"{number}.csv") for number in range(10_000)]
    identifier = extended.create(pack("large", container("all", *nodes)))
    assert len(extended.get(f"/datapacks/{identifier}/content").json()) == 10_000
    huge = {"name": "huge", "structure": pack("huge", data("a", "a", meta={"x": "x" * 17 * 1024 * 1024}))}
    assert extended.post("/datapacks", json=huge).status_code == 413


def test_what_nobody_knows_survives(api: Api) -> None:
    odd = pack("odd", data("a", "a", meta={"deep": [1, 2.5, None, {"link": "a"}]}, extra=-(2**63)))
    odd["info"]["more"] = {"é": "\U0001f600\u0000"}
    odd["further"] = [True, 1e-300, 0.1]
    identifier = api.create(odd)
    assert api.structure(identifier) == odd
    api.put(identifier, "a", b"x")
    odd["children"][0]["link"] = f"repovizz:{sha1(b'x')}"
    assert api.structure(identifier) == odd


def test_contents_are_sent_in_ranges_with_digests(extended: Api) -> None:
    content = bytes(range(256)) * 100
    identifier = extended.create(pack("pack", data("a", "IMU/left arm.csv")))
    hashed = extended.put(identifier, "IMU/left arm.csv", content).json()["id"]
    path = f"/datapacks/{identifier}/content/{hashed}"
    whole = extended.get(path)
    assert whole.content == content
    assert whole.headers["content-disposition"] == 'attachment; filename="left arm.csv"'
    known = {"blake3": blake3(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
    assert parse_repr_digest(whole.headers["repr-digest"]) == known
    part = extended.get(path, headers={"range": "bytes=10-19", "if-range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert extended.get(path, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    assert extended.get(path, headers={"range": "bytes=99999-"}).status_code == 416
    head = extended.session.head(extended.base + path, timeout=30)
    assert (head.headers["content-length"], head.content) == ("25600", b"")
    listed = extended.get(f"/datapacks/{identifier}/content").json()[f"repovizz:{hashed}"]
    assert listed["size"] == 25600
    assert {name: listed[name] for name in known} == known


@pytest.mark.parametrize("control", ["\0", "\n", "\r\n", "\x1b[2J", "\x7f", "\x85"], ids=repr)
def test_names_for_saving_have_no_control_characters(extended: Api, control: str) -> None:
    """They come from links, which are any text, and from what clients say that a file is called."""
    link, sent = f"arms/left{control}arm.csv", f"right{control}arm.csv"
    identifier = extended.create(pack("pack", data("a", link)))
    parts = f"--b\r\nContent-Disposition: form-data; name=\"file\"; filename*=utf-8''{quote(sent)}\r\n\r\n"
    stored = extended.post(
        f"/datapacks/{identifier}/content",
        data=f"{parts}second\r\n--b--\r\n".encode(),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    for answer, side in ((extended.put(identifier, quote(link), b"first"), "left"), (stored, "right")):
        assert answer.status_code == 200, answer.text
        found = extended.get(f"/datapacks/{identifier}/content/{answer.json()['id']}")
        cleaned = side + re.sub(r"[\x00-\x1f\x7f-\x9f]", "_", control) + "arm.csv"
        assert unquote(found.headers["content-disposition"]).endswith(f"''{cleaned}") or (
            found.headers["content-disposition"] == f'attachment; filename="{cleaned}"'
        )


def test_the_published_api_has_nothing_more(plain: LiveServer) -> None:
    api = Api(plain.endpoint_url, plain.token)
    identifier = api.create(pack("pack", data("a", "a"), data("b", "b")))
    hashed = api.put(identifier, "a", b"content").json()["id"]
    assert api.get("/datapacks").status_code == 405
    assert api.delete(f"/datapacks/{identifier}").status_code == 405
    assert api.post(f"/datapacks/{identifier}/content", files={"file": b"x"}).status_code == 405
    found = api.get(f"/datapacks/{identifier}", headers={"if-none-match": "*"})
    assert (found.status_code, "etag" in found.headers) == (200, False)
    listed = api.get(f"/datapacks/{identifier}/content")
    assert "etag" not in listed.headers
    assert not {"size", "sha256", "blake3"} & set(listed.json()[f"repovizz:{hashed}"])
    content = api.get(f"/datapacks/{identifier}/content/{hashed}", headers={"range": "bytes=1-2"})
    assert (content.content, content.status_code) == (b"on", 206)
    assert not {"etag", "repr-digest", "last-modified"} & {name.lower() for name in content.headers}
    changed = api.post(f"/datapacks/{identifier}", json={"name": "new"}, headers={"if-match": '"other"'})
    assert changed.json() == {"result": "OK"}


def test_the_list_shows_each_datapack_with_its_state(extended: Api) -> None:
    ids = [extended.create(pack(name, data("a", name))) for name in ("one", "two/2", "three")]
    items = extended.get("/datapacks").json()["items"]
    assert [item["id"] for item in items] == ids
    for item in items:
        found = extended.get(f"/datapacks/{item['id']}")
        assert found.headers["etag"] == f'"{item.pop("etag")}"'
        assert found.json() == item
    assert [
        item["id"] for item in extended.get("/datapacks", params={"name": "two/2"}).json()["items"]
    ] == ids[1:2]
    assert extended.get("/datapacks", params={"name": "none"}).json() == {"items": []}


def test_what_did_not_change_is_not_sent_again(extended: Api) -> None:
    identifier = extended.create(pack("pack", data("a", "a")))
    for path in (f"/datapacks/{identifier}", f"/datapacks/{identifier}/content"):
        first = extended.get(path)
        again = extended.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    extended.put(identifier, "a", b"new")
    for path in (f"/datapacks/{identifier}", f"/datapacks/{identifier}/content"):
        assert extended.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 200


def test_a_change_of_another_state_is_refused(extended: Api) -> None:
    path = f"/datapacks/{extended.create(pack('pack', data('a', 'a')))}"
    known = extended.get(path).headers["etag"]
    edited = extended.post(path, json={"name": "second"}, headers={"if-match": known})
    assert edited.json() == {"result": "OK"}
    assert edited.headers["etag"] == extended.get(path).headers["etag"] != known
    for refused in (
        extended.post(path, json={"name": "third"}, headers={"if-match": known}),
        extended.post(path, json={"structure": pack("lost")}, headers={"if-match": known}),
        extended.post(f"{path}/content/a", files={"file": b"x"}, headers={"if-match": known}),
        extended.delete(path, headers={"if-match": known}),
    ):
        assert refused.status_code == 412
        assert refused.headers["etag"] == edited.headers["etag"]
    assert extended.get(path).json()["name"] == "second"
    assert extended.delete(path, headers={"if-match": edited.headers["etag"]}).json() == {"result": "OK"}
    assert extended.get(path).status_code == 403
    assert extended.get("/user").json()["datapacks"] == []


def test_fifty_writers_lose_nothing(extended: Api, server: LiveServer) -> None:
    identifier = extended.create(pack("shared", *(data(str(n), f"{n}.csv") for n in range(50))))
    start = threading.Barrier(10)

    def write(worker: int) -> None:
        api = Api(server.endpoint_url, extended.session.headers["authorization"].removeprefix("Bearer "))
        start.wait()
        for number in range(worker * 5, worker * 5 + 5):
            assert api.put(identifier, f"{number}.csv", f"content {number}".encode()).status_code == 200

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(write, range(10)))
    links = [node["link"] for node in extended.structure(identifier)["children"]]
    assert links == [f"repovizz:{sha1(f'content {number}'.encode())}" for number in range(50)]


def test_fifty_editors_lose_nothing(extended: Api, server: LiveServer) -> None:
    identifier = extended.create(pack("edited"))
    path = f"/datapacks/{identifier}"

    def add(number: int) -> None:
        api = Api(server.endpoint_url, extended.session.headers["authorization"].removeprefix("Bearer "))
        while True:
            found = api.get(path)
            structure = found.json()["structure"]
            structure["children"].append(data(str(number), f"{number}.csv"))
            sent = {"if-match": found.headers["etag"]}
            edited = api.post(path, json={"structure": structure}, headers=sent)
            if edited.status_code == 200:
                return
            assert edited.status_code == 412

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(add, range(50)))
    names = sorted(int(node["name"]) for node in extended.structure(identifier)["children"])
    assert names == list(range(50))


def test_a_repeated_request_is_carried_out_once(extended: Api) -> None:
    identifier = extended.create(pack("pack", data("a", "a")))
    key = {"idempotency-key": "one"}
    first = extended.put(identifier, "a", b"content", headers=key)
    again = extended.put(identifier, "a", b"content", headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert extended.put(identifier, "a", b"content").status_code == 404


def test_without_a_good_token_nothing_is_said(server: LiveServer) -> None:
    path = "/user"
    for headers, challenge in (
        ({}, "Bearer"),
        ({"authorization": "Bearer nobody's"}, 'Bearer error="invalid_token"'),
        ({"authorization": "Basic YTpi"}, 'Bearer error="invalid_token"'),
    ):
        refused = requests.get(f"{server.endpoint_url}/api/v1.0{path}", headers=headers, timeout=30)
        assert refused.status_code == 401
        assert refused.json() == {"error": "You are unauthorized to make this request.", "error_code": 401}
        assert refused.headers["www-authenticate"] == challenge


@pytest.mark.parametrize(
    ("structure", "most"),
    [
        (lambda: pack("p", *[data("n", "a")] * (MAX_NODES + 1)), MAX_NODES),
        (lambda: pack("p", container("c", *[container("d")] * MAX_NODES)), MAX_NODES),
        (lambda: {**pack("p"), "info": {"keywords": [1] * (MAX_KEYWORDS + 1)}}, MAX_KEYWORDS),
    ],
    ids=["nodes", "containers", "keywords"],
)
def test_documents_have_limits(server: LiveServer, structure: Any, most: int) -> None:
    api = Api(server.endpoint_url, server.token)
    answer = api.post("/datapacks", json={"name": "large", "structure": structure()})
    assert answer.status_code == 422
    assert f"at most {most} " in answer.json()["error"]


def test_a_message_is_short_whatever_nodes_are_called(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    whole = pack("p", container("n" * 1_000_000, data("x", "a", text=5)))
    answer = api.post("/datapacks", json={"name": "long", "structure": whole})
    assert answer.status_code == 422
    assert len(answer.content) < 2000
