from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rinofs.protocol.limits import MAX_GROUP_DEPTH
from rinofs.server.catalog.listings import PageRequest
from rinofs.server.catalog.records import NewObject, User
from rinofs.server.errors import BadRequest
from rinofs.server.services import Services, open_services
from rinofs.server.settings import ServerSettings
from tests.campaign import rounds
from tests.server.catalog import query_model as model

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = PageRequest(limit=1_000_000)

KEYS = [
    "x", "y", "a", "b", "a.b", "a__b", "a.b.c", "x.y", '"', 'a"."b', 'x"', "$", "$.x", "a[0]", "\\",
    "\\u0061", "'", "%", "_", " ", "é", "日本", "\0", "x\0y", "\n", "__init__", ".hidden", "a..b",
    "a.", "metadata", "#",
]  # fmt: skip
TEXTS = [
    "", "a", "A", "ab", "1", "true", "null", '"', "\\", "\\n", "\n", "\0", "é", "日", "\U0001f600",
    "\U0010fffd", "[]", "{}", "%", "_",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 1.0, 0.5, -0.0, 1e300, 5e-324, 0.1, 1 / 3, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63),
    2.0**63, 2**63, 2**70,
]  # fmt: skip

keys = st.sampled_from(KEYS) | st.text(st.characters(codec="utf-8"), max_size=4)
texts = st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8"), max_size=5)
numbers = (
    st.sampled_from(NUMBERS)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
metadata = st.dictionaries(keys, values, max_size=5)
shelves = st.lists(st.tuples(metadata, st.lists(texts, max_size=3), st.booleans()), min_size=2, max_size=6)
OWN = ["name", "size", "type", "parent", "id", "tags", "etag", "owner", "shared", "versions", "metadata"]


def is_operators(value: Any) -> bool:
    return isinstance(value, dict) and any(key.startswith("$") for key in value)


def known_fields(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names by which values can be asked for, and the values."""
    for key, item in value.items():
        yield prefix + key, item
        if isinstance(item, dict):
            yield from known_fields(item, f"{prefix}{key}.")
            yield from known_fields(item, f"{prefix}{key}__")


def needles_like(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, str):
        return st.sampled_from([value, value[1:], value[:-1], value + "a", [value]])
    if isinstance(value, bool) or value is None:
        return st.sampled_from([value, not value, 0, 1])
    if isinstance(value, int | float):
        return st.sampled_from([value, float(value), -value, value / 2, str(value), [value]])
    if isinstance(value, list):
        return st.sampled_from([value, value[1:], *value])
    return st.just(value)


@st.composite
def queries(draw: st.DrawFn, given_objects: list[Any], depth: int = 2) -> dict[str, Any]:
    """Make a query that some of the objects have a chance to match."""
    if depth and draw(st.integers(0, 2)) == 0:
        parts = st.lists(queries(given_objects, depth - 1), min_size=1, max_size=3)
        return draw(st.dictionaries(st.sampled_from(["$or", "$and", "$nor"]), parts, min_size=1))
    pool = [pair for one, _, _ in given_objects for pair in known_fields(one)] or [("x", 1)]
    pool += [("tags", tag) for _, tags, _ in given_objects for tag in [tags, *tags]]
    pool += [("type", "folder"), ("type", "object"), ("name", "o1"), ("size", None), ("parent", None)]
    query = {}
    for _ in range(draw(st.integers(1, 2))):
        field, value = draw(st.sampled_from(pool))
        # Mostly something near to what is there: anything else is hardly ever found.
        needle = draw(needles_like(value) if draw(st.integers(0, 3)) else values)
        field = draw(st.sampled_from([field, field, field, f"metadata.{field}", draw(keys), "*"]))
        if field == "*":
            plain = needle if isinstance(needle, str | int | float) else "o1"
            query[field] = draw(st.just({"$eq": plain}) | matches(plain))
        elif not field.startswith("$"):
            query[field] = draw(condition(needle))
    return query


def matches(needle: Any) -> st.SearchStrategy[Any]:
    """Make a condition on the words of a text: it, or a part of it with something else in its place."""
    text = needle if isinstance(needle, str) else "o1"
    odd = st.sampled_from(["*", "?", " ", "\\", "", text.upper(), "\\*", "_"])
    parts = st.tuples(odd, st.integers(0, len(text)), odd)
    return parts.map(lambda it: {"$matches": it[0] + text[: it[1]] + it[2] + text[it[1] + 1 :]})


def condition(needle: Any) -> st.SearchStrategy[Any]:
    operators = st.one_of(
        st.tuples(st.sampled_from(["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"]), st.just(needle)),
        st.tuples(
            st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=2).map(lambda more: [needle, *more])
        ),
        st.tuples(st.just("$exists"), st.booleans()),
        st.tuples(st.just("$string_contains"), st.just(needle) | scalars),
        matches(needle).map(lambda one: ("$matches", one["$matches"])),
    )
    several = st.lists(operators, min_size=1, max_size=2).map(dict)
    return several if is_operators(needle) else st.just(needle) | several


class Shelf:
    """Objects of one user, stored, and as the model sees them."""

    def __init__(self, services: Services, user: User) -> None:
        self.services = services
        self.user = user
        self.records: list[dict[str, Any]] = []

    def add(self, given: dict[str, Any], tags: tuple[str, ...] = (), *, folder: bool = False) -> int:
        new = NewObject(None, f"o{len(self.records)}", metadata=given, tags=tags)
        store = self.services.store
        made = store.create_folder(self.user, new) if folder else store.create_object(self.user, new)
        shown: dict[str, Any] = made.to_json(self.user) | {"sha256": None, "blake3": None}
        assert json.loads(made.metadata) == given
        self.records.append({**shown, "metadata": given, "tags": list(tags), "versions": []})
        return made.id

    def query(self, query: Any, sort: str | None = None) -> list[int]:
        listing = self.services.store.query(self.user, query, EVERYTHING, sort=sort)
        return [item.record.id for piece in listing.pieces() for item in piece]

    def clear(self) -> None:
        if self.records:
            self.services.store.delete(self.user, [record["id"] for record in self.records])
        self.records = []


@pytest.fixture
def shelf(services: Services, user: User) -> Shelf:
    return Shelf(services, user)


@pytest.fixture(scope="module")
def lasting_shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    services = open_services(ServerSettings(tmp_path_factory.mktemp("query")))
    yield Shelf(services, services.accounts.add_user("ada"))
    services.close()


@settings(
    max_examples=rounds(5, 300),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(given_objects=shelves, data=st.data())
def test_sql_and_the_documented_rules_agree(
    lasting_shelf: Shelf, given_objects: list[Any], data: st.DataObject
) -> None:
    lasting_shelf.clear()
    for given_metadata, tags, folder in given_objects:
        lasting_shelf.add(given_metadata, tuple(tags), folder=folder)
    for query in data.draw(st.lists(queries(given_objects), min_size=1, max_size=8)):
        expected = model.found(lasting_shelf.records, query)
        assert lasting_shelf.query(query) == sorted(expected), query
        assert lasting_shelf.services.store.count(lasting_shelf.user, query) == len(expected)
    names = [name for one, _, _ in given_objects for name, _ in known_fields(one)]
    for field in data.draw(st.lists(st.sampled_from(names + OWN).filter(bool), max_size=3)):
        for sort in (f"-{field}", *([] if field.startswith("-") else [field])):
            assert lasting_shelf.query({}, sort) == model.ordered(lasting_shelf.records, sort), sort


def test_a_key_never_reaches_anywhere_but_at_itself(shelf: Shelf) -> None:
    """Each of these escaped from a JSON path that was put together as text, or broke it."""
    target = shelf.add({"a": {"secret": 1}, "x": 1, "": 2})
    for key in (
        'a"."secret',
        'x"',
        '"',
        "a[0]",
        "a.secret' OR '1'='1",
        "x'--",
        ":q0",
        "?",
        "\\",
        "x\0",
    ):
        assert shelf.query({key: 1}) == [], key
        assert shelf.query({key: {"$ne": 1}}) == [target], key
        own = shelf.add({key: 1})
        assert shelf.query({key: 1}) == [own], key
        assert shelf.query({f"metadata.{key}": 1}) == [own], key
        shelf.services.store.delete(shelf.user, [own])
    assert shelf.query({"a.secret": 1}) == shelf.query({"a__secret": 1}) == [target]
    assert shelf.query({"": 2}) == [target]
    priced = shelf.add({"$": {"$in": [1]}, "$.x": 3})
    assert shelf.query({"metadata.$.x": 3}) == [priced]
    assert shelf.query({"metadata.$": {"$eq": {"$in": [1]}}}) == [priced]


def test_a_key_with_dots_is_found_by_its_name_before_it_is_taken_apart(shelf: Shelf) -> None:
    literal = shelf.add({"a.b": 1, "a": {"b": 2}})
    nested = shelf.add({"a": {"b": 1}})
    absent = shelf.add({"a.b": None, "a": {"b": 1}})
    shelf.add({"a": [{"b": 1}]})
    assert shelf.query({"a.b": 1}) == [literal, nested, absent]
    assert shelf.query({"a__b": 1}) == [nested, absent]
    assert shelf.query({"a.b": 2}) == []
    assert shelf.query({"a.": {"$exists": True}}) == []


def test_a_records_own_fields_and_the_metadata_do_not_mix(shelf: Shelf) -> None:
    made = shelf.add({"name": "inner", "size": 5, "metadata": {"x": 1}}, tags=("t", "u"))
    assert shelf.query({"name": "inner"}) == []
    assert shelf.query({"metadata.name": "inner", "metadata__size": 5}) == [made]
    assert shelf.query({"metadata.metadata.x": 1}) == [made]
    assert shelf.query({"tags": "t"}) == shelf.query({"tags": ["t", "u"]}) == [made]
    assert shelf.query({"tags": {"$nin": ["x", "u"]}}) == []
    assert shelf.query({"owner": "ada", "shared": False, "project": shelf.user.id, "id": made}) == [made]
    assert shelf.query({"created_on": {"$gt": "2020-01-01", "$lt": "9"}}) == [made]
    assert shelf.query({"parent": None, "sha256": {"$exists": False}}) == [made]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"x": {"$regex": "a"}}, "$regex"),
        ({"x": {"$gt": 1, "y": 2}}, "'y'"),
        ({"$not": [{"x": 1}]}, "$not"),
        ({"$where": "1"}, "$where"),
        ({"$or": {"x": 1}}, "$or"),
        ({"$or": []}, "$or"),
        ({"$and": [1]}, "query"),
        ({"x": {"$contains": "a"}}, "did you mean '$string_contains'?"),
        ({"name__contains": "a"}, "did you mean 'string_contains'?"),
        ({"size__foo": 1}, "metadata__size__foo"),
        ({"x": {"$in": 1}}, "$in"),
        ({"x": {"$nin": {"a": 1}}}, "$nin"),
        ({"x": {"$exists": "yes"}}, "$exists"),
        ({"x": {"$string_contains": "a" * 257}}, "$string_contains"),
        ({f"k{n}": 1 for n in range(101)}, "100"),
        ({"x": {"$in": list(range(10_001))}}, "10000"),
        ({"x" * 1025: 1}, "1024"),
        ({".".join("x" * 17): 1}, "16"),
        ({"\ud800": 1}, "surrogate"),
        ({"x": "\ud800"}, "surrogate"),
        ([], "query"),
        ("x", "query"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_is_no_query_is_refused_by_name(shelf: Shelf, query: Any, named: str) -> None:
    for ask in (shelf.query, lambda wanted: shelf.services.store.count(shelf.user, wanted)):
        with pytest.raises(BadRequest, match="query") as refused:
            ask(query)
        assert named in refused.value.message


def test_groups_nest_so_many_levels_deep(shelf: Shelf) -> None:
    made = shelf.add({"x": 1})
    query: dict[str, Any] = {"x": 1}
    for level in range(MAX_GROUP_DEPTH):
        query = {"$or": [query], "$and": [{}]} if level % 2 else {"$and": [query]}
    assert shelf.query(query) == [made]
    with pytest.raises(BadRequest, match=f"{MAX_GROUP_DEPTH} levels"):
        shelf.query({"$or": [query]})


def test_the_largest_queries_are_answered(shelf: Shelf) -> None:
    made = shelf.add({"x": 2.5, "y": "n99"})
    assert shelf.query({"$or": [{"y": f"n{n}"} for n in range(100)]}) == [made]
    assert shelf.query({"x": {"$in": [n / 2 for n in range(10_000)]}}) == [made]
    assert shelf.query({"x": {"$in": [2**64 + n for n in range(9_999)] + [2.5]}}) == [made]
    deep = ".".join("abcdefghijklmnop")
    assert shelf.query({f"{deep}{n}"[: len(deep) + 2]: {"$ne": [n]} for n in range(99)}) == [made]


@pytest.mark.parametrize("sort", ["", "-", 1, ["x"], {}, "x" * 1025, ".".join("x" * 17), "\ud800"])
def test_what_is_no_order_is_refused(shelf: Shelf, sort: Any) -> None:
    with pytest.raises(BadRequest, match=r"sort|field|text"):
        shelf.query({}, sort)


def test_an_order_leaves_out_what_has_no_such_field(shelf: Shelf) -> None:
    values: list[Any] = [3, None, "b", True, 1.5, [1], {"a": 1}, "a", False, 2]
    made = [shelf.add({"x": value}) for value in values]
    shelf.add({})
    order = [values.index(value) for value in (False, True, 1.5, 2, 3, "a", "b", [1], {"a": 1})]
    assert shelf.query({}, "x") == [made[index] for index in order]
    assert shelf.query({}, "-x") == [made[index] for index in reversed(order)]
    assert shelf.query({"x": {"$lt": 3}}, "-x") == [made[9], made[4]]
