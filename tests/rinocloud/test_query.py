"""Finding objects by what is known about them, on both APIs."""

from __future__ import annotations

import pickle
import random
import warnings
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from rinofs import RinoFileSystem
from rinofs.rinocloud.queries import searching
from rinofs.rinocloud.queries.query import build, sort_of
from tests.rinocloud.database import database_of
from tests.rinocloud.test_tolerance import behind
from tests.scenarios.rinocloud.limited import Limits

if TYPE_CHECKING:
    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

NOW = datetime(2026, 1, 2, tzinfo=UTC)


# From keywords to queries


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({}, {}),
        ({"x": 3}, {"x": 3}),
        ({"x": None}, {"x": None}),
        ({"y__gt": 2.2, "x": "A22"}, {"y": {"$gt": 2.2}, "x": "A22"}),
        ({"y__gt": 1, "y__lte": 2, "y__ne": np.int64(2)}, {"y": {"$gt": 1, "$lte": 2, "$ne": 2}}),
        ({"x__y__in": (1, 2)}, {"x__y": {"$in": [1, 2]}}),
        ({"x__nin": np.arange(2)}, {"x": {"$nin": [0, 1]}}),
        ({"a__or": 1, "b__gt__or": 2, "c": 3}, {"c": 3, "$or": [{"a": 1}, {"b": {"$gt": 2}}]}),
        ({"name__string_contains": "."}, {"name": {"$string_contains": "."}}),
        ({"x__exists": False}, {"x": {"$exists": False}}),
        ({"x": {"$in": 3}}, {"x": {"$eq": {"$in": 3}}}),
        ({"x_": 1, "y___gt": 2}, {"x_": 1, "y_": {"$gt": 2}}),
        ({"in": 1, "__init__": 2}, {"in": 1, "__init__": 2}),
        ({"a.b": 1, 'q"$': 2}, {"a.b": 1, 'q"$': 2}),
        ({"created__gt": NOW}, {"created_on": {"$gt": "2026-01-02T00:00:00.000000Z"}}),
        ({"modified__lt": date(2026, 1, 2)}, {"updated_on": {"$lt": "2026-01-02"}}),
        ({"created__gte": "2026-01"}, {"created_on": {"$gte": "2026-01"}}),
        ({"created__gte": "2026-01-02T01:00+01:00"}, {"created_on": {"$gte": "2026-01-02T00:00:00.000000Z"}}),
        ({"created__gte": "2026-01-02 00:00"}, {"created_on": {"$gte": "2026-01-02T00:00:00.000000Z"}}),
        ({"created__string_contains": "-01-"}, {"created_on": {"$string_contains": "-01-"}}),
        ({"modified__exists": True, "created": None}, {"updated_on": {"$exists": True}, "created_on": None}),
        ({"metadata__created": 3}, {"metadata__created": 3}),
        ({"metadata__size__foo": 3, "device__gain": 1}, {"metadata__size__foo": 3, "device__gain": 1}),
        ({"type__in": ["directory", "other", "file"]}, {"type": {"$in": ["folder", "object", "file"]}}),
        ({"tags__in": {"a"}}, {"tags": {"$in": ["a"]}}),
    ],
    ids=str,
)
def test_filters(filters: dict[str, Any], query: dict[str, Any]) -> None:
    assert build(None, filters) == query


def test_raw_queries_and_filters_have_to_hold_both() -> None:
    assert build({"x": {"$gt": 1}}, {"y": 2}) == {"x": {"$gt": 1}, "y": 2}
    assert build({"x": {"$gt": 1}}, {"x": 2}) == {"$and": [{"x": {"$gt": 1}}, {"x": 2}]}
    assert build({"$or": [{"a": 1}]}, {"b__or": 2}) == {"$and": [{"$or": [{"a": 1}]}, {"$or": [{"b": 2}]}]}
    assert build({"at": {"$lt": NOW}}, {}) == {"at": {"$lt": "2026-01-02T00:00:00.000000Z"}}


@pytest.mark.parametrize(
    ("where", "filters", "error", "named"),
    [
        (None, {"x__in": "abc"}, TypeError, "x__in"),
        (None, {"x__in": 3}, TypeError, "x__in"),
        (None, {"x__exists": 1}, TypeError, "x__exists"),
        (None, {"name__string_contains": 3}, TypeError, "name__string_contains"),
        (None, {"x": {1}}, TypeError, "x: a set"),
        (None, {"x__in": [1, b""]}, TypeError, r"x__in\[1\]"),
        (None, {"x__gt": float("nan")}, ValueError, "x__gt"),
        (None, {"created__gt": datetime(2026, 1, 1)}, ValueError, "time zone"),  # noqa: DTZ001
        (None, {"__gt": 1}, ValueError, "__gt"),
        (None, {"name__contains": "a"}, ValueError, "'contains'; did you mean 'string_contains'"),
        (None, {"size__foo": 1}, ValueError, "size__foo: unknown operator 'foo'; use one of eq, ne"),
        (None, {"size__foo__gt": 1}, ValueError, "size__foo__gt: .*unknown operator 'foo'"),
        (None, {"created__before__or": "a"}, ValueError, "created__before__or: .*'before'"),
        (None, {"created__gt": "yesterday"}, ValueError, "created__gt: 'yesterday' is not a date"),
        (None, {"modified__in": ["2026-02-30"]}, ValueError, r"modified__in\[0\]: '2026-02-30'"),
        (None, {"created__gt": 2026}, ValueError, "2026 is not a date"),
        ([], {}, TypeError, "where"),
        ({"x": b""}, {}, TypeError, "where"),
    ],
    ids=str,
)
def test_filters_that_make_no_sense(
    fs: RinoFileSystem,
    server: LiveServer,
    where: Any,
    filters: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    for ask in (fs.query, fs.count, fs.query_frame):
        with pytest.raises(error, match=named):
            ask(where=where, **filters)
    assert not server.requests


def test_orders(fs: RinoFileSystem) -> None:
    assert sort_of(None, descending=False) is None
    assert sort_of("created", descending=False) == "created_on"
    assert sort_of("-x", descending=False) == sort_of("x", descending=True) == "-x"
    for wrong in ({"descending": True}, {"sort": ""}, {"sort": "-"}, {"limit": -1}, {"limit": True}):
        with pytest.raises(ValueError, match=r"descending|sort|limit"):
            fs.query(**wrong)


@pytest.mark.parametrize("scan", [False, True])
def test_a_field_that_no_object_has_is_told(fs: RinoFileSystem, runs: list[str], scan: bool) -> None:
    for ask in (lambda **given: list(fs.query("exp", **given)), lambda **given: fs.count("exp", **given)):
        with pytest.warns(UserWarning, match="rino://exp: no object has the field 'subjekt'") as told:
            assert not ask(subjekt="A", scan=scan)
        assert [warning.filename for warning in told] == [__file__]
        with pytest.warns(UserWarning, match="'nmae'; did you mean 'name'") as told:
            assert not ask(nmae="A", n=3, scan=scan)
        assert len(told) == 1
        with pytest.warns(UserWarning, match="'device__gian'"):
            assert not ask(where={"$or": [{"device__gian": 1}, {"n": 100}]}, scan=scan)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not ask(n=100, subject="C", device__gain=-1, name="nothing", scan=scan)
            assert ask(n__gt=3, absent=None, other__exists=False, type="file", scan=scan)


@pytest.mark.parametrize("scan", [False, True])
def test_a_negation_on_a_field_that_no_object_has_is_told(
    fs: RinoFileSystem, runs: list[str], scan: bool
) -> None:
    with pytest.warns(UserWarning, match="'subjekt'"):
        assert len(names(fs.query("exp", subjekt__ne="A", type="file", scan=scan))) == len(runs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(names(fs.query("exp", subject__ne="A", type="file", scan=scan))) == len(runs) // 2


# Asking


@pytest.fixture
def runs(fs: RinoFileSystem, server: LiveServer) -> list[str]:
    """Files in folders, with metadata; nothing of it is remembered or counted."""
    paths = [f"exp/day {number % 3}/run {number}.csv" for number in range(12)]
    for number, path in enumerate(paths):
        metadata = {"n": number, "subject": "AB"[number % 2], "device": {"gain": number / 2}}
        fs.pipe_file(path, b"x" * number, metadata=metadata, tags=["even"] if number % 2 == 0 else [])
    fs.pipe_file("other/run 3.csv", b"", metadata={"n": 3, "a.b": 1, 'q"$': 2, "é": {"ü": 1}})
    fs.pipe_file("top.csv", b"", metadata={"n": 4})
    fs.invalidate_cache()
    server.reset()
    return paths


def names(found: Any) -> list[str]:
    return [info["name"] for info in found]


@pytest.mark.parametrize("scan", [False, True])
def test_what_is_found(fs: RinoFileSystem, runs: list[str], scan: bool) -> None:
    assert names(fs.query(n=3, scan=scan)) == [runs[3], "other/run 3.csv"]
    assert names(fs.query("exp", n__in=[3, 4], scan=scan)) == [runs[3], runs[4]]
    assert names(fs.query("exp/day 1", n__gt=3, scan=scan)) == [runs[4], runs[7], runs[10]]
    assert names(fs.query("/exp/", device__gain__gte=5, scan=scan)) == runs[10:]
    assert names(fs.query("rino://exp", device__gain__gte=5, scan=scan)) == runs[10:]
    assert names(fs.query(**{"a.b": 1, 'q"$': 2, "é__ü": 1}, scan=scan)) == ["other/run 3.csv"]
    assert names(fs.query("exp", sort="n", descending=True, limit=2, scan=scan)) == runs[:9:-1]
    assert names(fs.query("exp", tags="even", n__lt=3, scan=scan)) == [runs[0], runs[2]]
    assert names(fs.query("exp", n__or=1, device__gain__or=1, scan=scan)) == [runs[1], runs[2]]
    assert names(fs.query(type="directory", sort="name", scan=scan))[:2] == ["exp/day 0", "exp/day 1"]
    assert names(fs.query("exp", where={"$or": [{"n": 1}, {"n": 2}]}, subject="A", scan=scan)) == [runs[2]]
    assert names(fs.query(parent=None, type="file", scan=scan)) == ["top.csv"]
    assert names(fs.query("other", n=5, scan=scan)) == names(fs.query(limit=0, scan=scan)) == []
    assert fs.count("exp", subject="A", scan=scan) == 6
    assert fs.count(n=3, scan=scan) == 2
    assert fs.count("exp", scan=scan) == 12 + 3
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    assert fs.count("exp", type="file", created__gt=now - hour, modified__lt=now + hour, scan=scan) == 12
    assert fs.count(created__gt=now + hour, scan=scan) == 0


def test_infos_are_those_of_info(fs: RinoFileSystem, runs: list[str]) -> None:
    [found] = fs.query(n=5)
    info = fs.info(runs[5], refresh=True)
    del info["mtime"]  # which only `info` and `ls` tell
    assert found == info
    [scanned] = fs.query(n=5, scan=True)
    assert scanned == found
    folder = fs.info("exp/day 2")["id"]
    assert names(fs.query(f"@{folder}", n=5)) == [f"@{folder}/run 5.csv"]


@pytest.mark.parametrize("scan", [False, True])
def test_where_there_is_no_folder(fs: RinoFileSystem, runs: list[str], scan: bool) -> None:
    with pytest.raises(FileNotFoundError):
        list(fs.query("nothing", scan=scan))
    with pytest.raises(FileNotFoundError):
        fs.count("nothing", scan=scan)
    with pytest.raises(NotADirectoryError):
        list(fs.query(runs[0], scan=scan))


def test_renamed_folders_are_seen(fs: RinoFileSystem, runs: list[str], api: Api) -> None:
    assert names(fs.query(n=0)) == ["exp/day 0/run 0.csv"]
    fs.mv("exp/day 0", "exp/first")
    assert names(fs.query(n=0)) == ["exp/first/run 0.csv"]
    with pytest.raises(FileNotFoundError):
        fs.info(runs[0])
    api.post("update", id=api.id_of("exp"), name="lab")
    fs.invalidate_cache()
    assert names(fs.query(n=0)) == ["lab/first/run 0.csv"]


def test_earlier_versions_are_not_found(fs: RinoFileSystem, runs: list[str]) -> None:
    fs.pipe_file(runs[0], b"new", metadata={"n": 100})
    assert names(fs.query(n=0)) == []
    assert names(fs.query(n=100)) == [runs[0]]


def test_names_that_are_no_parts_of_paths(fs: RinoFileSystem, api: Api, server: LiveServer) -> None:
    made = api.upload("@12", b"", metadata={"odd": 1})
    assert names(fs.query(odd=1)) == ["@@12"]
    with database_of(server) as database:
        database.execute("UPDATE objects SET name = 'a/b' WHERE id = ?", (made["id"],))
    assert names(fs.query(odd=1)) == [f"@{made['id']}"]


# Pages


@pytest.fixture
def pages_of_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "CLIENT_PAGE", 5)


@pytest.mark.usefixtures("pages_of_5")
def test_pages_are_asked_for_as_it_goes_on(fs: RinoFileSystem, runs: list[str], server: LiveServer) -> None:
    found = fs.query("exp", type="file")
    assert not server.requests
    assert next(found)["name"] == runs[0]
    before = len(server.requests)
    assert names(found) == runs[1:]
    assert len(server.requests) > before
    assert list(found) == []
    assert names(fs.query("exp", type="file", sort="n", descending=True)) == runs[::-1]
    assert names(fs.query("exp", type="file", sort="subject", limit=7)) == [*runs[::2], runs[1]]


@pytest.mark.parametrize("folder", ["", "exp", "exp/day 1"])
def test_no_more_is_asked_for_than_is_wanted(
    fs: RinoFileSystem, runs: list[str], server: LiveServer, folder: str
) -> None:
    assert len(names(fs.query(folder, type="file"))) >= 4
    server.reset()
    assert len(names(fs.query(folder, type="file"))) >= 4
    everything = max(request.bytes_out for request in server.requests)
    server.reset()
    assert len(names(fs.query(folder, type="file", limit=1))) == 1
    assert server.requests[-1].bytes_out < everything / 2


@pytest.mark.usefixtures("pages_of_5")
def test_changes_on_the_way_leave_nothing_out(fs: RinoFileSystem, runs: list[str]) -> None:
    done = []
    for info in fs.query("exp", type="file", done=None):
        fs.set_metadata(info["name"], {"done": True})
        done.append(info["name"])
    assert done == runs


@pytest.mark.usefixtures("pages_of_5")
@pytest.mark.parametrize("folder", ["", "exp"])
@pytest.mark.parametrize("written", range(5))
def test_files_that_are_written_on_the_way_are_found_once(
    options: dict[str, Any], runs: list[str], folder: str, written: int
) -> None:
    fs, other = (RinoFileSystem(**options, skip_instance_cache=True) for _ in range(2))
    chance = random.Random(written)
    expected = [path for path in fs.find("") if path.startswith(folder)]
    found = []
    for info in fs.query(folder, type="file"):
        found.append(info["name"])
        # The first time each that was found, later some, found or not: all get larger ids.
        changed = [info["name"]] if written == 0 else chance.sample(expected, written)
        for path in changed if len(found) <= len(expected) else ():
            other.pipe_file(path, f"{len(found)}".encode())
    assert sorted(found) == expected


LIMITS = [
    Limits(),
    Limits(bare_lists=True),
    Limits(page=3),
    Limits(page=3, echo=False),
    Limits(missing={"query_count": 404}),
]


@pytest.mark.usefixtures("pages_of_5")
@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_servers_with_their_own_pages(server: LiveServer, runs: list[str], limits: Limits) -> None:
    with behind(server, limits) as (fs, _):
        fs.ls("")
    if fs._backend.client.features.has("path"):
        limits = replace(limits, page=None)  # the embedded server is known to grant what is asked for
    with behind(server, limits) as (fs, _):
        assert names(fs.query("exp", type="file")) == runs
        assert names(fs.query(type="file", sort="-n"))[:2] == runs[:9:-1]
        assert fs.count("exp", type="file") == 12


def test_many_folders_are_looked_for_from_below(
    fs: RinoFileSystem, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "AT_ONCE", 2)
    assert names(fs.query("exp", type="file")) == runs
    assert names(fs.query("exp/day 1", n__gt=3)) == [runs[4], runs[7], runs[10]]
    assert names(fs.query(n=3)) == [runs[3], "other/run 3.csv"]
    assert fs.count("exp", n__gte=3) == 9


# Servers without queries


def test_a_server_without_queries(server: LiveServer, runs: list[str]) -> None:
    for status in (404, 405):
        with behind(server, Limits(missing={"query": status, "query_count": status})) as (fs, front):
            for ask in (lambda: list(fs.query(n=3)), lambda: fs.count(n=3), lambda: fs.query_frame("exp")):
                for _ in range(2):
                    with pytest.raises(NotImplementedError, match=r"scan=True"):
                        ask()
            assert front.asked.count("query") <= 2
            assert names(fs.query(n=3, scan=True)) == [runs[3], "other/run 3.csv"]
            assert fs.count("exp", n=3, scan=True) == 1
            assert len(fs.query_frame("exp", n=3, scan=True)) == 1


# Data frames and files


def test_frames(fs: RinoFileSystem, runs: list[str]) -> None:
    odd = {"size": "odd", "a.b": 1, "a": {"b": 2, "c": []}, "e": {}}
    fs.set_metadata(runs[0], {**fs.get_metadata(runs[0]), **odd}, replace=True)
    frame = fs.query_frame("exp", type="file", sort="n")
    assert list(frame.path) == runs
    assert list(frame.url) == [f"rino://{path}" for path in runs]
    assert list(frame["size"]) == list(range(12))
    assert list(frame.n) == list(range(12))
    assert frame.n.dtype == np.int64
    assert str(frame["size"].dtype) == "Int64"
    assert frame.created.dt.tz is not None
    assert frame.modified.max() <= pd.Timestamp.now(tz="UTC")
    assert list(frame.tags[:2]) == [["even"], []]
    means = frame.groupby("subject")["device.gain"].mean()
    assert means.to_dict() == {"A": 2.5, "B": 3.0}
    first = frame.iloc[0]
    assert (first["metadata.size"], first["a.b"], first["a.c"], first["e"]) == ("odd", 1, [], {})
    with pytest.raises(TypeError, match="x__in"):
        fs.query_frame("exp", x__in=3)


def test_an_empty_frame_has_its_columns(fs: RinoFileSystem) -> None:
    frame = fs.query_frame(n=1)
    assert len(frame) == 0
    assert {"path", "url", "size", "created", "tags"} <= set(frame)
    assert frame.created.dt.tz is not None


def test_ten_thousand_objects_cost_few_requests(
    options: dict[str, Any], server: LiveServer, api: Api
) -> None:
    fs = RinoFileSystem(**options, listings_expiry_time=3600)  # more than it takes here
    fs.pipe_file("exp/runs/0", b"x", metadata={"subject": "A", "device": {"gain": 1.5}, "note": "n" * 50})
    record = api.record("exp", "runs", "0")
    with database_of(server) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(objects)")]
        shown = ", ".join(
            {"id": "NULL", "name": "CAST(n AS TEXT)"}.get(name, f'"{name}"') for name in columns
        )
        database.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < 10000)"
            f" INSERT INTO objects SELECT {shown} FROM objects, numbers WHERE id = ?",
            (record["id"],),
        )
    fs.invalidate_cache()
    server.reset()
    frame = fs.query_frame(type="file", subject="A")
    asked = [request.path for request in server.requests]
    assert len(frame) == len(set(frame.path)) == 10_000
    # A page, and one that turns out to be empty; and once for each of the two folders of the path.
    assert len(asked) == 2 + 2, asked
    server.reset()
    assert len(fs.query_frame(type="file", subject="A")) == 10_000
    assert len(server.requests) == 2  # the way is known by now
    api.post("delete", id=api.id_of("exp"))


def test_many_are_opened_at_once(fs: RinoFileSystem, runs: list[str]) -> None:
    with fs.open_many(fs.query("exp", type="file", sort="n")) as files:
        assert [file.read() for file in files] == [b"x" * number for number in range(12)]
    opened = fs.open_many([runs[1], "rino://" + runs[2]], "rt")
    assert [file.path for file in pickle.loads(pickle.dumps(opened))] == runs[1:3]
    with opened as files:
        assert [file.read() for file in files] == ["x", "xx"]
    with fs.open_many(["new/1", "new/2"], "wb") as files:
        for number, file in enumerate(files):
            file.write(b"%d" % number)
    assert fs.cat(["new/1", "new/2"]) == {"new/1": b"0", "new/2": b"1"}


def test_many_that_fail_are_not_written(fs: RinoFileSystem) -> None:
    def fail() -> None:
        with fs.open_many(["half/1", "half/2"], "wb") as files:
            files[0].write(b"half")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert not fs.exists("half")


# In a notebook


def test_results_show_themselves_and_stay(fs: RinoFileSystem, runs: list[str]) -> None:
    fs.set_metadata(runs[0], {"note": "<script>alert(1)</script>" * 10})
    found = fs.query("exp", type="file")
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + 10
    assert "run 9.csv" in shown
    assert "run 10.csv" not in shown
    assert "and more" in shown
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "rino://exp" in repr(found)
    assert names(found) == runs
    assert "2 found" in fs.query("exp", n__lt=2)._repr_html_()


def test_filesystems_show_themselves(fs: RinoFileSystem, server: LiveServer) -> None:
    shown = fs._repr_html_()
    assert server.endpoint_url in shown
    assert "RinoFileSystem" in shown
    assert server.token not in shown
    assert fs._identity.partition(":")[2] not in shown
