"""Metadata and tags of what is there, on both APIs."""

from __future__ import annotations

import string
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rinofs import RinoFileSystem
from rinofs.errors import NotAllowedError, NotFoundError
from rinofs.rinocloud.metadata import RECORD_FIELDS
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

PATH = "exp/run 1.csv"


@pytest.fixture(autouse=True)
def _file(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe_file(PATH, b"x\n1\n", metadata={"a": 1, "b": {"c": [1, 2.5]}}, tags=["t"])
    server.reset()


def test_metadata_is_merged_or_replaced(fs: RinoFileSystem, api: Api) -> None:
    assert fs.get_metadata(PATH) == {"a": 1, "b": {"c": [1, 2.5]}}
    merged = {"a": 1, "b": {"d": None}, "é": "日本"}
    assert fs.set_metadata(PATH, {"b": {"d": None}, "é": "日本"}) == merged
    assert api.record("exp", "run 1.csv")["metadata"] == fs.get_metadata(PATH) == merged
    assert fs.set_metadata(PATH, {"x": np.float32(0.5)}, replace=True) == {"x": 0.5}
    assert fs.set_metadata(PATH, {}) == {"x": 0.5}
    assert fs.set_metadata(PATH, {}, replace=True) == api.record("exp", "run 1.csv")["metadata"] == {}


def test_fields_are_deleted(fs: RinoFileSystem, api: Api) -> None:
    assert fs.delete_metadata(PATH, "a", "not there", "b.c") == {"b": {"c": [1, 2.5]}}
    assert fs.delete_metadata(PATH, "b") == api.record("exp", "run 1.csv")["metadata"] == {}
    with pytest.raises(TypeError, match=r"fields\[1\]"):
        fs.delete_metadata(PATH, "a", 1)  # type: ignore[arg-type]


def test_tags_are_replaced(fs: RinoFileSystem, api: Api) -> None:
    assert fs.get_tags(PATH) == ["t"]
    fs.set_tags(PATH, ["ü", "v"])
    assert fs.get_tags(PATH) == fs.info(PATH)["tags"] == api.record("exp", "run 1.csv")["tags"] == ["ü", "v"]
    fs.set_tags(PATH, [])
    assert fs.get_tags(PATH) == []
    assert fs.get_metadata(PATH) == {"a": 1, "b": {"c": [1, 2.5]}}


def test_attributes_as_other_filesystems_have_them(fs: RinoFileSystem) -> None:
    assert fs.getxattr(PATH, "a") == 1
    with pytest.raises(KeyError, match="nothing"):
        fs.getxattr(PATH, "nothing")
    assert fs.setxattrs(PATH, a=None, d=[1]) == fs.get_metadata(PATH) == {"b": {"c": [1, 2.5]}, "d": [1]}
    assert fs.setxattrs(PATH, d=None) == {"b": {"c": [1, 2.5]}}


def test_folders_have_metadata_too(fs: RinoFileSystem) -> None:
    fs.set_metadata("exp", {"project": 1}, replace=True)
    fs.set_tags("exp", ["x"])
    assert fs.get_metadata("exp") == fs.info("exp")["metadata"] == {"project": 1}
    assert fs.get_tags("exp") == ["x"]
    assert fs.get_metadata("") == {}
    with pytest.raises(PermissionError, match="top level"):
        fs.set_metadata("", {"a": 1})


ACTS: list[Callable[[RinoFileSystem, str], Any]] = [
    lambda fs, path: fs.get_metadata(path),
    lambda fs, path: fs.set_metadata(path, {"a": 2}),
    lambda fs, path: fs.set_metadata(path, {}),
    lambda fs, path: fs.set_metadata_many({path: {"a": 2}}),
    lambda fs, path: fs.delete_metadata(path, "a"),
    lambda fs, path: fs.set_tags(path, []),
    lambda fs, path: fs.getxattr(path, "a"),
]


@pytest.mark.parametrize("act", ACTS)
def test_what_is_not_there_has_none(fs: RinoFileSystem, act: Callable[..., Any]) -> None:
    for path in ("exp/nothing", "nothing/at all"):
        with pytest.raises(NotFoundError, match="rino://"):
            act(fs, path)


def test_earlier_versions_cannot_be_described(fs: RinoFileSystem) -> None:
    fs.pipe_file(PATH, b"new", metadata={"v": 2})
    earlier, current = (f"@{info['id']}" for info in fs.versions(PATH))
    assert fs.get_metadata(earlier) == {"a": 1, "b": {"c": [1, 2.5]}}
    for act in (lambda: fs.set_metadata(earlier, {"a": 2}), lambda: fs.set_tags(earlier, [])):
        with pytest.raises(NotAllowedError, match="earlier version"):
            act()
    fs.set_metadata(current, {"by": "id"})
    assert fs.info(PATH)["metadata"] == {"v": 2, "by": "id"}


# What is remembered


def test_listings_show_what_was_set(fs: RinoFileSystem, options: dict[str, Any]) -> None:
    other = RinoFileSystem(**options, block_size=1000)
    for number, looker in enumerate((fs, other)):
        looker.ls("exp")
        looker.info(PATH)
        fs.set_metadata(PATH, {"n": number})
        fs.set_tags(PATH, [str(number)])
        for info in (looker.info(PATH), looker.ls("exp")[0], looker.find("exp", detail=True)[PATH]):
            assert (info["metadata"]["n"], info["tags"]) == (number, [str(number)])
        fs.set_metadata(f"@{fs.info(PATH)['id']}", {"n": "by id"})
        assert looker.ls("exp")[0]["metadata"]["n"] == looker.info(PATH)["metadata"]["n"] == "by id"
        fs.delete_metadata(PATH, "n")
        assert "n" not in looker.info(PATH)["metadata"]


def test_what_others_replaced_is_found_again(fs: RinoFileSystem, api: Api) -> None:
    fs.info(PATH)
    new = api.upload("exp/run 1.csv", b"by somebody else", metadata={"theirs": 1})
    assert fs.set_metadata(PATH, {"mine": 2}) == {"theirs": 1, "mine": 2}
    fs.info(PATH)
    api.post("delete", id=new["id"])
    api.upload("exp/run 1.csv", b"again")
    assert fs.set_metadata(PATH, {"mine": 3}) == {"mine": 3}


def test_a_change_looks_the_object_up_and_is_one_request(fs: RinoFileSystem, server: LiveServer) -> None:
    fs.info(PATH)
    looking_up = 1 if server.extensions else 2
    for act in (
        lambda: fs.set_metadata(PATH, {"x": 1, "y": 2}),
        lambda: fs.set_metadata(PATH, {"x": 1, "y": 2}, replace=True),
        lambda: fs.delete_metadata(PATH, "x"),
        lambda: fs.set_tags(PATH, ["u"]),
    ):
        server.reset()
        act()
        assert len(server.requests) == looking_up + 1


def test_many_are_set_at_once(fs: RinoFileSystem, server: LiveServer) -> None:
    paths = [f"exp/many/{number}" for number in range(40)]
    fs.pipe(dict.fromkeys(paths, b""))
    fs.ls("exp/many")
    server.reset()
    fs.set_metadata_many({path: {"path": 1, "n": n} for n, path in enumerate(paths)}, replace=True)
    looking_up = 1 if server.extensions else 3
    assert len(server.requests) == looking_up + 40
    assert [info["metadata"]["n"] for info in map(fs.info, paths)] == list(range(40))
    assert sorted(info["metadata"]["n"] for info in fs.ls("exp/many")) == list(range(40))
    server.reset()
    with pytest.raises(TypeError, match=r"metadata of exp/many/1\['x'\]"):
        fs.set_metadata_many({paths[0]: {"x": 1}, paths[1]: {"x": {1}}})
    assert not server.requests


def test_nothing_is_lost_where_threads_merge(fs: RinoFileSystem, options: dict[str, Any]) -> None:
    def merge(number: int) -> None:
        RinoFileSystem(**options).set_metadata(PATH, {f"n{number}": number})

    threads = [threading.Thread(target=merge, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {"a": 1, "b": {"c": [1, 2.5]}, **{f"n{number}": number for number in range(12)}}
    assert fs.info(PATH)["metadata"] == fs.info(PATH, refresh=True)["metadata"] == expected


# Copies and moves


def test_copies_and_moves_keep_metadata(fs: RinoFileSystem, api: Api) -> None:
    fs.set_metadata(PATH, {"set": "later"})
    fs.cp(PATH, "copies/one")
    fs.cp("exp", "whole", recursive=True)
    fs.mv(PATH, "exp/moved")
    fs.mv("exp", "elsewhere")
    for names in (("copies", "one"), ("whole", "run 1.csv"), ("elsewhere", "moved")):
        record = api.record(*names)
        assert record["metadata"] == {"a": 1, "b": {"c": [1, 2.5]}, "set": "later"}
        assert record["tags"] == ["t"]
        assert fs.get_metadata("/".join(names)) == record["metadata"]


# What cannot be stored


@pytest.mark.parametrize(
    "write",
    [
        lambda fs, metadata: fs.set_metadata(PATH, metadata),
        lambda fs, metadata: fs.set_metadata(PATH, metadata, replace=True),
        lambda fs, metadata: fs.setxattrs(PATH, **metadata),
        lambda fs, metadata: fs.open("new", "wb", metadata=metadata),
        lambda fs, metadata: fs.open("new", "xb", metadata=metadata),
        lambda fs, metadata: fs.open("new", "ab", metadata=metadata),
        lambda fs, metadata: fs.pipe_file("new", b"", metadata=metadata),
        lambda fs, metadata: fs.pipe({"new": b""}, metadata=metadata),
        lambda fs, metadata: fs.put_file(__file__, "new", metadata=metadata),
        lambda fs, metadata: fs.put([__file__], ["new/one"], metadata=metadata),
        lambda fs, metadata: fs.touch("new", metadata=metadata),
    ],
)
def test_what_json_cannot_hold_is_not_sent(
    fs: RinoFileSystem, server: LiveServer, write: Callable[..., Any]
) -> None:
    for metadata, error in (({"x": {"y": {1}}}, TypeError), ({"x": {"y": float("nan")}}, ValueError)):
        with pytest.raises(error, match=r"metadata\['x'\]\['y'\]"):
            write(fs, metadata)
    assert not server.requests


def test_tags_that_are_none_are_not_sent(fs: RinoFileSystem, server: LiveServer) -> None:
    for write in (lambda: fs.set_tags(PATH, "pilot"), lambda: fs.pipe_file("new", b"", tags="pilot")):
        with pytest.raises(TypeError, match="tags"):
            write()
    assert not server.requests


def test_the_records_own_names_are_not_merged(fs: RinoFileSystem, server: LiveServer) -> None:
    own = ["name", "size", "id", "type", "metadata", "tags", "parent", "versions", "sha256", "path"]
    for name in own:
        with pytest.raises(ValueError, match=f"'{name}'.*replace=True"):
            fs.set_metadata(PATH, {name: 1})
    assert not server.requests
    everything = dict.fromkeys(own, 1)
    assert fs.set_metadata(PATH, everything, replace=True) == everything
    assert fs.info(PATH)["size"] == 4


# Any JSON

texts = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
keys = texts | st.sampled_from(["a.b", '"', "$gt", "name", "metadata", "id", *string.punctuation])


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in type, order of keys, and sign of zeros too."""
    return repr(one) == repr(other)


@settings(
    max_examples=rounds(25, 300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(metadata=st.dictionaries(keys, values, max_size=5))
def test_any_json_object_comes_back(fs: RinoFileSystem, metadata: dict[str, Any]) -> None:
    assert same(fs.set_metadata(PATH, metadata, replace=True), metadata)
    assert same(fs.get_metadata(PATH), metadata)
    fs.pipe_file("exp/piped", b"", metadata=metadata)
    fs.invalidate_cache()
    assert same(fs.ls("exp/piped")[0]["metadata"], metadata)


@settings(
    max_examples=rounds(20, 200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(metadata=st.dictionaries(keys.filter(lambda key: key not in RECORD_FIELDS), values, max_size=5))
def test_any_json_object_is_merged(fs: RinoFileSystem, metadata: dict[str, Any]) -> None:
    before = fs.set_metadata(PATH, {"a": 1, "b": {"c": None}}, replace=True)
    assert same(fs.set_metadata(PATH, metadata), {**before, **metadata})
    assert same(fs.get_metadata(PATH), {**before, **metadata})
