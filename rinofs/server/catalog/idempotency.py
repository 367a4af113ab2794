"""Carrying a repeated request out once.

A client that never saw the answer to a request sends it again, with the same ``Idempotency-Key``. The first
answer is kept in the transaction that does the work, so that there is one if and only if the work is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import orjson
from anyio import to_thread
from sqlalchemy import bindparam, delete, insert, select
from starlette.responses import Response

from rinofs.protocol.extensions import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED
from rinofs.server.catalog.inline_reader import WouldWait
from rinofs.server.catalog.tables import answers
from rinofs.server.errors import BadRequest, Unprocessable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from sqlalchemy import Connection
    from starlette.requests import Request

    from rinofs.server.catalog.database import Database
    from rinofs.server.catalog.inline_reader import Reader
    from rinofs.server.catalog.records import User

    T = TypeVar("T")
    Remember: TypeAlias = Callable[[Connection, Sequence[T]], None]

__all__ = ["KEPT", "Answers"]

KEPT = 24 * 3600.0
"""Seconds for which an answer is given again."""

# Putting statements together takes longer than running them.
_REMEMBER = insert(answers)
_FORGET = delete(answers).where(answers.c.created <= bindparam("oldest"))
_PRESENT = select(answers.c.request, answers.c.status, answers.c.body).where(
    answers.c.owner == bindparam("owner"),
    answers.c.key == bindparam("key"),
    answers.c.created > bindparam("oldest"),
)

_KEY = re.compile(r'(")?([\x21\x23-\x7e]{1,255})(?(1)")')  # quoted, as the draft standard has it, or bare


class Answers:
    """The answers to requests that carried a key.

    Parameters
    ----------
    database : Database
        Where they are kept.
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        # For each key that is being worked on: how many requests carry it.
        self._turns: dict[tuple[int, str], tuple[asyncio.Lock, int]] = {}

    async def once(
        self,
        request: Request,
        user: User,
        said: object,
        work: Callable[[Remember[T]], object],
        render: Callable[[Sequence[T]], Response],
    ) -> Response:
        """Carry a request out, unless it was carried out already: then give the same answer.

        A request without a key is always carried out, and so is one whose first try failed: it left nothing.

        Parameters
        ----------
        request : Request
            The request.
        user : User
            Who sent it.
        said : object
            All that it says, for `orjson`; a request of the same key that says something else is refused.
        work : callable
            Does the work, in a worker thread, and has what it is given called within its transaction, with
            the things that were made.
        render : callable
            Makes the answer of them.

        Raises
        ------
        BadRequest
            If the key cannot be one.
        Unprocessable
            If the key was used for another request.
        """
        header = request.headers.get(IDEMPOTENCY_KEY) if request.app.state.settings.extensions else None
        if header is None:
            return await to_thread.run_sync(_carry_out, work, render, None)
        match = _KEY.fullmatch(header)
        if match is None:
            raise BadRequest(f"{IDEMPOTENCY_KEY}: 1 to 255 printable ASCII characters are allowed")
        key = match.group(2)
        digest = _digest(request, said)
        async with self._turn(user.id, key):
            kept = await self._kept(user.id, key)
            if kept is None:
                keep = partial(self._keep, user.id, key, digest)
                return await to_thread.run_sync(_carry_out, work, render, keep)
        request_digest, answer = kept
        if request_digest != digest:
            raise Unprocessable(f"{IDEMPOTENCY_KEY}: this key was used for another request")
        return answer

    @asynccontextmanager
    async def _turn(self, owner: int, key: str) -> AsyncIterator[None]:
        """Let requests of one key wait for each other."""
        turn, others = self._turns.get((owner, key), (asyncio.Lock(), 0))
        self._turns[owner, key] = turn, others + 1
        try:
            async with turn:
                yield
        finally:
            turn, others = self._turns.pop((owner, key))
            if others > 1:
                self._turns[owner, key] = turn, others - 1

    async def _kept(self, owner: int, key: str) -> tuple[str, Response] | None:
        wanted = {"owner": owner, "key": key, "oldest": self._oldest()}
        with suppress(WouldWait), self._database.look() as reader:
            return _present(reader, wanted)

        def read() -> tuple[str, Response] | None:
            with self._database.read() as connection:
                return _present(connection, wanted)

        return await to_thread.run_sync(read)

    def _keep(self, owner: int, key: str, digest: str, connection: Connection, answer: Response) -> None:
        connection.execute(_FORGET, {"oldest": self._oldest()})
        row = {
            "owner": owner,
            "key": key,
            "request": digest,
            "status": answer.status_code,
            "body": bytes(answer.body),
            "created": int(self._clock()),
        }
        connection.execute(_REMEMBER, row)

    def _oldest(self) -> int:
        return int(self._clock() - KEPT)


def _present(reader: Reader, wanted: Mapping[str, object]) -> tuple[str, Response] | None:
    row = reader.execute(_PRESENT, wanted).one_or_none()
    if row is None:
        return None
    request, status, body = row
    return request, Response(bytes(body), status, {IDEMPOTENCY_REPLAYED: "true"}, "application/json")


def _carry_out(
    work: Callable[[Remember[T]], object],
    render: Callable[[Sequence[T]], Response],
    keep: Callable[[Connection, Response], None] | None,
) -> Response:
    made: list[Response] = []

    def remember(connection: Connection, things: Sequence[T]) -> None:
        answer = render(things)
        if keep is not None:
            keep(connection, answer)
        made.append(answer)

    work(remember)
    return made[-1]


def _digest(request: Request, said: object) -> str:
    whole = [request.url.path, said]
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()
