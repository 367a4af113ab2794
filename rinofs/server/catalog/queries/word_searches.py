"""Words in texts, if the database cannot test for them as defined by `rinofs.protocol.words`.

Texts that may contain them are read before the statement that needs them, in the same transaction, and tested
one by one. Only the ids of matching objects are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.protocol.words import words_matcher
from rinofs.server.budgets import is_over
from rinofs.server.errors import takes_too_long

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from rinofs.server.catalog.queries.query_dialect import Bound, WordSearch

__all__ = ["matching"]

_ROWS = 200  # maximum number in memory at a time


def matching(connection: Connection, bound: Bound, search: WordSearch) -> list[int]:
    """Return the ids of the objects of which a text contains words.

    Raises
    ------
    BadRequest
        If it takes too long.
    """
    holds = words_matcher(search.pattern)
    options = {"yield_per": _ROWS}
    found: set[int] = set()
    with connection.execute(bound.clause(search.statement), execution_options=options) as rows:
        for number, text in rows:
            if is_over():
                raise takes_too_long()
            if number not in found and holds(text):
                found.add(number)
    return sorted(found)
