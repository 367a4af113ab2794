"""The authorization page of OAuth2: users sign in, and allow or deny a program access."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from anyio import to_thread
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2 import OAuth2Error
from oauthlib.oauth2.rfc6749.errors import AccessDeniedError, FatalClientError
from starlette.responses import Response

from rinofs.server.auth.oauth import read_form
from rinofs.server.auth.pages import page, root_path
from rinofs.server.auth.redirect_uris import policy_source
from rinofs.server.auth.sessions import LIFETIME, SignedOutError
from rinofs.server.errors import ApiError, TooManyRequests, Unauthorized, Unavailable

if TYPE_CHECKING:
    from starlette.requests import Request

    from rinofs.server.auth.accounts import Accounts
    from rinofs.server.auth.clients import Client
    from rinofs.server.auth.oauth import Provider
    from rinofs.server.auth.sessions import Sessions
    from rinofs.server.catalog.records import User

__all__ = ["AuthorizePage"]

COOKIE = "rinofs_session"
PATH = "/oauth/authorize"

_SIGNED_OUT = "You were signed out meanwhile. Nothing has been done."
_STALE = "This form was open for too long, or was already sent. Please try again."


@dataclass(frozen=True, slots=True)
class _Asked:
    """A valid authorization request of a program."""

    uri: str
    client: Client
    redirect_uri: str
    state: str | None
    scopes: list[str]


@dataclass(frozen=True, slots=True)
class _Told:
    """What a page shows in addition to its form."""

    status: int = 200
    problem: str = ""
    username: str = ""
    headers: dict[str, str] = field(default_factory=dict)


_NOTHING = _Told()


class _RefusedPageError(Exception):
    """The request is refused, with a page that says why."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


class AuthorizePage:
    """The authorization endpoint, ``/oauth/authorize``.

    Parameters
    ----------
    accounts : Accounts
        Users.
    sessions : Sessions
        Browser sessions.
    provider : Provider
        The rules of the flow.
    """

    def __init__(self, accounts: Accounts, sessions: Sessions, provider: Provider) -> None:
        self._accounts = accounts
        self._provider = provider
        self._sessions = sessions

    async def endpoint(self, request: Request) -> Response:
        """Respond to a request for the page, or to its form."""
        try:
            asked = await to_thread.run_sync(self._asked, request)
            if request.method == "POST":
                return await self._sent(request, asked)
            return await to_thread.run_sync(self._shown, request, asked)
        except _RefusedPageError as refusal:
            return refusal.answer

    def _asked(self, request: Request) -> _Asked:
        uri = f"http://localhost{PATH}?{request.url.query}"
        try:
            scopes, found = self._provider.validate_authorization_request(uri)
        except FatalClientError as error:
            # The redirect URI may not belong to the program, so the user is not sent there.
            _refuse(error.description or error.error or "The request is not valid.")
        except OAuth2Error as error:
            told = add_params_to_uri(error.redirect_uri, error.twotuples)
            raise _RefusedPageError(_redirect(told)) from error
        except ValueError:
            _refuse("The address contains characters that are not allowed.")
        return _Asked(uri, found["request"].client, found["redirect_uri"], found["state"], scopes)

    def _shown(self, request: Request, asked: _Asked, told: _Told = _NOTHING) -> Response:
        session = request.cookies.get(COOKIE, "")
        user = self._sessions.user(session)
        session = session or secrets.token_urlsafe(32)
        answer = self._page(asked, session, user, told)
        answer.headers.update(told.headers)
        return _with_session(request, answer, session)

    def _page(self, asked: _Asked, session: str, user: User | None, told: _Told) -> Response:
        name = "login" if user is None else "consent"
        return page(
            name,
            told.status,
            leads_to=policy_source(asked.redirect_uri),
            form_token=self._sessions.form_token(session, f"{name} {asked.uri}"),
            client=asked.client.name,
            place=_place(asked.redirect_uri),
            username=told.username if user is None else user.username,
            problem=told.problem,
        )

    async def _sent(self, request: Request, asked: _Asked) -> Response:
        fields = await _form(request)
        _refuse_foreign(request)
        session = request.cookies.get(COOKIE, "")
        user, good = await to_thread.run_sync(self._check_form, asked, session, fields.get("form_token", ""))
        if not session or not good:
            return await to_thread.run_sync(self._shown, request, asked, _Told(403, _STALE))
        if user is None:
            return await self._log_in(request, asked, fields)
        return await self._decide(request, asked, session, user, fields.get("decision"))

    def _check_form(self, asked: _Asked, session: str, token: str) -> tuple[User | None, bool]:
        user = self._sessions.user(session)
        name = "login" if user is None else "consent"
        return user, bool(session) and self._sessions.is_good(token, session, f"{name} {asked.uri}")

    async def _log_in(self, request: Request, asked: _Asked, fields: dict[str, str]) -> Response:
        username, password = fields.get("username", ""), fields.get("password", "")
        address = request.client.host if request.client else ""
        try:
            session = await self._accounts.in_turn(address, self._signed_in, username, password, address)
        except Unauthorized:
            told = _Told(403, "The username or the password is wrong.", username)
        except TooManyRequests as error:
            wait = error.headers["Retry-After"]
            problem = f"There were too many wrong passwords. Please wait {wait} seconds and try again."
            told = _Told(429, problem, username, dict(error.headers))
        except Unavailable as error:
            problem = "The server is busy. Please wait a moment and try again."
            told = _Told(503, problem, username, dict(error.headers))
        else:
            # A new cookie prevents session fixation: the former one may be known to somebody else.
            return _with_session(request, _here(request), session)
        return await to_thread.run_sync(self._shown, request, asked, told)

    def _signed_in(self, username: str, password: str, address: str) -> str:
        begin = partial(self._sessions.sign_in, source=address)
        return self._accounts.with_password(username, password, address, begin)

    async def _decide(
        self, request: Request, asked: _Asked, session: str, user: User, decision: str | None
    ) -> Response:
        if decision == "allow":
            try:
                return _redirect(await to_thread.run_sync(self._allow, asked, session, user))
            except SignedOutError:
                return await to_thread.run_sync(self._shown, request, asked, _Told(403, _SIGNED_OUT))
        if decision == "leave":
            await to_thread.run_sync(self._sessions.sign_out, session)
            return _here(request)
        denied = AccessDeniedError(state=asked.state)
        return _redirect(denied.in_uri(asked.redirect_uri))

    def _allow(self, asked: _Asked, session: str, user: User) -> str:
        consent = partial(self._sessions.hold, session=session, user=user)
        headers, _, _ = self._provider.create_authorization_response(
            asked.uri, scopes=asked.scopes, credentials={"user": user, "check_consent": consent}
        )
        location: str = headers["Location"]
        return location


def _refuse(problem: str) -> NoReturn:
    raise _RefusedPageError(page("refused", 400, problem=problem))


async def _form(request: Request) -> dict[str, str]:
    try:
        return await read_form(request)
    except ApiError as error:
        answer = page("refused", error.status, problem=f"The form could not be read: {error.message}.")
        raise _RefusedPageError(answer) from error


def _refuse_foreign(request: Request) -> None:
    """Refuse a form sent from another site, if the browser reports that."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if not (origin is None or _same_host(origin, request.headers["host"])) or site not in {
        "same-origin",
        "none",
    }:
        problem = "This form was sent by another site. Nothing has been done."
        raise _RefusedPageError(page("refused", 403, problem=problem))


def _same_host(origin: str, host: str) -> bool:
    """Return whether an origin has the host of the request.

    Schemes are not compared, and ports only if both have one: a proxy in front may change them.
    """
    try:
        one, other = urlsplit(origin), urlsplit(f"//{host}")
        ports = {one.port, other.port} - {None}
    except ValueError:
        return False
    return one.hostname == other.hostname and len(ports) < 2


def _place(redirect_uri: str) -> str:
    parts = urlsplit(redirect_uri)
    return parts.netloc or f"{parts.scheme}:"


def _here(request: Request) -> Response:
    return _redirect(f"{root_path(request.scope)}{PATH}?{request.url.query}")


def _redirect(location: str) -> Response:
    # 303: browsers do not send the form again (RFC 9700, section 4.12).
    headers = {"location": location, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    return Response(status_code=303, headers=headers)


def _with_session(request: Request, answer: Response, session: str) -> Response:
    answer.set_cookie(
        COOKIE,
        session,
        max_age=LIFETIME,
        path=f"{root_path(request.scope)}/oauth",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer
