"""Queries as SQL: a condition on the table of objects, and what to order by.

The rules are those of `rinofs.protocol.operators`. How each operator is written is in `CONDITIONS`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rinofs.protocol import operators
from rinofs.protocol.limits import (
    MAX_CONDITIONS,
    MAX_FIELD_LENGTH,
    MAX_GROUP_DEPTH,
    MAX_GROUPED,
    MAX_QUERY_VALUES,
    MAX_SEARCH_TEXT,
)
from rinofs.protocol.operators import Operator, QueryError, Takes
from rinofs.server.catalog.queries.fields import field_of
from rinofs.server.catalog.queries.indexes import is_answered
from rinofs.server.catalog.queries.query_dialect import FALSE, Bound
from rinofs.server.catalog.queries.values import Field, all_of, any_of
from rinofs.server.catalog.queries.word_searches import matching
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, TextClause

    from rinofs.server.catalog.queries.query_dialect import QueryDialect
    from rinofs.server.catalog.records import User

    Condition: TypeAlias = Callable[[Field, Any], str]

__all__ = ["CONDITIONS", "CompiledQuery", "compile_query", "compile_sort", "distinct_values", "refusals"]


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A query in SQL.

    Attributes
    ----------
    sql : str
        Condition on the table of objects.
    bound : Bound
        Values of its parameters.
    """

    sql: str
    bound: Bound

    @property
    def is_indexed(self) -> bool:
        """Whether an index on a field answers at least part of it."""
        return is_answered(self.sql)

    def clause(self, connection: Connection) -> TextClause:
        """Return the condition, in a transaction that sees a single snapshot."""
        found = {search.name: matching(connection, self.bound, search) for search in self.bound.searches}
        return self.bound.clause(self.sql, **found)


def compile_query(
    dialect: QueryDialect,
    user: User,
    query: object,
    *,
    digests: bool = True,
    indexed: frozenset[str] = frozenset(),
) -> CompiledQuery:
    """Compile a query to a condition on the table of objects.

    Parameters
    ----------
    dialect : QueryDialect
        SQL dialect of the database.
    user : User
        Owner of the objects; the condition itself does not select by owner.
    query : object
        The query as sent; None matches everything.
    digests : bool
        Whether ``sha256`` is a field of records.
    indexed : frozenset of str
        The metadata fields that have an index.

    Raises
    ------
    BadRequest
        If the query is malformed or exceeds a limit; the message says what is wrong.
    """
    bound = Bound(dialect)
    with refusals():
        compiler = _Compiler(bound, user, digests=digests, indexed=indexed)
        return CompiledQuery(compiler.conditions({} if query is None else query, MAX_GROUP_DEPTH), bound)


def compile_sort(
    dialect: QueryDialect,
    user: User,
    sort: object,
    *,
    digests: bool = True,
    indexed: frozenset[str] = frozenset(),
) -> tuple[TextClause, TextClause]:
    """Compile a sort order to the condition that an object has the field, and the ORDER BY terms.

    Raises
    ------
    BadRequest
        If it does not name a field.
    """
    if not isinstance(sort, str) or sort in {"", "-"}:
        raise BadRequest("sort: the name of a field is expected, after a - for the reverse", field="sort")
    there, sorted_by = Bound(dialect, "p"), Bound(dialect, "s")
    with refusals():
        name, direction = _checked_field(sort.removeprefix("-")), " DESC" if sort.startswith("-") else ""
        present = field_of(there, user, name, digests=digests, indexed=indexed).present()
        columns = field_of(sorted_by, user, name, digests=digests, indexed=indexed).order()
    order = ", ".join(column + direction for column in [*columns, "objects.id"])
    return there.clause(present), sorted_by.clause(order)


def distinct_values(dialect: QueryDialect, user: User, field: str, *, digests: bool = True) -> TextClause:
    """Return the statement that finds the values of a field among a user's current objects.

    Its rows contain a value and its JSON type; ``:limit`` is the maximum number of rows.
    """
    bound = Bound(dialect, "v")
    with refusals():
        source = field_of(bound, user, _checked_field(field), digests=digests)
        scalar = source.scalar()
    mine = f"objects.owner = {bound.name(user.id)} AND objects.version_of IS NULL AND {source.present()}"
    return bound.clause(f"{dialect.distinct(*scalar, mine)} LIMIT :limit")


def _checked_field(field: str) -> str:
    if len(field) > MAX_FIELD_LENGTH:
        raise QueryError(f"the name of a field has at most {MAX_FIELD_LENGTH} characters")
    return field


@contextmanager
def refusals() -> Iterator[None]:
    """Turn errors in a query into refusals for the client."""
    try:
        yield
    except QueryError as error:
        raise BadRequest(f"query: {error}", field="query") from error


class _Compiler:
    def __init__(self, bound: Bound, user: User, *, digests: bool, indexed: frozenset[str]) -> None:
        self._bound = bound
        self._user = user
        self._digests = digests
        self._indexed = indexed
        self._terms = 0
        self._grouped = 0
        self._values = 0

    def conditions(self, query: object, depth: int) -> str:
        if not isinstance(query, dict):
            raise QueryError("an object is expected")
        if depth < 0:
            raise QueryError(f"at most {MAX_GROUP_DEPTH} levels of $or, $and and $nor are answered")
        return all_of([self._part(key, wanted, depth) for key, wanted in query.items()])

    def _part(self, key: str, wanted: object, depth: int) -> str:
        if not operators.is_group(key):
            return self._field(key, wanted)
        if not isinstance(wanted, list) or not wanted:
            raise QueryError(f"{key} takes a list of queries")
        self._grouped += len(wanted)
        if self._grouped > MAX_GROUPED:
            raise QueryError(f"at most {MAX_GROUPED} queries in $or, $and and $nor are answered")
        parts = [self.conditions(one, depth - 1) for one in wanted]
        if key == operators.AND:
            return all_of(parts)
        return any_of(parts) if key == operators.OR else f"NOT {any_of(parts)}"

    def _field(self, name: str, wanted: object) -> str:
        operators.check_field(name)
        field = field_of(
            self._bound, self._user, _checked_field(name), digests=self._digests, indexed=self._indexed
        )
        terms = wanted if operators.is_condition(wanted) else {operators.EQ.name: wanted}
        checked = [(self._checked_term(name, operator, value), value) for operator, value in terms.items()]
        found = [CONDITIONS[operator](field, value) for operator, value in checked if operator not in _ORDERS]
        limits = [(_ORDERS[operator], value) for operator, value in checked if operator in _ORDERS]
        if limits:
            # Together: an index can find a range between two values, but not the intersection of two lists.
            found.append(field.where(lambda cell: cell.within(limits)))
        return all_of(found)

    def _checked_term(self, name: str, operator_name: str, value: object) -> Operator:
        self._terms += 1
        if self._terms > MAX_CONDITIONS:
            raise QueryError(f"at most {MAX_CONDITIONS} conditions are answered")
        try:
            operator = operators.find_operator(operator_name)
            operator.check(value)
            if name == operators.EVERY_FIELD:
                operators.check_every_field(operator, value)
        except QueryError as error:
            raise QueryError(f"{name}: {error}") from error
        if operator.takes is Takes.LIST and isinstance(value, list):
            self._values += len(value)
            if self._values > MAX_QUERY_VALUES:
                raise QueryError(f"at most {MAX_QUERY_VALUES} values are looked for")
        if operator.takes is Takes.TEXT and isinstance(value, str) and len(value) > MAX_SEARCH_TEXT:
            raise QueryError(f"{name}: {operator_name} takes at most {MAX_SEARCH_TEXT} characters")
        return operator


def _is_one_of(field: Field, values: Any) -> str:
    some = [value for value in values if value is not None]
    found = [field.where(lambda cell: cell.matches(some))] if some else []
    if len(some) < len(values):
        found.append(field.absent())
    return any_of(found)


def _ordered(comparison: str) -> Condition:
    return lambda field, value: field.where(lambda cell: cell.within([(comparison, value)]))


_ORDERS = {operators.LT: "<", operators.LTE: "<=", operators.GT: ">", operators.GTE: ">="}


def _contains(field: Field, value: Any) -> str:
    return field.where(lambda cell: cell.contains(value)) if isinstance(value, str) else FALSE


CONDITIONS: dict[Operator, Condition] = {
    operators.EQ: lambda field, value: _is_one_of(field, [value]),
    operators.NE: lambda field, value: f"NOT {_is_one_of(field, [value])}",
    operators.IN: _is_one_of,
    operators.NIN: lambda field, values: f"NOT {_is_one_of(field, values)}",
    **{operator: _ordered(comparison) for operator, comparison in _ORDERS.items()},
    operators.EXISTS: lambda field, value: field.present() if value else field.absent(),
    operators.MATCHES: lambda field, value: field.holds_words(value),
    operators.STRING_CONTAINS: _contains,
}
"""Condition by operator: a function of the field and the operand."""
