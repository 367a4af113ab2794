"""Log in to repovizz2 with a browser."""

from __future__ import annotations

import html
import sys
import time
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from rinofs.credentials import digest_of
from rinofs.endpoints import check_endpoint, same_endpoint
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
"""Port of the redirect URI that is registered for scripts."""


def find_client(
    endpoint_url: str, client_id: str | None, client_secret: str | None, profile: str
) -> OAuthClient:
    """Return the OAuth client to log in with: the given one, or that of the last login.

    Raises
    ------
    CredentialsError
        If there is none.
    InvalidOptionError
        If the endpoint is not the URL of a server.
    """
    check_endpoint(endpoint_url)
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
    """Log the user in with a local browser.

    Parameters
    ----------
    client : OAuthClient
        OAuth client.
    show : callable
        Called with the URL that the user must open.
    port : int
        Port for the redirect.
    timeout : float
        Seconds to wait.

    Raises
    ------
    AuthenticationError
        If the user denied access.
    DeadlineError
        If no login arrived in time.
    """
    with listening(port) as listener:
        asked = client.authorization(listener.redirect_uri)
        listener.expect(asked.state)
        show(asked.url)
        code = listener.wait(timeout)
    return client.exchange(code, asked)


def log_in_by_hand(client: OAuthClient, ask: Callable[[str], str]) -> Tokens:
    """Log the user in with a browser on another machine; the user copies the code.

    Parameters
    ----------
    client : OAuthClient
        OAuth client.
    ask : callable
        Called with the URL that the user must open; returns the code that the page shows, or the URL of that
        page.
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
    """Store the tokens of a login with the user's name."""
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
    """Log in from a notebook or a script: show a link, wait for the browser, and store the tokens.

    Parameters
    ----------
    service : str
        ``repovizz``; for Rinocloud, use ``rinofs login rino``.
    endpoint_url : str
        URL of the server.
    client_id, client_secret : str, optional
        OAuth client; by default that of the last login to this server.
    port : int
        Port of the registered redirect URI, ``http://localhost:PORT``.
    profile : str
        Name of the profile to store the tokens in.
    timeout : float
        Seconds to wait for the login.

    Returns
    -------
    str
        Name of the user.

    Raises
    ------
    AuthenticationError
        If the user denied access.
    DeadlineError
        If no login arrived in time.
    CredentialsError
        If there is no OAuth client, or the endpoint is neither https nor local.
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
    """Show a link: as HTML in a notebook, else as text, and open it in a browser if there is one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or getattr(shell, "kernel", None) is None:  # IPython in a terminal shows no HTML
        print(f"Log in here: {url}", flush=True)  # noqa: T201 - this is what the function is for
        webbrowser.open(url)
        return
    link = f'<a href="{html.escape(url)}" target="_blank" rel="noopener">Log in to repovizz2</a>'
    ipython.display.display({"text/html": link, "text/plain": f"Log in here: {url}"}, raw=True)
