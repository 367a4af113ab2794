"""Logging in to repovizz2 with a browser."""

from __future__ import annotations

import html
import sys
import time
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from rinofs.credentials import digest_of
from rinofs.endpoints import same_endpoint
from rinofs.errors import AuthenticationError, CredentialsError, InvalidOptionError
from rinofs.http.session.session import HttpSession
from rinofs.http.session.shared import StaticAuth
from rinofs.profiles import DEFAULT_PROFILE, Profile, ProfileStore, check_profile_name
from rinofs.repovizz.client import Features, RepovizzClient
from rinofs.repovizz.login.listener import listening
from rinofs.repovizz.login.oauth import SHOW_TOKEN, OAuthClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.repovizz.login.oauth import Tokens

__all__ = ["ENDPOINT_URL", "PORT", "find_client", "log_in", "log_in_by_hand", "login", "store"]

ENDPOINT_URL = "https://repovizz2.upf.edu"
PORT = 50009
"""The port of the redirect that scripts are registered with."""


def find_client(
    endpoint_url: str, client_id: str | None, client_secret: str | None, profile: str
) -> OAuthClient:
    """Return the program to log in as: the given one, or that of the last login.

    Raises
    ------
    CredentialsError
        If there is none.
    """
    if client_id is None:
        stored = ProfileStore().load("repovizz", profile)
        if stored is None or stored.client_id is None or not same_endpoint(stored.endpoint_url, endpoint_url):
            raise CredentialsError(
                "missing OAuth client: give --client-id (and --client-secret, if it has one), as the page of "
                "your account shows them, or as `rinofs admin client add` made them",
                endpoint_url,
            )
        client_id, client_secret = stored.client_id, client_secret or stored.client_secret
    return OAuthClient(endpoint_url, client_id, client_secret)


def log_in(client: OAuthClient, show: Callable[[str], object], *, port: int, timeout: float) -> Tokens:
    """Have the user log in with a browser on this machine.

    Parameters
    ----------
    client : OAuthClient
        The program.
    show : callable
        Is given the URL that the user has to open.
    port : int
        Where to wait for the browser to come back.
    timeout : float
        Seconds to wait.

    Raises
    ------
    AuthenticationError
        If the user did not allow it.
    DeadlineError
        If nobody came in time.
    """
    with listening(port) as listener:
        asked = client.authorization(listener.redirect_uri)
        listener.expect(asked.state)
        show(asked.url)
        code = listener.wait(timeout)
    return client.exchange(code, asked)


def log_in_by_hand(client: OAuthClient, ask: Callable[[str], str]) -> Tokens:
    """Have the user log in with a browser anywhere, and bring the code.

    Parameters
    ----------
    client : OAuthClient
        The program.
    ask : callable
        Is given the URL that the user has to open, and returns the code that was shown then, or the address
        of the page that showed it.
    """
    asked = client.authorization(f"{client.endpoint_url}{SHOW_TOKEN}")
    told = ask(asked.url).strip()
    if "://" in told:
        query = parse_qs(urlsplit(told).query)
        if query.get("state", [asked.state]) != [asked.state]:
            raise AuthenticationError(
                "this address belongs to another login; log in again", client.endpoint_url
            )
        told = query.get("code", [""])[0]
    if not told:
        raise AuthenticationError("the address has no code; log in again", client.endpoint_url)
    return client.exchange(told, asked)


def store(client: OAuthClient, tokens: Tokens, profile: str) -> Profile:
    """Keep the tokens of a login, with the name of the user whose they are."""
    session = HttpSession(client.endpoint_url, StaticAuth("Bearer", tokens.access))
    account = RepovizzClient(session, Features()).account()
    stored = Profile(
        "repovizz",
        profile,
        client.endpoint_url,
        account.username or f"user {account.id}",
        tokens.access,
        tokens.refresh,
        None if tokens.expires_in is None else time.time() + tokens.expires_in,
        client.client_id,
        client.client_secret,
    )
    ProfileStore().save(stored)
    return stored


def login(
    service: str = "repovizz",
    *,
    endpoint_url: str = ENDPOINT_URL,
    client_id: str | None = None,
    client_secret: str | None = None,
    port: int = PORT,
    profile: str = DEFAULT_PROFILE,
    timeout: float = 300.0,
) -> str:
    """Log in from a notebook or a script: show a link, wait for the browser, and keep the tokens.

    Parameters
    ----------
    service : str
        ``repovizz``; to Rinocloud, log in with ``rinofs login rino``.
    endpoint_url : str
        The server.
    client_id, client_secret : str, optional
        The OAuth client; by default that of the last login to this server.
    port : int
        The port of the registered redirect, ``http://localhost:PORT``.
    profile : str
        The name to keep the tokens under.
    timeout : float
        Seconds to wait.

    Returns
    -------
    str
        The name of the user.

    Raises
    ------
    AuthenticationError
        If the user did not allow it.
    DeadlineError
        If nobody logged in in time.
    CredentialsError
        If there is no OAuth client, or the endpoint is neither https nor on this machine.
    """
    if service != "repovizz":
        raise InvalidOptionError(
            f"{service!r} does not support login in a browser; use `rinofs login {service}`"
        )
    check_profile_name(profile)
    client = find_client(endpoint_url, client_id, client_secret, profile)
    tokens = log_in(client, _show, port=port, timeout=timeout)
    return store(client, tokens, profile).username or digest_of(tokens.access)


def _show(url: str) -> None:
    """Show a link: in a notebook as one, else as text, and in a browser if there is one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or getattr(shell, "kernel", None) is None:  # IPython in a terminal shows no links
        print(f"Log in here: {url}", flush=True)  # noqa: T201 - this is what the function is for
        webbrowser.open(url)
        return
    link = f'<a href="{html.escape(url)}" target="_blank" rel="noopener">Log in to repovizz2</a>'
    ipython.display.display({"text/html": link, "text/plain": f"Log in here: {url}"}, raw=True)
