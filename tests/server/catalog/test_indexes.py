"""Indexes on fields of the metadata: the same answers with them, found by them, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from rinofs.server.catalog.database import kind_of
from rinofs.server.catalog.listings import PageRequest
from rinofs.server.catalog.migrations import apply_steps
from rinofs.server.catalog.queries import indexes
from rinofs.server.catalog.queries.indexes import MAX_INDEXED_LENGTH, MAX_INDEXES, FieldIndexes, indexed
from rinofs.server.catalog.records import NewObject, User
from rinofs.server.errors import BadRequest, Conflict, NotFound
from rinofs.server.maintenance import fsck
from rinofs.server.services import Services, open_services
from rinofs.server.settings import ServerSettings
from tests.campaign import rounds
from tests.server.catalog import query_model as model
from tests.server.catalog.test_query import KEYS, Shelf, known_fields, metadata, queries, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# All that can have one; more than one user's queries would use at a time.
INDEXED = [key for key in KEYS if not set(key) & {'"', "\\", "\0", "\n"} and key != "metadata"][:MAX_INDEXES]

LIKELY = [0, 1, 1.0, "a", True, [1, "a"], None]


@pytest.fixture(autouse=True)
def noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "_NOTICED", -1.0)


@pytest.fixture(scope="module")
def indexed_shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    services = open_services(ServerSettings(tmp_path_factory.mktemp("indexed")))
    for key in INDEXED:
        FieldIndexes(services.database).add(key)
    stranger = services.accounts.add_user("eve")
    services.store.create_object(stranger, NewObject(None, "o0", metadata=dict.fromkeys(INDEXED, 1)))
    yield Shelf(services, services.accounts.add_user("ada"))
    services.close()


shelves = st.lists(
    st.tuples(
        metadata
        | st.dictionaries(st.sampled_from(INDEXED), st.sampled_from([0, 1, 1.0, "a", True, [1, "a"], None])),
        st.lists(texts, max_size=2),
        st.booleans(),
    ),
    min_size=2,
    max_size=6,
)


@settings(
    max_examples=rounds(10, 500),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(given_objects=shelves, data=st.data())
def test_the_answers_are_those_without(
    indexed_shelf: Shelf, given_objects: list[Any], data: st.DataObject
) -> None:
    shelf = indexed_shelf
    shelf.clear()
    for given_metadata, tags, folder in given_objects:
        shelf.add(given_metadata, tuple(tags), folder=folder)
    for query in data.draw(st.lists(queries(given_objects), min_size=1, max_size=8)):
        expected = model.found(shelf.records, query)
        assert shelf.query(query) == sorted(expected), query
        assert shelf.services.store.count(shelf.user, query) == len(expected)
    names = [name for one, _, _ in given_objects for name, _ in known_fields(one) if not name.startswith("-")]
    for field in data.draw(st.lists(st.sampled_from([*names, "x"]).filter(bool), max_size=3)):
        for sort in (field, f"-{field}"):
            assert shelf.query({}, sort) == model.ordered(shelf.records, sort), sort
            assert shelf.query({"x": 1}, sort) == model.ordered(
                [one for one in shelf.records if model.holds(one, {"x": 1})], sort
            )


@pytest.fixture
def made(services: Services, user: User) -> list[int]:
    """Many objects, so that a plan is worth something, and their ids."""
    values: list[Any] = [*range(100), "a", "b", True, [5, "a"], {"b": 5}, None]
    store = services.store
    return [
        store.create_object(user, NewObject(None, f"o{number}", metadata={"x": value, "y": number})).id
        for number, value in enumerate(values)
    ]


def plans_of(services: Services, work: Callable[[], object]) -> str:
    """Return how the database runs what is asked of it."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((sql, parameters))

    engines = services.database.engine, services.database.transactions._forgetful
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if not services.database.kind.is_shared else "EXPLAIN"
    with services.database.read() as connection:
        if services.database.kind.is_shared:  # which would rather read all of a table of this size
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        rows = [
            connection.exec_driver_sql(f"{explain} {sql}", parameters).all()
            for sql, parameters in asked
            if sql.startswith("SELECT") and "sqlite_master" not in sql and "pg_index" not in sql
        ]
    return "\n".join(row[-1] for found in rows for row in found)


@pytest.mark.parametrize(
    ("query", "sort"),
    [
        ({"x": 5}, None),
        ({"x": "a"}, None),
        ({"x": True}, None),
        ({"x": {"$in": [1, "a", 7]}}, None),
        ({"x": {"$in": list(range(50))}}, None),
        ({"x": {"$gt": 90}}, None),
        ({"x": {"$gte": 10, "$lt": 12}}, None),
        ({"x": {"$gte": "a", "$lt": "b"}}, "y"),
        ({"metadata.x": 5}, None),
        ({"$or": [{"x": 5}, {"x": "a"}]}, None),
        ({}, "x"),
        ({}, "-x"),
    ],
    ids=str,
)
def test_the_index_is_used(
    services: Services, user: User, made: list[int], query: dict[str, Any], sort: str | None
) -> None:
    def ask() -> list[int]:
        page = PageRequest(limit=20, offset=0 if sort is None else 3)
        listing = services.store.query(user, query, page, sort=sort)
        return [item.record.id for piece in listing.pieces() for item in piece]

    before = ask()
    assert "ix_objects_field" not in plans_of(services, ask)
    FieldIndexes(services.database).add("x")
    assert ask() == before
    plan = plans_of(services, ask)
    assert "ix_objects_field" in plan
    assert "SCAN objects" not in plan
    assert "Seq Scan on objects" not in plan
    if query:
        counting = plans_of(services, lambda: services.store.count(user, query))
        assert "ix_objects_field" in counting
    elif sort is not None:
        assert "TEMP B-TREE" not in plan
        assert "Incremental Sort" in plan or " Sort" not in plan
    FieldIndexes(services.database).drop("x")
    assert ask() == before
    assert "ix_objects_field" not in plans_of(services, ask)


def test_a_running_server_takes_note(services: Services, user: User, made: list[int], tmp_path: Path) -> None:
    def ask() -> None:
        assert services.store.count(user, {"y": 7}) == 1

    ask()
    other = open_services(services.settings)
    FieldIndexes(other.database).add("y")
    other.close()
    assert "ix_objects_field" in plans_of(services, ask)
    changed = services.store.create_object(user, NewObject(None, "later", metadata={"y": 7}))
    assert services.store.count(user, {"y": 7}) == 2
    services.store.delete(user, [changed.id, made[7]])
    assert services.store.count(user, {"y": 7}) == 0
    assert not fsck(services).problems


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "a.b.c",
        "a__b",
        "'",
        "x'); DROP TABLE objects; --",
        "]",
        "%",
        ":q0",
        "?",
        "é 日本",
        "metadata.$.x",
        "--",
        "metadata.name",
    ],
)
def test_odd_names_are_safe(services: Services, user: User, name: str) -> None:
    own = services.store.create_object(
        user, NewObject(None, "o", metadata={name.removeprefix("metadata."): 1})
    )
    fields = FieldIndexes(services.database)
    fields.add(name)
    with services.database.read() as connection:
        assert [indexes.shown(field) for field in indexed(connection)] == [name]
    listing = services.store.query(user, {name: 1}, PageRequest())
    assert [item.record.id for piece in listing.pieces() for item in piece] == [own.id]
    with pytest.raises(Conflict, match="has an index"):
        fields.add(name)
    fields.drop(name)
    with pytest.raises(NotFound, match="no index"):
        fields.drop(name)


@pytest.mark.parametrize(
    "name",
    ["", "name", "size", "*", 'a"b', "a\\b", "a\nb", "a\0b", "\ud800", "x" * (MAX_INDEXED_LENGTH + 1)],
)
def test_other_names_are_refused(services: Services, name: str) -> None:
    with pytest.raises(BadRequest):
        FieldIndexes(services.database).add(name)


def test_there_are_only_so_many(services: Services) -> None:
    fields = FieldIndexes(services.database)
    for number in range(MAX_INDEXES):
        fields.add(f"f{number}")
    with pytest.raises(Conflict, match="drop one first"):
        fields.add("another")


def test_they_outlive_a_step_that_makes_the_table_anew(services: Services) -> None:
    FieldIndexes(services.database).add("x")
    database = services.database
    with database.rebuild() as connection:
        fields = indexed(connection)
        kind_of(connection).queries.remove_index(connection, "x")
        assert indexed(connection) == []
        indexes.restore(connection, fields)
        assert indexed(connection) == ["x"]
    apply_steps(database)
    with database.read() as connection:
        assert indexed(connection) == ["x"]
