r"""The search syntax: parses searches, in a subset of Elasticsearch's query string syntax, into queries.

The result is a query of `rinofs.protocol.operators`. Lark parses the search; it is imported on first use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from rinofs.protocol.limits import (
    MAX_SEARCH,
    MAX_SEARCH_CONDITIONS,
    MAX_SEARCH_DEPTH,
    MAX_SEARCH_TEXT,
)
from rinofs.protocol.operators import (
    AND,
    EQ,
    EVERY_FIELD,
    EXISTS,
    GROUPS,
    GT,
    GTE,
    IN,
    LT,
    LTE,
    MATCHES,
    NOR,
    OR,
    Operator,
    QueryError,
)
from rinofs.protocol.records import RECORD_FIELDS, SERVICE_TYPES
from rinofs.protocol.words import escape, has_wildcards, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lark import Lark, Token

__all__ = ["parse_search"]

# A term ends at a blank or a special character that is not escaped by a backslash. The colons in a time of
# day are part of the term.
_GRAMMAR = r"""
start: sequence
sequence: disjunction+
?disjunction: conjunction (_OR conjunction)*  -> either
?conjunction: unary (_AND unary)*             -> both
?unary: _NOT unary   -> without
      | "-" unary    -> without
      | "+" unary    -> must
      | FIELD unary  -> of_field
      | "(" sequence ")"
      | TERM         -> term
      | TO           -> term
      | PHRASE       -> phrase
      | COMPARISON bound                -> compared
      | OPENING bound TO bound CLOSING  -> ranged
bound: TERM -> bound
     | "-" TERM -> negative_bound
     | PHRASE   -> quoted_bound

_OR.3: /(OR|\|\|)(?=[\s()]|$)/
_AND.3: /(AND|&&)(?=[\s()]|$)/
_NOT.3: /NOT(?=[\s()]|$)|!/
TO.3: /TO(?=[\s)]|$)/
FIELD.2: /([^\s:()\[\]{}"^~\\<>+\-!\/]|\\.)([^\s:()\[\]{}"^~\\<>]|\\.)*:(?!(?<=T\d\d:)\d\d)/s
TERM: /([^\s:()\[\]{}"^~\\<>+\-!\/]|\\.)([^\s:()\[\]{}"^~\\<>]|\\.|(?<=T\d\d):\d\d(:\d\d)?)*/s
PHRASE: /"([^"\\]|\\.)*"/s
COMPARISON: /[<>]=?/
OPENING: /[\[{]/
CLOSING: /[\]}]/
%ignore /\s+/
"""

_UNSUPPORTED = {
    "~": "fuzzy terms and proximity ('~') are not supported",
    "^": "boost ('^') is not supported",
    "/": "regular expressions ('/.../') are not supported",
}

_NUMBER = re.compile(r"-?\d{1,300}(\.\d{1,300})?([eE][+-]?\d{1,3})?", re.ASCII)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)

_NOTHING: dict[str, Any] = {"id": {IN.name: []}}


def parse_search(text: str, names: Callable[[str], str] = str) -> dict[str, Any]:
    """Parse a search into a query.

    Parameters
    ----------
    text : str
        Search; an empty one matches nothing, ``*`` matches everything.
    names : callable
        Converts the name of a field to its name in requests.

    Raises
    ------
    QueryError
        If the search is not valid or exceeds a limit; the message gives the reason and a correction.
    ImportError
        If Lark is not installed.
    """
    if len(text) > MAX_SEARCH:
        raise QueryError(f"a search has at most {MAX_SEARCH} characters, this one has {len(text)}")
    if not text.strip():
        return _NOTHING
    query = _query(_parsed(text), EVERY_FIELD, names)
    _check_size(query)
    return query


def _check_size(query: dict[str, Any]) -> None:
    level, depth, conditions = [query], 0, 0
    while level:
        fields = [value for one in level for key, value in one.items() if key not in GROUPS]
        conditions += sum(map(len, fields))
        level = [part for one in level for key in GROUPS for part in one.get(key, ())]
        depth += bool(level)
    if depth > MAX_SEARCH_DEPTH:
        raise QueryError(_TOO_DEEP)
    if conditions > MAX_SEARCH_CONDITIONS:
        message = f"it makes {conditions} conditions, and at most {MAX_SEARCH_CONDITIONS} are answered"
        raise QueryError(f"the search is too long: {message}")


_TOO_DEEP = "the search is nested too deeply: use fewer parentheses"


@dataclass(frozen=True, slots=True)
class _SearchPart:
    """A node of the syntax tree.

    Attributes
    ----------
    kind : str
        Rule or terminal of the grammar.
    children : sequence of _SearchPart
        Child nodes.
    value : object
        Value, for terms, phrases, ranges and field names.
    depth : int
        Height of the tree below it.
    """

    kind: str
    children: Sequence[_SearchPart] = ()
    value: Any = None
    depth: int = 1


_DEEPEST = 100  # levels of the syntax tree, which are more than those of the query


class _SearchParts:
    """Builds nodes bottom-up while Lark parses, without recursion."""

    def sequence(self, children: list[_SearchPart]) -> _SearchPart:
        return children[0] if len(children) == 1 else self._node("sequence", children)

    def start(self, children: list[_SearchPart]) -> _SearchPart:
        return children[0]

    def either(self, children: list[_SearchPart]) -> _SearchPart:
        return children[0] if len(children) == 1 else self._node("either", children)

    def both(self, children: list[_SearchPart]) -> _SearchPart:
        return children[0] if len(children) == 1 else self._node("both", children)

    def without(self, children: list[_SearchPart]) -> _SearchPart:
        return self._node("without", children)

    def must(self, children: list[_SearchPart]) -> _SearchPart:
        return self._node("must", children)

    def of_field(self, children: list[Any]) -> _SearchPart:
        return self._node("of_field", children[1:], unescape(children[0][:-1]))

    def term(self, children: list[Token]) -> _SearchPart:
        return _SearchPart("term", value=str(children[0]))

    def phrase(self, children: list[Token]) -> _SearchPart:
        return _SearchPart("phrase", value=_unquoted(children[0]))

    def bound(self, children: list[Token]) -> _Bound:
        text = unescape(children[0])
        return _Bound(text, is_open=text == "*")

    def negative_bound(self, children: list[Token]) -> _Bound:
        return _Bound("-" + unescape(children[0]))

    def quoted_bound(self, children: list[Token]) -> _Bound:
        return _Bound(_unquoted(children[0]), is_quoted=True)

    def compared(self, children: list[Any]) -> _SearchPart:
        sign, bound = children
        low, high = (bound, _OPEN) if sign[0] == ">" else (_OPEN, bound)
        return _SearchPart("range", value=_Range(low, high, "=" in sign, "=" in sign))

    def ranged(self, children: list[Any]) -> _SearchPart:
        opening, low, _, high, closing = children
        return _SearchPart("range", value=_Range(low, high, opening == "[", closing == "]"))

    def _node(self, kind: str, children: list[_SearchPart], value: object = None) -> _SearchPart:
        depth = 1 + max(child.depth for child in children)
        if depth > _DEEPEST:
            raise QueryError(_TOO_DEEP)
        return _SearchPart(kind, children, value, depth)


def _unquoted(phrase: str) -> str:
    text = unescape(phrase[1:-1])
    if not text.strip():
        raise QueryError("a phrase is empty: write some text between the quotes")
    return text


@dataclass(frozen=True, slots=True)
class _Bound:
    """A bound of a range: its text, and whether it was quoted or open."""

    text: str
    is_quoted: bool = False
    is_open: bool = False

    @property
    def number(self) -> float | None:
        return None if self.is_quoted else _number(self.text)


_OPEN = _Bound("*", is_open=True)


@dataclass(frozen=True, slots=True)
class _Range:
    """A range, and whether it includes its bounds."""

    low: _Bound
    high: _Bound
    with_low: bool
    with_high: bool


@cache
def _parser() -> Lark:
    try:
        from lark import Lark
    except ImportError as error:
        raise ImportError("searching needs lark: pip install 'rinofs[search]'") from error
    return Lark(
        _GRAMMAR,
        parser="lalr",
        lexer="basic",
        transformer=_SearchParts(),
    )


def _parsed(text: str) -> _SearchPart:
    parser = _parser()
    from lark.exceptions import UnexpectedInput, VisitError

    try:
        node: Any = parser.parse(text)
    except VisitError as error:
        raise error.orig_exc from None
    except UnexpectedInput as error:
        place = error.pos_in_stream
        is_end = getattr(getattr(error, "token", None), "type", "") == "$END"
        raise QueryError(_problem(text, None if is_end else place)) from None
    return node  # type: ignore[no-any-return]


def _problem(text: str, place: int | None) -> str:
    """Return the message for a syntax error at a position, None for the end."""
    plain = "put special characters between quotes, or a backslash before them"
    if place is None:
        return f"the search ends too early: a parenthesis, a bracket or a value is missing; {plain}"
    if text[place] in _UNSUPPORTED:
        return f"character {place}: {_UNSUPPORTED[text[place]]}; {plain}"
    if text[place] == '"':
        return f"the quote at character {place} is not closed; {plain}"
    return f"unexpected {text[place : place + 20]!r} at character {place}; {plain}"


def _query(node: _SearchPart, field: str, names: Callable[[str], str]) -> dict[str, Any]:
    """Return the query for a node, whose terms apply to a field."""
    if node.kind == "of_field":
        return _of_field(node, names)
    if node.kind == "term":
        return _term(field, node.value)
    if node.kind == "phrase":
        return _any([_matches(field, escape(node.value)), *_times(field, node.value)])
    if node.kind == "range":
        return _range(field, node.value)
    if node.kind in {"sequence", "without", "must"}:
        return _sequence(node.children if node.kind == "sequence" else [node], field, names)
    return _group(OR if node.kind == "either" else AND, [_query(one, field, names) for one in node.children])


def _of_field(node: _SearchPart, names: Callable[[str], str]) -> dict[str, Any]:
    field, value = names(node.value), node.children[0]
    if value.kind == "without" and value.children[0].kind == "term":
        text = "-" + value.children[0].value
        if _number(text) is not None:
            return _term(field, text)  # a negative number
    return _query(value, field, names)


def _sequence(children: Sequence[_SearchPart], field: str, names: Callable[[str], str]) -> dict[str, Any]:
    """Return the query for terms side by side: required and excluded ones, else at least one."""
    inner: dict[str, list[dict[str, Any]]] = {"must": [], "without": [], "": []}
    for child in children:
        kind = child.kind if child.kind in inner else ""
        inner[kind].append(_query(child.children[0] if kind else child, field, names))
    wanted = inner["must"] or ([_any(inner[""])] if inner[""] else [])
    parts = [*wanted, {NOR: inner["without"]}] if inner["without"] else wanted
    return _group(AND, parts)


def _group(kind: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine queries; nested combinations of the same kind are merged into one level."""
    flat = [inner for part in parts for inner in (part[kind] if part.keys() == {kind} else [part])]
    return flat[0] if len(flat) == 1 else {kind: flat}


def _any(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return _group(OR, parts)


def _term(field: str, raw: str) -> dict[str, Any]:
    if raw == "*":
        return {} if field == EVERY_FIELD else {field: {EXISTS.name: True}}
    plain = unescape(raw)
    if field == "type":
        return _matches(field, escape(SERVICE_TYPES[plain]) if plain in SERVICE_TYPES else raw)
    found = [_matches(field, raw)]
    if not has_wildcards(raw):
        number = _number(raw)
        if number is not None:
            found.append({field: {EQ.name: number}})
        if raw in {"true", "false"}:
            found.append({field: {EQ.name: raw == "true"}})
        found += _times(field, plain)
    return _any(found)


def _matches(field: str, pattern: str) -> dict[str, Any]:
    if len(pattern) > MAX_SEARCH_TEXT:
        raise QueryError(f"a term or phrase has at most {MAX_SEARCH_TEXT} characters")
    return {field: {MATCHES.name: pattern}}


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("-").isdigit():
        whole = int(text)
        return whole if -(2**63) <= whole < 2**63 else float(whole)
    number = float(text)
    return number if abs(number) != float("inf") else None


# Dates


def _is_time(field: str) -> bool:
    own = RECORD_FIELDS.get(field)
    return own is not None and own.is_time


def _times(field: str, text: str) -> list[dict[str, Any]]:
    """Return the query for times within the year, month, day... that a text names, if it names one."""
    if field == EVERY_FIELD or (_DATE.fullmatch(text) and len(text) == 4 and not _is_time(field)):
        return []
    span = _span(text)
    return [] if span is None else [{field: {GTE.name: span[0], LT.name: span[1]}}]


def _span(text: str) -> tuple[str, str] | None:
    """Return the first moment of a period and the first moment after it, as sortable strings."""
    try:
        if matched := _DATE.fullmatch(text):
            return text, _day_after(*(None if part is None else int(part) for part in matched.groups()))
        if not (matched := _TIME.fullmatch(text)):
            return None
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        length = timedelta(microseconds=1) if matched[2] else timedelta(seconds=1 if matched[1] else 60)
        return _written(moment), _written(moment + length)
    except (ValueError, OverflowError):
        return None


def _day_after(year: int | None, month: int | None, day: int | None) -> str:
    """Return the first day after a year, month or day."""
    assert year is not None
    if day is not None and month is not None:
        return (date(year, month, day) + timedelta(days=1)).isoformat()
    first = date(year, month or 1, 1)
    if month is None or month == 12:
        return first.replace(year=year + 1, month=1).isoformat()
    return first.replace(month=month + 1).isoformat()


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


# Ranges


def _range(field: str, wanted: _Range) -> dict[str, Any]:
    if field == EVERY_FIELD:
        raise QueryError("a range or comparison needs a field: size:>=10, size:[10 TO 20]")
    given = [bound for bound in (wanted.low, wanted.high) if not bound.is_open]
    if not given:
        return {field: {EXISTS.name: True}}
    numeric = not _is_time(field) and all(bound.number is not None for bound in given)
    ends: dict[str, Any] = {}
    for bound, is_low, included in (
        (wanted.low, True, wanted.with_low),
        (wanted.high, False, wanted.with_high),
    ):
        if not bound.is_open:
            operator, value = _end(field, bound, is_low=is_low, included=included, numeric=numeric)
            ends[operator.name] = value
    return {field: ends}


def _end(
    field: str, bound: _Bound, *, is_low: bool, included: bool, numeric: bool
) -> tuple[Operator, str | float]:
    """Return the condition for one bound of a range."""
    plain: Operator = (GTE if included else GT) if is_low else (LTE if included else LT)
    if numeric and bound.number is not None:
        return plain, bound.number
    span = _span(bound.text) if _is_time(field) or _DATE.fullmatch(bound.text) else None
    if span is None:
        if _is_time(field):
            raise QueryError(
                f'{field}: {bound.text!r} is not a date; write 2026-01-31 or "2026-01-31T12:00:00Z"'
            )
        return plain, bound.text
    # A day at a bound is either completely inside or completely outside the range.
    begins = included is is_low
    return (GTE if is_low else LT), span[0] if begins else span[1]
