"""What people type into a search box, and the query that it becomes."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rinofs.protocol.limits import MAX_SEARCH
from rinofs.protocol.operators import QueryError
from rinofs.protocol.search_syntax import parse_search
from rinofs.protocol.words import escape, unescape, words_matcher


def word(pattern: str, field: str = "*") -> dict[str, Any]:
    return {field: {"$matches": pattern}}


SEARCHES: list[tuple[str, dict[str, Any]]] = [
    ("", {"id": {"$in": []}}),
    ("  ", {"id": {"$in": []}}),
    ("*", {}),
    ("*:*", {}),
    ("cold", word("cold")),
    ("cold spike", {"$or": [word("cold"), word("spike")]}),
    ('"cold  spike"', word("cold  spike")),
    ('"a* \\"b\\""', word('a\\* "b"')),
    ("te?t*", word("te?t*")),
    ("a AND b OR NOT c", {"$or": [{"$and": [word("a"), word("b")]}, {"$nor": [word("c")]}]}),
    ("a && b || !c", {"$or": [{"$and": [word("a"), word("b")]}, {"$nor": [word("c")]}]}),
    ("+a -b c", {"$and": [word("a"), {"$nor": [word("b")]}]}),
    ("a -b", {"$and": [word("a"), {"$nor": [word("b")]}]}),
    ("a NOT b", {"$and": [word("a"), {"$nor": [word("b")]}]}),
    ("-a", {"$nor": [word("a")]}),
    ("(a b) AND (c d)", {"$and": [{"$or": [word("a"), word("b")]}, {"$or": [word("c"), word("d")]}]}),
    ("name:*.csv", word("*.csv", "name")),
    ("tags:(pilot OR late)", {"$or": [word("pilot", "tags"), word("late", "tags")]}),
    ("tags:(a name:b)", {"$or": [word("a", "tags"), word("b", "name")]}),
    ("my\\ field:x", word("x", "my field")),
    ("notes:*", {"notes": {"$exists": True}}),
    ("n:7", {"$or": [word("7", "n"), {"n": {"$eq": 7}}]}),
    ("n:-2.5", {"$or": [word("-2.5", "n"), {"n": {"$eq": -2.5}}]}),
    ("x:true", {"$or": [word("true", "x"), {"x": {"$eq": True}}]}),
    ("size:>=10", {"size": {"$gte": 10}}),
    ("size:<-1", {"size": {"$lt": -1}}),
    ("size:(>=10 AND <20)", {"$and": [{"size": {"$gte": 10}}, {"size": {"$lt": 20}}]}),
    ("size:[10 TO 20}", {"size": {"$gte": 10, "$lt": 20}}),
    ("size:{-5 TO *]", {"size": {"$gt": -5}}),
    ("size:[* TO *]", {"size": {"$exists": True}}),
    ("n:[a TO 5]", {"n": {"$gte": "a", "$lte": "5"}}),
    ('n:["1" TO "2 b"]', {"n": {"$gte": "1", "$lte": "2 b"}}),
    ("created_on:[2012-01-30 TO 2012-01-31]", {"created_on": {"$gte": "2012-01-30", "$lt": "2012-02-01"}}),
    ("created_on:{2012-01-30 TO 2012-01-31}", {"created_on": {"$gte": "2012-01-31", "$lt": "2012-01-31"}}),
    ("created_on:>2012", {"created_on": {"$gte": "2013-01-01"}}),
    ("created_on:<=2012-12", {"created_on": {"$lt": "2013-01-01"}}),
    ("created_on:>2012-01-01T10:00", {"created_on": {"$gte": "2012-01-01T10:01:00.000000Z"}}),
    ('created_on:>="2012-01-01T10:00:00+02:00"', {"created_on": {"$gte": "2012-01-01T08:00:00.000000Z"}}),
    ("d:2012-02-29", {"$or": [word("2012-02-29", "d"), {"d": {"$gte": "2012-02-29", "$lt": "2012-03-01"}}]}),
    ("d:2012-02-30", word("2012-02-30", "d")),
    ("type:directory", word("folder", "type")),
    ("TO ORANGE", {"$or": [word("TO"), word("ORANGE")]}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "query"), SEARCHES, ids=[text for text, _ in SEARCHES])
def test_a_search_becomes_a_query(text: str, query: dict[str, Any]) -> None:
    assert parse_search(text) == query


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a~", "fuzzy terms"),
        ("a~1", "fuzzy terms"),
        ('"a b"~5', "proximity"),
        ("a^2", "boost"),
        ("/a.*b/", "regular expressions"),
        ("name:/a/", "regular expressions"),
        ("(a", "ends too early"),
        ("a AND", "ends too early"),
        ("a:", "ends too early"),
        ("[1 TO 2", "ends too early"),
        ('"open', "not closed"),
        (")", "unexpected"),
        ("OR a", "unexpected"),
        (">5", "needs a field"),
        ("age>5", "needs a field"),
        ("[1 TO 2]", "needs a field"),
        ('""', "phrase is empty"),
        ("created_on:>yesterday", "not a date"),
        ("a" * 257, "256"),
        ("a" * (MAX_SEARCH + 1), f"{MAX_SEARCH} characters"),
        (" ".join("abcdefghij" * 10), "too long"),
        ("(" * 20 + "a b" + " OR d) AND c" * 20, "deeply"),
        ("!" * 200 + "a", "deeply"),
    ],
)
def test_what_is_no_search_is_refused_in_a_sentence(text: str, problem: str) -> None:
    with pytest.raises(QueryError, match=problem):
        parse_search(text)


@given(st.text(st.sampled_from('ab*?:()[]{}"\\ +-!<>=~^/&|0TO.') | st.characters(), max_size=40))
def test_any_text_is_a_search_or_refused(text: str) -> None:
    with suppress(QueryError):
        assert isinstance(parse_search(text), dict)


@pytest.mark.parametrize("text", ["(" * 4096, "!" * 4096, "a:" * 2048, "+" * 4096, "\\" * 4096, '"' * 4095])
def test_the_longest_texts_cost_little(text: str) -> None:
    started = time.process_time()
    with pytest.raises(QueryError):
        parse_search(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("pattern", "found", "missed"),
    [
        ("run", ["run", "Run 3", "run_3.csv", "a-RUN", "(run)"], ["runs", "rerun", "run3", ""]),
        ("RÜN", ["rün"], ["run"]),
        ("run*", ["run", "runs", "run_3.csv"], ["rerun"]),
        ("*un", ["run", "un"], ["runs"]),
        ("r*n?", ["runs", "r_n1"], ["run", "r n1"]),
        ("a*b*c", ["abc", "xx a_b_c"], ["a b c", "acb"]),
        ("cold spike", ["a Cold  \n spike."], ["cold-spike", "colds pike", "cold spikes"]),
        ("a* b", ["a* b"], ["ax b"]),
        (".csv", ["x.csv"], ["x.csvs"]),
        ("\\*", ["a * b"], ["a"]),
        ("*", [], ["", "a"]),
        ("", [], ["", "a"]),
    ],
)
def test_whole_words(pattern: str, found: list[str], missed: list[str]) -> None:
    holds = words_matcher(pattern)
    assert [text for text in found if not holds(text)] == []
    assert [text for text in missed if holds(text)] == []


def test_words_are_looked_for_in_linear_time() -> None:
    started = time.process_time()
    for pattern in ("a*a*a*a*a*b", "a?a?a?a?b", "*a*a*a*a*b*", "a" * 250 + "*b"):
        assert not words_matcher(pattern)("a" * 200_000)
    assert time.process_time() - started < 10


@given(st.text())
def test_escaped_text_is_itself(text: str) -> None:
    assert unescape(escape(text)) == text


def test_lark_is_imported_when_something_is_searched_for() -> None:
    program = "import sys, rinofs.protocol.search_syntax; assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
