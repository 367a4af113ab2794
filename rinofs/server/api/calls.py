"""One request of a signed-in user, with all that it takes to answer it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import orjson
from anyio import to_thread
from starlette.responses import Response

from rinofs.protocol.extensions import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED
from rinofs.server.budgets import HELD, BodyMemory, FairQueue
from rinofs.server.catalog.database import Repeated, RequestKey, WouldWait
from rinofs.server.catalog.objects import stored_elsewhere
from rinofs.server.errors import BadRequest, Forbidden, Unauthorized
from rinofs.server.web.bodies import in_time, read_fields
from rinofs.server.web.responses import SENDER, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from starlette.requests import Request

    from rinofs.server.blobs.store import Blob
    from rinofs.server.catalog.accounts import StoredToken
    from rinofs.server.catalog.records import Record, User
    from rinofs.server.services import Services

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = [
    "Call",
    "Workers",
    "address_of",
    "authorized",
    "known_contents",
    "presented_token",
    "release",
    "run_in_thread",
    "signed_in",
]

_KEY = re.compile(r'(")?([\x21\x23-\x7e]{1,255})(?(1)")')  # quoted, as the draft standard has it, or bare

SHALLOW = 16
"""Length of the paths that are followed while other requests wait: a lookup for every name."""

FEW = 64
"""Names in all the paths that are followed while other requests wait; what paths share is looked up once."""


class Workers:
    """The threads that work for users.

    They are fewer than there are in all, so that contents, logins and single lookups always find some.

    Attributes
    ----------
    changes : FairQueue
        For what takes a moment each.
    searches : FairQueue
        For what looks at many objects, and may keep a processor busy for as long as it runs.
    documents : FairQueue
        For what reads the document of a datapack.
    memory : BodyMemory
        How much of their bodies is in memory.

    Parameters
    ----------
    most : int
        Bytes of bodies that may be.
    """

    def __init__(self, most: int) -> None:
        self.memory = BodyMemory(most, most // 4)
        self.changes = FairQueue[int](24, 12)
        self.searches = FairQueue[int](4, 2)
        self.documents = FairQueue[int](2, 1)
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def lock(self, number: int) -> asyncio.Lock:
        """Return the lock of an object, for changes of its content that read it first."""
        return self._locks.setdefault(number, asyncio.Lock())


@dataclass(frozen=True, slots=True)
class Call:
    """A request of a signed-in user.

    Attributes
    ----------
    request : Request
        The request.
    token : StoredToken
        What it was sent with.
    services : Services
        What the server works with.
    workers : Workers
        The threads that work for users.
    """

    request: Request
    token: StoredToken
    services: Services
    workers: Workers

    @property
    def user(self) -> User:
        """Who sent it."""
        return self.token.user

    @property
    def address(self) -> str:
        """Where it came from."""
        return address_of(self.request)

    @property
    def extended(self) -> bool:
        """Whether the extensions of this server are offered."""
        return self.services.settings.extensions

    def to_json(self, record: Record, *, truncated: bool = False) -> dict[str, object]:
        """Return an object as the user sees it."""
        return record.to_json(self.user, digests=self.extended, truncated=truncated)

    def respond(self, record: Record, status: int = 200) -> Response:
        """Answer with an object."""
        return json_response(self.to_json(record), status)

    async def fields(self, *, text_fields: Collection[str] = ()) -> dict[str, object]:
        """Read the body, in one of the user's worker threads where that takes long; see `read_fields`."""
        return await read_fields(self.request, text_fields=text_fields, run=self.work)

    async def checked(self, check: Callable[[], T]) -> T:
        """Check what a body says, in one of the user's worker threads, within the time for that."""
        return await self.work(partial(in_time, self.services.settings, check))

    async def run_in_thread(
        self,
        method: Callable[Concatenate[User, P], T],
        /,
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a method of the store in the name of the user, in a worker thread."""
        return await self.work(partial(method, self.user, *arguments, **options))

    async def search_in_thread(
        self,
        method: Callable[Concatenate[User, P], T],
        /,
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a method of the store as `run_in_thread` does, one that looks at many objects."""
        work = partial(method, self.user, *arguments, **options)
        return await self.workers.searches.run(self.user.id, work)

    async def work(self, work: Callable[[], T]) -> T:
        """Call something that blocks in one of the user's worker threads."""
        return await self.workers.changes.run(self.user.id, work)

    async def once(
        self,
        said: object,
        change: Callable[[User, RequestKey | None], T],
        render: Callable[[T], Response],
        load: Callable[[Repeated], T],
    ) -> Response:
        """Make a change, unless a request with the same key made it before, and answer with what came of it.

        A request without a key is always carried out, and so is one whose first try failed: it left nothing.

        Parameters
        ----------
        said : object
            All that the request says, for `orjson`; one of the same key that says something else is refused.
        change : callable
            Makes the change, in a worker thread.
        render : callable
            Makes the answer, after the commit.
        load : callable
            Returns what `change` returned when it was carried out, from what was kept of that.

        Raises
        ------
        BadRequest
            If the key cannot be one.
        Unprocessable
            If the key was used for another request.
        """
        key = self._key(said)
        try:
            return render(await self.run_in_thread(change, key))
        except Repeated as repeated:
            answer = _former_answer(repeated.outcome) or render(load(repeated))
        answer.headers[IDEMPOTENCY_REPLAYED] = "true"
        return answer

    def _key(self, said: object) -> RequestKey | None:
        """Return what the request is known by when it is sent again; None where it has no key."""
        header = self.request.headers.get(IDEMPOTENCY_KEY) if self.extended else None
        if header is None:
            return None
        match = _KEY.fullmatch(header)
        if match is None:
            raise BadRequest(f"{IDEMPOTENCY_KEY}: 1 to 255 printable ASCII characters are allowed")
        whole = orjson.dumps([self.request.url.path, said], option=orjson.OPT_SORT_KEYS)
        return RequestKey(match.group(2), hashlib.sha256(whole).hexdigest())

    async def find(self, where: int | Sequence[str]) -> Record:
        """Return an object by its id or path, without a worker thread where none is needed.

        Raises
        ------
        NotFound
            If there is none.
        """
        store = self.services.store
        if isinstance(where, int) or len(where) <= SHALLOW:
            with suppress(WouldWait):
                return store.get(self.user, where, at_once=True)
        return await self.run_in_thread(store.get, where)

    async def find_many(self, paths: Sequence[Sequence[str]]) -> list[Record | None]:
        """Return objects by their paths, None where there is none, as `find` does for one."""
        store = self.services.store
        if sum(map(len, paths)) <= FEW:
            with suppress(WouldWait):
                return store.locate_many(self.user, paths, at_once=True)
        return await self.run_in_thread(store.locate_many, paths)


@contextmanager
def known_contents(services: Services, contents: Sequence[Blob]) -> Iterator[list[Blob]]:
    """Use what is stored of some contents already, under whatever key, where it is whole.

    Parameters
    ----------
    services : Services
        What the server works with.
    contents : sequence of Blob
        What an upload has stored, and keeps.

    Yields
    ------
    list of Blob
        The same contents, to be referred to before the context is left.
    """
    with services.database.read() as connection:
        elsewhere = stored_elsewhere(connection, contents)
    with ExitStack() as kept:
        found: list[Blob] = []
        for blob in contents:
            key, size = elsewhere.get(blob.blake3, (None, 0))
            if key is None:
                found.append(blob)
            elif kept.enter_context(services.blobs.keep(key, size)):
                found.append(replace(blob, known_key=key))
            else:
                found.append(replace(blob, lost_key=key))
        yield found
    if any(blob.sha256 is None for blob in contents):
        services.without_sha256.set()


async def run_in_thread(work: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """Call something that blocks in a worker thread."""
    return await to_thread.run_sync(partial(work, *arguments, **options))


def _former_answer(outcome: Any) -> Response | None:
    """Return the answer that an earlier version of the server kept in place of an outcome, if it is one."""
    if isinstance(outcome, dict) and outcome.keys() == {"status", "body"}:
        return Response(outcome["body"], outcome["status"], media_type="application/json")
    return None


def presented_token(request: Request) -> str:
    """Return the token that a request was sent with.

    Raises
    ------
    Unauthorized
        If there is none.
    """
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() not in {"token", "bearer"} or not token.strip():
        raise Unauthorized("a token is needed: Authorization: Token <token>")
    return token.strip()


def address_of(request: Request) -> str:
    """Return the address that a request came from."""
    return request.client.host if request.client else ""


async def authorized(
    services: Services, workers: Workers, request: Request, *, changes: bool, granted: bool = False
) -> Call:
    """Return the call that a request is, if its token is good for that.

    Parameters
    ----------
    services : Services
        What the server works with.
    workers : Workers
        The threads that work for users.
    request : Request
        The request.
    changes : bool
        Whether it changes anything.
    granted : bool
        Whether tokens that programs were granted are good for it.

    Raises
    ------
    Unauthorized
        If its token is not good, or there is none.
    Forbidden
        If the token only reads.
    """
    presented = presented_token(request)
    token = services.accounts.remembered.get(presented)
    if token is None:
        token = await run_in_thread(services.accounts.authenticate, presented, granted=granted)
    request.scope.get(SENDER, []).append(token.user.username)
    request.scope[HELD] = workers.memory.held_by(token.user.id)
    if changes and token.read_only:
        raise Forbidden("this token only reads; use one without the scope `read`")
    return Call(request, token, services, workers)


def release(request: Request) -> None:
    """Let go of the memory that a request was counted for."""
    if HELD in request.scope:
        request.scope[HELD].release()


def signed_in(
    services: Services,
    workers: Workers,
    handle: Callable[[Call], Awaitable[Response]],
    *,
    changes: bool = True,
) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of a handler: one that answers only users who are signed in.

    Parameters
    ----------
    services : Services
        What the server works with.
    workers : Workers
        The threads that work for users.
    handle : callable
        The handler.
    changes : bool
        Whether it changes anything, which needs a token that may.
    """

    async def endpoint(request: Request) -> Response:
        try:
            return await handle(await authorized(services, workers, request, changes=changes))
        finally:
            release(request)

    return endpoint
