"""Queries and orders on PostgreSQL find what they find on SQLite, and what the rules say."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rinofs.protocol.limits import MAX_SEARCH_TEXT
from rinofs.server.budgets import CLIENT_GONE
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.store import Store
from rinofs.server.errors import BadRequest
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from tests.campaign import rounds
from tests.postgres import shared
from tests.server.catalog import query_model as model
from tests.server.catalog.test_query import OWN, Shelf, known_fields, queries, shelves

if TYPE_CHECKING:
    from collections.abc import Iterator

QUERIES, SORTS = 20, 4
EXAMPLES = rounds(3, 220)

ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        1.0,
        -1,
        -0.0,
        0.1,
        0.5,
        1e308,
        -1e308,
        5e-324,
        2e-7,
        2**53,
        2**53 + 1,
        2.0**53,
    ),
    *(
        2**62,
        2**62 + 1,
        2**62 + 46,
        2.0**62,
        2**63 - 1,
        2**63 - 513,
        2.0**63,
        2**63,
        2**70,
        2.0**70,
        2**70 + 1,
    ),
    *(
        10**299,
        -(2**63),
        -(2.0**63),
        -(2**63) - 1,
        -(2**53) - 1,
        1.2e17,
        123456789012345678,
        2.0**60,
        2.0**80,
    ),
    *(
        "",
        "a",
        "A",
        "B",
        "b",
        "ab",
        "Ä",
        "z",
        "1",
        "é",
        "e\u0301",
        "\0",
        "a\0",
        "a\0b",
        "\U0010fffd",
        "%",
        "_",
    ),
    *(
        "\U0001f600",
        "\uffff",
        "\U00010000",
        "-",
        "a-b",
        "a b",
        '"',
        "\\",
        "\\u0000",
        "0",
        "true",
        "null",
        "ß",
    ),
    *("SS", "ss", "\u0131", "\u0130", "\u212a", "x" * 249, "x" * 250, "x" * 250 + "y", "x" * 300),
    *([], ["a"], [1, "a"], [[1]], [None], [1e308, 0.1], {}, {"a": 1}, {"a": 1.0}, {"b": 1, "a": 2}),
]
COMPARISONS = ["$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$string_contains"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Shelf]]:
    """The same objects on SQLite and on PostgreSQL."""
    folder = tmp_path_factory.mktemp("queries")
    opened = [
        open_services(ServerSettings(folder / place, url))
        for place, url in (
            ("sqlite", f"sqlite:///{folder}/rinofs.sqlite3"),
            ("postgresql", shared().new_database(schema=True)),
        )
    ]
    yield [Shelf(services, services.accounts.add_user("ada")) for services in opened]
    for services in opened:
        services.close()


def fill(both: list[Shelf], given_objects: list[Any]) -> None:
    for shelf in both:
        shelf.clear()
        for given_metadata, tags, folder in given_objects:
            shelf.add(given_metadata, tuple(tags), folder=folder)


def places(shelf: Shelf, found: list[int]) -> list[int]:
    """Return which objects have some ids, in the order in which they were added."""
    known = {record["id"]: place for place, record in enumerate(shelf.records)}
    return [known[number] for number in found]


def check(both: list[Shelf], query: dict[str, Any], sort: str | None = None) -> int:
    for shelf in both:
        found = places(shelf, shelf.query(query, sort))
        held = [record for record in shelf.records if model.holds(record, query)]
        wanted = [record["id"] for record in held] if sort is None else model.ordered(held, sort)
        assert found == places(shelf, wanted), (shelf.services.database.engine.name, query, sort)
        if sort is None:
            assert shelf.services.store.count(shelf.user, query) == len(found), query
    return len(found)


@pytest.mark.timeout(rounds(300, 7200))
def test_both_and_the_rules_agree(both: list[Shelf]) -> None:
    sizes: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(given_objects=shelves, data=st.data())
    def look(given_objects: list[Any], data: st.DataObject) -> None:
        fill(both, given_objects)
        names = [name for one, _, _ in given_objects for name, _ in known_fields(one)]
        fields = st.sampled_from([name for name in names + OWN if name.strip("-")])
        asked = data.draw(st.lists(queries(given_objects), min_size=QUERIES, max_size=QUERIES))
        sizes.extend(check(both, query) for query in asked)
        for field in data.draw(st.lists(fields, min_size=SORTS, max_size=SORTS)):
            for sort in (field.removeprefix("-"), f"-{field}"):
                query = data.draw(st.sampled_from([{}, asked[0]]))
                sizes.append(check(both, query, sort))

    look()
    assert len(sizes) >= (5_000 if os.environ.get("RINOFS_SOAK") else 60)
    assert sum(map(bool, sizes)) > len(sizes) / 10


@pytest.mark.timeout(rounds(300, 7200))
def test_every_comparison_of_every_kind_of_value(both: list[Shelf]) -> None:
    fill(both, [({"x": value, "a": {"b": value}}, [], False) for value in ODD] + [({}, [], False)])
    step = rounds(11, 1)
    asked: list[Any] = [
        {"x": {operation: value}}
        for operation in COMPARISONS
        for value in ODD
        if not isinstance(value, str) or len(value) <= MAX_SEARCH_TEXT or operation != "$string_contains"
    ]
    asked += [{"a.b": {operation: [1, value]}} for operation in ("$in", "$nin") for value in ODD]
    asked += [{"x": {"$in": [value, *range(30)]}} for value in ODD if model.plain(value) == 0.0]
    asked += [{"x": {"$in": [value, *map(str, range(30))]}} for value in ODD if isinstance(value, str)]
    assert sum(check(both, query) for query in asked[::step]) > 30
    for sort in ("x", "-x", "a.b", "-a.b", "name", "-name", "id"):
        check(both, {}, sort)


@pytest.mark.parametrize(
    "query",
    [{"$or": [{"values": number} for number in range(90)]}, {"values": {"$matches": "w?rd"}}],
    ids=["conditions", "words"],
)
def test_a_query_that_takes_too_long_ends_alike(both: list[Shelf], query: dict[str, Any]) -> None:
    fill(both, [({"values": ["sword"] * 100_000}, [], False)])
    request = CLIENT_GONE.set(lambda: False)
    try:
        for shelf in both:
            url = shelf.services.settings.database_url
            assert url is not None
            with (
                closing(Database(url, statement_timeout=0.02)) as hurried,
                pytest.raises(BadRequest, match="takes too long"),
            ):
                Store(hurried).count(shelf.user, query)
    finally:
        CLIENT_GONE.reset(request)
