"""The evaluator here and the server's SQL find the same objects, in the same order."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rinofs import RinoFileSystem
from rinofs.errors import InvalidRequestError
from rinofs.rinocloud.matching import matcher, ordered
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.server.test_query import OWN, known_fields, metadata, queries, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

AT_ONCE = 25
"""Queries on one set of objects."""

one_object = st.tuples(
    metadata.map(lambda given: {key: value for key, value in given.items() if fits(value)}),
    st.lists(texts, max_size=3),
    st.sampled_from(["file", "folder", "object"]),
)
shelves = st.lists(one_object, min_size=2, max_size=6)


def fits(value: Any) -> bool:
    """Tell whether the API takes a value; the database would keep larger integers."""
    if isinstance(value, dict):
        return all(map(fits, value.values()))
    if isinstance(value, list):
        return all(map(fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@pytest.fixture(scope="module", params=[True, False], ids=["extended", "plain"])
def one_server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as server:
        yield server


folders = (f"shelf{number}" for number in itertools.count())


def make(fs: RinoFileSystem, folder: str, shelf: list[Any]) -> None:
    fs.makedirs(folder)
    for number, (given_metadata, tags, kind) in enumerate(shelf):
        path = f"{folder}/o{number}"
        if kind == "file":
            fs.pipe_file(path, b"x" * number, metadata=given_metadata, tags=tags)
            continue
        if kind == "folder":
            fs.mkdir(path)
        else:
            parent = fs.info(folder)["id"]
            fs._client._post("create_object", {"name": f"o{number}", "parent": parent}, repeatable=False)
            fs.invalidate_cache()
        fs.set_metadata(path, given_metadata, replace=True)
        fs.set_tags(path, tags)


@settings(
    max_examples=rounds(42, 2000),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(shelf=shelves, data=st.data())
def test_both_find_the_same(one_server: LiveServer, shelf: list[Any], data: st.DataObject) -> None:
    fs = RinoFileSystem(endpoint_url=one_server.endpoint_url, token=one_server.token)
    folder = next(folders)
    make(fs, folder, shelf)
    asked = data.draw(st.lists(queries(shelf).filter(is_sendable), min_size=AT_ONCE, max_size=AT_ONCE))
    names = [name for one, _, _ in shelf for name, _ in known_fields(one)]
    fields = st.sampled_from(names + OWN).filter(lambda name: name.strip("-") == name != "")
    records = [record for _, record in fs._searcher().scan(folder, {}, None, 1)]
    shown, digests = [record.fields() for record in records], fs._features.has("digest")
    inside = {"parent": fs.info(folder)["id"]}
    for query in asked:
        order = data.draw(st.none() | fields.flatmap(lambda name: st.sampled_from([name, f"-{name}"])))
        body = {"query": {"$and": [inside, query]}, "limit": 100, **({"sort": order} if order else {})}
        holds = matcher(query, digests=digests)
        matching = [fields for fields in shown if holds(fields)]
        if order:
            matching = [matching[position] for position in ordered(matching, order, digests=digests)]
        expected = [record.id for record in fs._client.query(body, "").records]
        assert [fields["id"] for fields in matching] == expected, (query, order)
    last = asked[-1]
    assert [*fs.query(folder, where=last)] == [*fs.query(folder, where=last, scan=True)]
    assert fs.count(folder, where=last) == fs.count(folder, where=last, scan=True)
    fs.rm(folder, recursive=True)


def is_sendable(query: Any) -> bool:
    return all(map(fits, walk(query)))


def walk(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


@pytest.mark.parametrize(
    "query",
    [
        {"x": {"$regex": "a"}},
        {"x": {"$gt": 1, "y": 2}},
        {"$nor": [{"x": 1}]},
        {"$or": {"x": 1}},
        {"$or": []},
        {"$and": [1]},
        {"x": {"$in": 1}},
        {"x": {"$exists": "yes"}},
    ],
    ids=str,
)
def test_both_refuse_the_same(one_server: LiveServer, query: dict[str, Any]) -> None:
    fs = RinoFileSystem(endpoint_url=one_server.endpoint_url, token=one_server.token)
    for scan in (True, False):
        with pytest.raises(InvalidRequestError, match="query"):
            list(fs.query(where=query, scan=scan))
