"""One request of a signed-in user, with all that it takes to answer it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from anyio import to_thread

from rinofs.server.catalog.inline_reader import WouldWait
from rinofs.server.errors import Unauthorized
from rinofs.server.web.responses import json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.catalog.idempotency import Answers
    from rinofs.server.catalog.records import Record, User
    from rinofs.server.services import Services

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["Call", "presented_token", "run_in_thread", "signed_in"]

SHALLOW = 16
"""Length of the paths that are followed while other requests wait: a lookup for every name."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request of a signed-in user.

    Attributes
    ----------
    request : Request
        The request.
    user : User
        Who sent it.
    services : Services
        What the server works with.
    answers : Answers
        What was answered to requests with an idempotency key.
    """

    request: Request
    user: User
    services: Services
    answers: Answers

    @property
    def extended(self) -> bool:
        """Whether the extensions of this server are offered."""
        return self.services.settings.extensions

    def to_json(self, record: Record, *, truncated: bool = False) -> dict[str, object]:
        """Return an object as the user sees it."""
        return record.to_json(self.user, sha256=self.extended, truncated=truncated)

    def respond(self, record: Record, status: int = 200) -> Response:
        """Answer with an object."""
        return json_response(self.to_json(record), status)

    async def run_in_thread(
        self,
        method: Callable[Concatenate[User, P], T],
        /,
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        """Call a method of the store in the name of the user, in a worker thread."""
        return await to_thread.run_sync(partial(method, self.user, *arguments, **options))

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


async def run_in_thread(work: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
    """Call something that blocks in a worker thread."""
    return await to_thread.run_sync(partial(work, *arguments, **options))


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


def signed_in(
    services: Services, answers: Answers, handle: Callable[[Call], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of a handler: one that answers only users who are signed in."""

    async def endpoint(request: Request) -> Response:
        token = presented_token(request)
        user = services.accounts.remembered(token)
        if user is None:
            user = await run_in_thread(services.accounts.authenticate, token)
        return await handle(Call(request, user, services, answers))

    return endpoint
