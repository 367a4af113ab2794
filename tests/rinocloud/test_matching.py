"""The evaluator here and the server's SQL find the same objects, in the same order."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
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

QUERIES, SHELVES = 25, 3
"""In one example: each query is asked of each set of objects, which is far quicker than making more."""

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
    max_examples=rounds(14, 1000),  # times 25 times 3, on two servers: 2,100 pairs
    deadline=None,
    database=None,
    phases=(
        Phase.explicit,
        Phase.generate,
    ),  # what fails is small as it is, and making it smaller takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(given_shelves=st.lists(shelves, min_size=SHELVES, max_size=SHELVES), data=st.data())
def test_both_find_the_same(one_server: LiveServer, given_shelves: list[Any], data: st.DataObject) -> None:
    fs = RinoFileSystem(endpoint_url=one_server.endpoint_url, token=one_server.token)
    everything = [one for shelf in given_shelves for one in shelf]
    names = [name for one, _, _ in everything for name, _ in known_fields(one)]
    fields = st.sampled_from(names + OWN).filter(lambda name: name.strip("-") == name != "")
    orders = st.none() | fields.flatmap(lambda name: st.sampled_from([name, f"-{name}"]))
    sendable = queries(everything).filter(is_sendable)
    asked = data.draw(st.lists(st.tuples(sendable, orders), min_size=QUERIES, max_size=QUERIES))
    for shelf in given_shelves:
        folder = next(folders)
        make(fs, folder, shelf)
        compare(fs, folder, asked)
        fs.rm(folder, recursive=True)


def compare(fs: RinoFileSystem, folder: str, asked: list[Any]) -> None:
    """Look for what queries find in a folder, here and there."""
    shown = [record.fields() for _, record in fs._searcher().scan(folder, {}, None, 1)]
    digests, inside = fs._features.has("digest"), {"parent": fs.info(folder)["id"]}
    for query, order in asked:
        holds = matcher(query, digests=digests)
        found = [fields for fields in shown if holds(fields)]
        if order:
            found = [found[position] for position in ordered(found, order, digests=digests)]
        body = {"query": {"$and": [inside, query]}, "limit": 100, **({"sort": order} if order else {})}
        expected = [record.id for record in fs._client.query(body, "").records]
        assert [fields["id"] for fields in found] == expected, (query, order)
    last, _ = asked[-1]
    assert [*fs.query(folder, where=last)] == [*fs.query(folder, where=last, scan=True)]
    assert fs.count(folder, where=last) == fs.count(folder, where=last, scan=True)


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
