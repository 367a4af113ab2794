"""The evaluator here and the server's SQL find the same objects, in the same order."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rinofs import RinoFileSystem
from rinofs.errors import InvalidRequestError
from rinofs.protocol.records import RECORD_FIELDS
from rinofs.rinocloud.queries.matching import matcher, ordered
from rinofs.rinocloud.records import Record
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.server.catalog.test_query import OWN, known_fields, metadata, queries, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

QUERIES, SHELVES = rounds(8, 25), 6
"""In one example: each query is asked of each set of objects, which is far quicker than making more."""

EXAMPLES = rounds(3, 25)

one_object = st.tuples(
    metadata.map(lambda given: {key: value for key, value in given.items() if fits(value)}),
    st.lists(texts, max_size=3),
    st.sampled_from(["file", "folder", "object"]),
)
several_objects = st.lists(one_object, min_size=4, max_size=8)


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
    about = {"parent": fs.info(folder)["id"]}
    for number, (given_metadata, tags, kind) in enumerate(shelf):
        given = {"metadata": given_metadata, "tags": tags}
        if kind == "file":
            fs.pipe_file(f"{folder}/o{number}", b"x" * number, **given)
        else:
            fs._backend.client._post(
                f"create_{kind}", {"name": f"o{number}", **about, **given}, repeatable=False
            )
    fs.invalidate_cache()


def test_both_find_the_same(one_server: LiveServer) -> None:
    sizes: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        # Few of them say little about how many find something: by chance, none might.
        derandomize=not rounds(0, 1),
        deadline=None,
        database=None,
        # What fails is small as it is, and making it smaller takes minutes.
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(objects=several_objects, data=st.data())
    def look(objects: list[Any], data: st.DataObject) -> None:
        sizes.extend(compare_all(one_server, objects, data))

    look()
    assert len(sizes) >= rounds(140, 3_000)  # pairs, on each of two servers
    assert sum(map(bool, sizes)) > len(sizes) / 20  # and many of them find something


def compare_all(server: LiveServer, objects: list[Any], data: st.DataObject) -> list[int]:
    """Ask the same queries of several sets of some objects; return how many each of them found."""
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    names = [name for one, _, _ in objects for name, _ in known_fields(one)]
    fields = st.sampled_from([name for name in names + OWN if name.strip("-") == name != ""])
    # What has no such field is left out: with an order for each of them, few queries would find anything.
    orders = st.sampled_from([None, None, "{}", "-{}"]).flatmap(
        lambda form: fields.map(form.format) if form else st.none()
    )
    sendable = queries(objects).filter(is_sendable)
    asked = data.draw(st.lists(st.tuples(sendable, orders), min_size=QUERIES, max_size=QUERIES))
    sizes: list[int] = []
    shelf_of_some = st.lists(st.sampled_from(objects), min_size=3, max_size=6)
    for shelf in [objects, *data.draw(st.lists(shelf_of_some, min_size=SHELVES - 1, max_size=SHELVES - 1))]:
        folder = next(folders)
        make(fs, folder, shelf)
        sizes += compare(fs, folder, asked)
        fs.rm(folder, recursive=True)
    return sizes


def compare(fs: RinoFileSystem, folder: str, asked: list[Any]) -> list[int]:
    """Look for what queries find in a folder, here and there; return how many that is."""
    shown = [record.fields() for _, record in fs._queries.scan(folder, {})]
    extensions, inside = fs._backend.client.features.extensions, {"parent": fs.info(folder)["id"]}
    sizes = []
    for query, order in asked:
        holds = matcher(query, extensions=extensions)
        found = [fields for fields in shown if holds(fields)]
        if order:
            found = [found[position] for position in ordered(found, order, extensions=extensions)]
        body = {"query": {"$and": [inside, query]}, "limit": 100, **({"sort": order} if order else {})}
        expected = [record.id for record in fs._backend.client.query(body, "").records]
        assert [fields["id"] for fields in found] == expected, (query, order)
        sizes.append(len(found))
    last, _ = asked[-1]
    assert [*fs.query(folder, where=last)] == [*fs.query(folder, where=last, scan=True)]
    assert fs.count(folder, where=last) == fs.count(folder, where=last, scan=True)
    return sizes


ODD: list[Any] = [
    *(None, True, False, 0, 1, 1.0, -1, -0.0, 0.5, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2.0**63),
    *("", "a", "A", "ab", "1", "é", "\0", "a\0", "\U0010fffd", "%", "_", '"', "\\"),
    *([], ["a"], [1, "a"], [[1]], {}, {"a": 1}, {"a": 1.0}, {"b": 1, "a": 2}, {"a": 2, "b": 1}),
]
COMPARISONS = ["$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$string_contains"]


def test_every_comparison_of_every_kind_of_value(one_server: LiveServer) -> None:
    fs = RinoFileSystem(endpoint_url=one_server.endpoint_url, token=one_server.token)
    folder = next(folders)
    make(fs, folder, [({"x": value}, [], "object") for value in ODD] + [({}, [], "object")])
    asked: list[Any] = [({"x": {operation: value}}, None) for operation in COMPARISONS for value in ODD]
    asked += [({"x": {operation: [1, value]}}, None) for operation in ("$in", "$nin") for value in ODD]
    asked += [({"x": {"$exists": there}}, order) for there in (True, False) for order in ("x", "-x", "-name")]
    assert sum(compare(fs, folder, asked)) > 1_000
    fs.rm(folder, recursive=True)


def test_records_have_the_fields_that_are_looked_at() -> None:
    assert Record(1, "a", "file", 0, None).fields().keys() == RECORD_FIELDS.keys()


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
        {"$not": [{"x": 1}]},
        {"$or": {"x": 1}},
        {"$or": []},
        {"$and": [1]},
        {"x": {"$in": 1}},
        {"x": {"$exists": "yes"}},
        {"name__contains": "a"},
        {"size__foo": 1},
    ],
    ids=str,
)
def test_both_refuse_the_same(one_server: LiveServer, query: dict[str, Any]) -> None:
    fs = RinoFileSystem(endpoint_url=one_server.endpoint_url, token=one_server.token)
    for scan in (True, False):
        with pytest.raises(InvalidRequestError, match="query"):
            list(fs.query(where=query, scan=scan))
