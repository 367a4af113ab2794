"""Finding objects through the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.server.client import Api


@pytest.fixture
def runs(api: Api) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "a": {"x": "A22", "y": 2.5, "tags": ["good"]},
        "b": {"x": "A22", "y": 1, "deep": {"er": {"z": True}}},
        "c": {"x": "B1", "y": 3, "list": [1, "two"], "tags": ["good", "late"]},
    }
    return {
        name: api.file(name, b"x" * index, **fields) for index, (name, fields) in enumerate(given.items())
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"x": "A22", "y": {"$gt": 2.2}}, "a"),
        ({"x": "A22"}, "ab"),
        ({"$or": [{"x": "B1"}, {"y": 1}]}, "bc"),
        ({"y": {"$eq": 1.0}}, "b"),
        ({"y": {"$ne": 1}}, "ac"),
        ({"y": {"$lt": 2.5}}, "b"),
        ({"y": {"$lte": 2.5}}, "ab"),
        ({"y": {"$gte": 2.5}}, "ac"),
        ({"y": {"$in": [1, 3, "x"]}}, "bc"),
        ({"y": {"$nin": [1, 3]}}, "a"),
        ({"list": {"$exists": True}}, "c"),
        ({"list": {"$exists": False}}, "ab"),
        ({"x": {"$string_contains": "22"}}, "ab"),
        ({"name": "a"}, "a"),
        ({"size": {"$gt": 0}}, "bc"),
        ({"type": "file", "name": {"$gt": "a"}}, "bc"),
        ({"tags": "good"}, "ac"),
        ({"tags": {"$in": ["late", "no"]}}, "c"),
        ({"list": "two"}, "c"),
        ({"deep__er__z": True}, "b"),
        ({"deep.er.z": True}, "b"),
        ({"y": "2.5"}, ""),
        ({"x": {"$gt": 1}}, ""),
        ({"created_on": {"$gt": "2016"}}, "abc"),
        ({"x": {"$matches": "a2?"}}, "ab"),
        ({"*": {"$matches": "late"}}, "c"),
        ({"$nor": [{"x": "A22"}, {"y": 3}]}, ""),
        ({}, "abc"),
        # Many values, which go to the database as one.
        ({"y": {"$in": [number + 0.5 for number in range(50)]}}, "a"),
        ({"y": {"$in": [*range(50), 2.5, "x", None]}}, "abc"),
        ({"y": {"$in": [str(number) for number in range(50)]}}, ""),
        ({"x": {"$nin": [*map(str, range(50)), "A22", "a\0", "日本"]}}, "c"),
        ({"list": {"$in": [[number] for number in range(50)]}}, ""),
        ({"list": {"$in": [[1, "two"], *([number] for number in range(50))]}}, "c"),
        ({"deep": {"$in": [{"er": {"z": True}}, *({"a": number} for number in range(50))]}}, "b"),
    ],
    ids=lambda value: json.dumps(value)[:80],
)
def test_query(api: Api, runs: dict[str, Any], query: dict[str, Any], expected: str) -> None:
    found = api.ok("files/query", {"query": query})
    assert found["result"] == [runs[name] for name in expected]
    assert api.ok("files/query_count", {"query": query}) == {"count": len(expected)}
    assert api.form("files/query", {"query": json.dumps(query)}).json() == found


def test_a_file_is_looked_up_by_name_and_parent(api: Api) -> None:
    folder = api.folder("f")
    api.file("a")
    inner = api.file("a", parent=folder["id"])
    assert api.ok("files/query", {"query": {"name": "a", "parent": folder["id"]}})["result"] == [inner]


def test_sorted_and_paged(api: Api, runs: dict[str, Any]) -> None:
    def names(**asked: Any) -> str:
        found = api.ok("files/query", {"query": {}, **asked})["result"]
        return "".join(record["name"] for record in found)

    assert names(sort="y") == "bac"
    assert names(sort="-y") == "cab"
    assert names(sort="list") == "c"
    assert names(sort="y", limit=1, offset=1) == "a"
    assert len(runs) == 3


def test_search(api: Api, runs: dict[str, Any]) -> None:
    newest = [runs[name] for name in "cba"]
    assert api.ok("files/search", {"query": "*", "limit": 10})["result"] == newest
    assert api.ok("files/search", {"query": "*", "limit": 1})["result"] == newest[:1]
    assert api.ok("files/search", {"query": "a22", "limit": 10})["result"] == newest[1:]
    assert api.ok("files/search", {"query": "late"})["result"] == newest[:1]
    assert api.ok("files/search", {"query": ""})["result"] == []
    for query, status in (
        ("a~", 400),
        ("a^2", 400),
        ("/a/", 400),
        ('"a b"~5', 400),
        ("(a", 400),
        ("x" * 5000, 400),
    ):
        refused = api.post("files/search", {"query": query})
        assert (refused.status_code, "query" in refused.json()["error"]) == (status, True), query


def test_suggestions(api: Api, runs: dict[str, Any]) -> None:
    assert api.ok("files/autocomplete_search")["result"] == ["deep", "list", "x", "y"]
    assert api.ok("files/autocomplete_values", {"field": "x"})["result"] == ["A22", "B1"]
    assert len(runs) == 3


@pytest.mark.parametrize(
    "endpoint",
    ["files/create_notebook", "users/send_invite", "comments/create", "files/sign_s3", "files/pre_s3_upload"],
)
def test_what_is_no_part_of_this_server(api: Api, endpoint: str) -> None:
    assert api.post(endpoint, {}).status_code == 404
