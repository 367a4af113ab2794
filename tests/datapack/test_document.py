"""Documents: read, written, and refused."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs.datapack import Container, DataNode, Document, Info, dump, from_json, parse
from rinofs.datapack.document.validation import check, flaws
from rinofs.errors import InvalidDatapackError
from tests.campaign import rounds
from tests.datapack.packs import deep_text, documents, json_values, tutorial

EXTRAS = st.dictionaries(
    st.text(max_size=5).filter(lambda key: key not in {"children", "class"}), json_values
)


@st.composite
def raw_nodes(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    container = depth > 0 and draw(st.booleans())
    fields = [*list(draw(EXTRAS).items()), ("class", "container" if container else "data")]
    if container:
        fields.append(("children", draw(st.lists(raw_nodes(depth - 1), max_size=3))))
    return dict(draw(st.permutations(fields)))


@st.composite
def raw_documents(draw: st.DrawFn) -> dict[str, Any]:
    fields = [*draw(EXTRAS).items(), ("children", draw(st.lists(raw_nodes(), max_size=3)))]
    return dict(draw(st.permutations([*fields, ("info", draw(EXTRAS | json_values))])))


def in_order(value: Any) -> Any:
    """The value with the order of its keys made part of it."""
    if isinstance(value, dict):
        return [(key, in_order(inner)) for key, inner in value.items()]
    return [in_order(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=rounds(10, 300))
@given(raw_documents())
def test_round_trip_keeps_every_key_and_their_order(raw: dict[str, Any]) -> None:
    text = json.dumps(raw)
    assert in_order(json.loads(dump(parse(text)))) == in_order(json.loads(text))
    assert in_order(json.loads(dump(parse(text), indent=2))) == in_order(json.loads(text))


@settings(max_examples=rounds(10, 300))
@given(raw_documents(), raw_documents())
def test_documents_are_equal_when_their_json_is(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert from_json(one) == from_json(copy.deepcopy(one))
    assert hash(from_json(one)) == hash(from_json(copy.deepcopy(one)))
    assert (from_json(one) == from_json(other)) == (one == other)


@given(documents)
def test_documents_survive_pickle_and_deepcopy(document: Document) -> None:
    for again in (pickle.loads(pickle.dumps(document)), copy.deepcopy(document), parse(dump(document))):
        assert again == document
        assert pickle.loads(pickle.dumps(again.children)) == document.children


def test_reads_what_the_document_says() -> None:
    document = parse(json.dumps(tutorial()).encode())
    assert document.info.name == "MYO"
    assert document.info.author == "me"
    assert document.info.description == "An arm"
    assert document.info.keywords == ("arm", "IMU")
    assert document.info.id is None
    video, emg, imu = document.children
    assert isinstance(video, DataNode)
    assert (video.link, video.text) == ("clip 1.mp4", "video of the arm")
    assert video.mime == "video/mp4; charset=binary"
    assert isinstance(imu, Container)
    accelerometer = imu.children[0]
    assert isinstance(accelerometer, DataNode)
    assert accelerometer.datatype == "ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc"
    assert accelerometer.mime is None
    assert isinstance(emg, Container)


def test_built_in_code() -> None:
    stream = DataNode.create("a", "a.csv", text="t", mime="text/csv", datatype="u", meta={"rate": 3})
    document = Document.create("d", [Container.create("c", [stream])], author="me", keywords=["x", "x", "y"])
    assert flaws(document) == []
    assert document.to_json() == {
        "info": {"name": "d", "author": "me", "description": "", "keywords": ["x", "y"]},
        "children": [
            {
                "class": "container",
                "name": "c",
                "text": "",
                "children": [
                    {
                        "class": "data",
                        "name": "a",
                        "text": "t",
                        "link": "a.csv",
                        "type": "u",
                        "mime": "text/csv",
                        "meta": {"rate": 3},
                    }
                ],
            }
        ],
    }


def test_values_cannot_be_changed() -> None:
    document = parse(json.dumps(tutorial()))
    with pytest.raises(AttributeError):
        document.info = Info({})  # type: ignore[misc]
    with pytest.raises(TypeError):
        document.children[0].fields["name"] = "other"  # type: ignore[index]
    document.to_json()["children"][0]["name"] = "other"
    assert document.children[0].name == "video"


def test_changed_fields_keep_their_place() -> None:
    node = DataNode({"link": "a", "mystery": 1, "class": "data", "name": "n"})
    changed = node.with_fields(name="m", mime="text/csv")
    assert list(changed.fields.items()) == [
        *[("link", "a"), ("mystery", 1), ("class", "data"), ("name", "m"), ("mime", "text/csv")]
    ]
    assert "mystery" not in changed.without_fields("mystery").fields
    document = parse('{"x": 1, "info": {"name": "a", "z": 2}, "children": []}').with_info(name="b")
    assert dump(document) == '{"x": 1, "info": {"name": "b", "z": 2}, "children": []}'


UNREADABLE = {
    "not JSON": ("{", "not valid JSON"),
    "NaN": ('{"info": {"x": NaN}, "children": []}', "NaN is not a JSON number"),
    "a huge number": ('{"children": [' + "9" * 5000 + "]}", "not valid JSON"),
    "no object": ("[]", "is a JSON object with 'info' and 'children'"),
    "some other JSON": ('{"a": 1}', "'info' and 'children' are missing"),
    "children are no list": ('{"info": {}, "children": {}}', "'children' is not an array"),
    "a node is no object": (
        '{"children": [{"name": "IMU", "class": "container", "children": [{"link": "x"}, 3]}]}',
        "^IMU/\\[1\\]: is not a JSON object but 3",
    ),
    "no class": ('{"children": [{"name": "a/b"}]}', "^a%2Fb: 'class' is missing"),
    "a strange class": ('{"children": [{"name": "a", "class": "folder"}]}', "^a: 'class' is 'folder'"),
    "inner children": (
        '{"children": [{"name": "a", "class": "container", "children": 5}]}',
        "^a: 'children' is not",
    ),
}


@pytest.mark.parametrize(("text", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_refuses_what_cannot_be_read_and_names_it(text: str, message: str) -> None:
    with pytest.raises(InvalidDatapackError, match=message):
        parse(text)


def test_refuses_bytes_that_are_no_text() -> None:
    with pytest.raises(InvalidDatapackError, match="not valid JSON"):
        parse(b"\xff\xfe\xfd{")
    assert parse(b"\xef\xbb\xbf" + deep_text(1).encode()) == parse(deep_text(1)), (
        "a byte order mark is no harm"
    )


FLAWED = {
    "missing keys": (
        '{"children": [{"class": "data"}]}',
        [
            "datapack: 'info' is missing",
            *["unnamed: 'name' is missing", "unnamed: 'text' is missing", "unnamed: 'link' is missing"],
        ],
    ),
    "info": (
        '{"info": {"name": 5, "author": "", "description": "", "keywords": ["a", "a"]}, "children": []}',
        [
            "datapack: 'info.name' is 5, not a string",
            "datapack: 'info.keywords': ['a', 'a'] has non-unique elements",
        ],
    ),
    "wrong types": (
        (
            '{"info": 3, "children": [{"class": "data", "name": 1, "text": null, "link": [],'
            ' "meta": 2, "mime": 3}]}'
        ),
        [
            "datapack: 'info' is 3, not an object",
            *["unnamed: 'name' is 1, not a string", "unnamed: 'text' is None, not a string"],
            *["unnamed: 'link' is [], not a string", "unnamed: 'mime' is 3, not a string"],
            "unnamed: 'meta' is 2, not an object",
        ],
    ),
    "links": (
        '{"info": {"name": "", "author": "", "description": "", "keywords": []}, "children": ['
        + ", ".join(
            json.dumps({"class": "data", "name": str(i), "text": "", "link": link})
            for i, link in enumerate(
                ["/a", "a//b", "../a", "a/..", ".", "", "..a", "a./b", "a b%#\n", "repovizz:ab"]
            )
        )
        + "]}",
        [
            f"{i}: 'link' is {link!r}, not a relative path without empty, '.' and '..' segments"
            for i, link in enumerate(["/a", "a//b", "../a", "a/..", ".", ""])
        ],
    ),
    "a node without class": (
        (
            '{"info": {"name": "", "author": "", "description": "", "keywords": []}, "children": ['
            '{"name": "a", "text": "", "children": [{"name": "b", "text": "", "link": "x", "class": 5}]}]}'
        ),
        ["a: 'class' is missing", "a/b: 'class': 'data' was expected"],
    ),
    "children null": (
        (
            '{"info": {"name": "", "author": "", "description": "", "keywords": []},'
            ' "children": [{"class": "container", "name": "a", "text": "", "children": null}]}'
        ),
        ["a: 'children' is None, not an array"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), FLAWED.values(), ids=FLAWED)
def test_reads_documents_with_flaws_and_lists_them(text: str, expected: list[str]) -> None:
    document = parse(text)
    assert sorted(map(str, flaws(document))) == sorted(expected)
    assert json.loads(dump(document)) == json.loads(text)
    with pytest.raises(InvalidDatapackError):
        check(document)


def test_flaws_are_named_by_path() -> None:
    raw = tutorial()
    del raw["children"][2]["children"][0]["link"]
    with pytest.raises(InvalidDatapackError, match=r"^IMU/Accelerometer: 'link' is missing$"):
        check(parse(json.dumps(raw)))


@settings(max_examples=rounds(10, 300))
@given(raw_documents())
def test_flaws_are_those_that_the_shipped_schema_finds(raw: dict[str, Any]) -> None:
    from importlib.resources import files

    schema = json.loads(files("rinofs.datapack").joinpath("schema/datapack.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert bool(flaws(from_json(raw))) != jsonschema.Draft202012Validator(schema).is_valid(raw)


@pytest.mark.parametrize("depth", [1, 20, 48, 49])
def test_deep_documents_are_read(depth: int) -> None:
    document = parse(deep_text(depth))
    assert json.loads(dump(document, indent=1)) == json.loads(deep_text(depth))
    assert flaws(document) == []
    assert pickle.loads(pickle.dumps(document)) == copy.deepcopy(document) == document
    assert hash(document) == hash(parse(deep_text(depth)))


@pytest.mark.parametrize("depth", [50, 60, 200])
def test_documents_that_are_too_deep_are_refused(depth: int) -> None:
    with pytest.raises(InvalidDatapackError, match=r"^c/c/c/.*c.*: is nested too deeply: at most 100 levels"):
        parse(deep_text(depth))


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_documents_that_are_far_too_deep_are_refused(depth: int) -> None:
    with pytest.raises(InvalidDatapackError, match=r"nested too deeply: at most 100 levels of JSON"):
        parse(deep_text(depth))


@pytest.mark.parametrize("where", ["meta", "children", "name"])
def test_values_that_are_too_deep_are_refused(where: str) -> None:
    deep = "[" * 200 + "]" * 200
    with pytest.raises(InvalidDatapackError, match=r"^IMU: is nested too deeply"):
        parse(f'{{"children": [{{"class": "data", "link": "IMU", "{where}": {deep}}}]}}')
    with pytest.raises(InvalidDatapackError, match=r"^nested too deeply"):
        parse(f'{{"children": [], "info": {{"{where}": {deep}}}}}')


@pytest.mark.parametrize("left", [20, 50, 100, 400])
def test_reading_on_a_stack_that_is_nearly_full_is_whole_or_refused(left: int) -> None:
    def deeper(levels: int) -> str:
        return deeper(levels - 1) if levels else dump(parse(deep_text(49)))

    used = len(__import__("inspect").stack())
    try:
        text = deeper(sys.getrecursionlimit() - used - left)
    except (InvalidDatapackError, RecursionError):
        assert left < 400
    else:
        assert json.loads(text) == json.loads(deep_text(49))


def test_numbers_that_json_lacks_are_refused_when_written() -> None:
    with pytest.raises(InvalidDatapackError, match="cannot be stored as JSON"):
        dump(Document.create("x", [DataNode.create("a", "a", meta={"rate": float("nan")})]))


def test_ten_thousand_nodes_take_little_time() -> None:
    rows = [DataNode.create(f"n{i % 100}", f"{i}.csv") for i in range(10_000)]
    text = dump(Document.create("x", [Container.create("one", rows), *rows]))
    start = time.thread_time()
    document = parse(text)
    assert sum(isinstance(node, DataNode) for node in document.children) == 10_000
    assert time.thread_time() - start < 2
    assert flaws(document) == []
