"""A request of a signed-in user, with everything needed to respond to it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import contextmanager, suppress
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
from rinofs.server.catalog.objects import stored_elsewhere, stored_under
from rinofs.server.errors import BadRequest, Forbidden, Unauthorized
from rinofs.server.web.bodies import in_time, read_fields
from rinofs.server.web.responses import SENDER, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from starlette.requests import Request

    from rinofs.server.blobs.store import Blob
    from rinofs.server.catalog.database import Database
    from rinofs.server.catalog.records import Record, User
    from rinofs.server.catalog.users.accounts import StoredToken
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

_KEY = re.compile(r'(")?([\x21\x23-\x7e]{1,255})(?(1)")')  # quoted, as in the draft standard, or bare

SHALLOW = 16
"""Maximum number of names in a path that is resolved in the event loop; each lookup delays other requests."""

FEW = 64
"""Maximum total of names in paths resolved in the event loop; shared parents are looked up once."""


class Workers:
    """The worker threads for users' requests.

    There are fewer of them than worker threads in total, so that contents, logins and single lookups always
    find a free one.

    Attributes
    ----------
    changes : FairQueue
        Queue for short work.
    searches : FairQueue
        Queue for work on many objects, which may keep a processor busy.
    documents : FairQueue
        Queue for work that parses the document of a datapack; see `Call.parse`.
    memory : BodyMemory
        Budget for request bodies in memory.

    Parameters
    ----------
    most : int
        Maximum total size of bodies in memory, in bytes.
    """

    def __init__(self, most: int) -> None:
        self.memory = BodyMemory(most, most // 4)
        self.changes = FairQueue[int](24, 12)
        self.searches = FairQueue[int](4, 2)
        self.documents = FairQueue[int](2, 1)
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def lock(self, number: int) -> asyncio.Lock:
        """Return the lock of an object, for changes that read its content first."""
        return self._locks.setdefault(number, asyncio.Lock())


@dataclass(frozen=True, slots=True)
class Call:
    """A request of a signed-in user.

    Attributes
    ----------
    request : Request
        The request.
    token : StoredToken
        Token of the request.
    services : Services
        Services of the server.
    workers : Workers
        Worker threads for users' requests.
    """

    request: Request
    token: StoredToken
    services: Services
    workers: Workers

    @property
    def user(self) -> User:
        """The user."""
        return self.token.user

    @property
    def address(self) -> str:
        """The address of the client."""
        return address_of(self.request)

    @property
    def extended(self) -> bool:
        """Whether the server offers its extensions."""
        return self.services.settings.extensions

    def to_json(self, record: Record, *, truncated: bool = False) -> dict[str, object]:
        """Return an object as the user sees it."""
        return record.to_json(self.user, digests=self.extended, truncated=truncated)

    def respond(self, record: Record, status: int = 200) -> Response:
        """Respond with an object."""
        return json_response(self.to_json(record), status)

    async def fields(self, *, text_fields: Collection[str] = ()) -> dict[str, object]:
        """Read the fields of the body, in a worker thread of the user if they are many; see `read_fields`."""
        return await read_fields(self.request, text_fields=text_fields, run=self.work)

    async def checked(self, check: Callable[[], T]) -> T:
        """Check a body in a worker thread of the user, within the time limit for parsing."""
        return await self.work(partial(in_time, self.services.settings, check))

    async def run_in_thread(
        self,
        method: Callable[Concatenate[User, P], T],
        /,
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a method of the store for the user, in a worker thread."""
        return await self.work(partial(method, self.user, *arguments, **options))

    async def search_in_thread(
        self,
        method: Callable[Concatenate[User, P], T],
        /,
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a method of the store as `run_in_thread` does, in the queue for work on many objects."""
        work = partial(method, self.user, *arguments, **options)
        return await self.workers.searches.run(self.user.id, work)

    async def work(self, work: Callable[[], T]) -> T:
        """Run blocking work in a worker thread of the user."""
        return await self.workers.changes.run(self.user.id, work)

    async def parse(self, work: Callable[[], T]) -> T:
        """Run blocking work that parses the document of a datapack, in the queue for such work.

        A parsed document is many times as large: only a few are parsed at a time, and one for each user.
        """
        return await self.workers.documents.run(self.user.id, work)

    async def once(
        self,
        said: object,
        change: Callable[[User, RequestKey | None], T],
        render: Callable[[T], Response],
        load: Callable[[Repeated], T],
        *,
        parses: bool = False,
    ) -> Response:
        """Make a change, unless a request with the same idempotency key did, and respond with the result.

        A request without a key is always carried out, and so is one whose first attempt failed, since that
        changed nothing.

        Parameters
        ----------
        said : object
            The whole request, serialisable by `orjson`. A different request with the same key is refused.
        change : callable
            Makes the change and returns the result; runs in a worker thread.
        render : callable
            Returns the response for the result, after the commit.
        load : callable
            Returns the result of `change` from its stored form.
        parses : bool
            Whether the change parses the document of a datapack; see `parse`.

        Raises
        ------
        BadRequest
            If the key is not valid.
        Unprocessable
            If the key was used for another request.
        """
        key = self._key(said)
        try:
            return render(await (self.parse if parses else self.work)(partial(change, self.user, key)))
        except Repeated as repeated:
            answer = _former_answer(repeated.outcome) or render(load(repeated))
        answer.headers[IDEMPOTENCY_REPLAYED] = "true"
        return answer

    def _key(self, said: object) -> RequestKey | None:
        """Return the idempotency key and a digest of the request, or None if it has no key."""
        header = self.request.headers.get(IDEMPOTENCY_KEY) if self.extended else None
        if header is None:
            return None
        match = _KEY.fullmatch(header)
        if match is None:
            raise BadRequest(f"{IDEMPOTENCY_KEY}: 1 to 255 printable ASCII characters are allowed")
        whole = orjson.dumps([self.request.url.path, said], option=orjson.OPT_SORT_KEYS)
        return RequestKey(match.group(2), hashlib.sha256(whole).hexdigest())

    async def find(self, where: int | Sequence[str]) -> Record:
        """Return an object by its id or path; short paths need no worker thread.

        Raises
        ------
        NotFound
            If there is no such object.
        """
        store = self.services.store
        if isinstance(where, int) or len(where) <= SHALLOW:
            with suppress(WouldWait):
                return store.get(self.user, where, at_once=True)
        return await self.run_in_thread(store.get, where)

    async def find_many(self, paths: Sequence[Sequence[str]]) -> list[Record | None]:
        """Return objects by their paths, as `find` does for one; None for paths without an object."""
        store = self.services.store
        if sum(map(len, paths)) <= FEW:
            with suppress(WouldWait):
                return store.locate_many(self.user, paths, at_once=True)
        return await self.run_in_thread(store.locate_many, paths)


@contextmanager
def known_contents(services: Services, contents: Sequence[Blob]) -> Iterator[list[Blob]]:
    """Find the rows of contents that the database knows under other keys, so that no content gets two.

    The rows get the new keys: what was stored earlier may be damaged.

    Parameters
    ----------
    services : Services
        Services of the server.
    contents : sequence of Blob
        Contents that an upload has stored and protects.

    Yields
    ------
    list of Blob
        The same contents. Refer to them in the database before the context ends.
    """
    elsewhere = _stored_elsewhere(services.database, contents)
    yield [replace(blob, former_key=elsewhere.get(blob.blake3)) for blob in contents]
    if any(blob.sha256 is None for blob in contents):
        services.without_sha256.set()


def _stored_elsewhere(database: Database, contents: Sequence[Blob]) -> dict[str, str]:
    if len(contents) != 1:
        with database.read() as connection:
            return stored_elsewhere(connection, contents)
    (content,) = contents
    try:
        with database.look() as reader:  # saves a quarter of the time of a small upload
            other = stored_under(reader, content)
    except WouldWait:
        with database.lookups() as reader:
            other = stored_under(reader, content)
    return {} if other is None else {content.blake3: other}


async def run_in_thread(work: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """Run blocking work in a worker thread."""
    return await to_thread.run_sync(partial(work, *arguments, **options))


def _former_answer(outcome: Any) -> Response | None:
    """Return the stored response of an earlier version of the server, which kept no results."""
    if isinstance(outcome, dict) and outcome.keys() == {"status", "body"}:
        return Response(outcome["body"], outcome["status"], media_type="application/json")
    return None


def presented_token(request: Request) -> str:
    """Return the token of a request.

    Raises
    ------
    Unauthorized
        If it has no token.
    """
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() not in {"token", "bearer"} or not token.strip():
        raise Unauthorized("a token is needed: Authorization: Token <token>")
    return token.strip()


def address_of(request: Request) -> str:
    """Return the client's address."""
    return request.client.host if request.client else ""


async def authorized(
    services: Services, workers: Workers, request: Request, *, changes: bool, granted: bool = False
) -> Call:
    """Authorize a request.

    Parameters
    ----------
    services : Services
        Services of the server.
    workers : Workers
        Worker threads for users' requests.
    request : Request
        The request.
    changes : bool
        Whether the request changes anything.
    granted : bool
        Whether to accept tokens that were issued to programs.

    Raises
    ------
    Unauthorized
        If the token is missing or invalid.
    Forbidden
        If the token is read-only.
    """
    presented = presented_token(request)
    token = services.accounts.tokens.remembered.get(presented)
    if token is None:
        token = await run_in_thread(services.accounts.tokens.authenticate, presented, granted=granted)
    request.scope.get(SENDER, []).append(token.user.username)
    request.scope[HELD] = workers.memory.held_by(token.user.id)
    if changes and token.read_only:
        raise Forbidden("this token only reads; use one without the scope `read`")
    return Call(request, token, services, workers)


def release(request: Request) -> None:
    """Release the memory that was counted for a request."""
    if HELD in request.scope:
        request.scope[HELD].release()


def signed_in(
    services: Services,
    workers: Workers,
    handle: Callable[[Call], Awaitable[Response]],
    *,
    changes: bool = True,
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that calls a handler for signed-in users only.

    Parameters
    ----------
    services : Services
        Services of the server.
    workers : Workers
        Worker threads for users' requests.
    handle : callable
        The handler.
    changes : bool
        Whether the handler changes anything, which read-only tokens may not.
    """

    async def endpoint(request: Request) -> Response:
        try:
            return await handle(await authorized(services, workers, request, changes=changes))
        finally:
            release(request)

    return endpoint
