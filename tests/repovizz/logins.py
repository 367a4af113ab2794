"""Stored logins to a live server, and a browser that follows where it is sent."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import requests

from rinofs.profiles import Profile, ProfileStore
from tests.server.browsing import Browser, Program

if TYPE_CHECKING:
    from rinofs.testing import LiveServer


def registered(server: LiveServer, redirect_uri: str, *, public: bool = False) -> tuple[str, str | None]:
    return server.add_client("Notebook", redirect_uri, public=public)


class Visitor:
    """A user with a browser: opens the page that is shown, allows, and goes where the page leads."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.browser = Browser()

    def where_allowed(self, url: str) -> str:
        """Return the address that the user is sent to."""
        page = self.browser.get(url)
        if "password" in page.text:
            page = self.browser.log_in(url, self.server.username, self.server.password)
        answer = self.browser.send(page, decision="allow")
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def refuse(self, url: str) -> str:
        page = self.browser.get(url)
        if "password" in page.text:
            page = self.browser.log_in(url, self.server.username, self.server.password)
        return str(self.browser.send(page, decision="deny").headers["location"])

    def follow(self, url: str) -> requests.Response:
        """Allow, and come back to the program."""
        return requests.get(self.where_allowed(url), timeout=30)

    def opens(self, url: str) -> bool:
        """Do as `webbrowser.open` does: in the background."""
        threading.Thread(target=self.follow, args=(url,), daemon=True).start()
        return True


def stored_login(server: LiveServer, *, name: str = "default", public: bool = False) -> Profile:
    """Log in and keep the tokens."""
    program = Program.register(server, public=public)
    granted = program.token(code=Browser().allow(program)["code"]).json()
    profile = Profile(
        "repovizz",
        name,
        server.endpoint_url,
        server.username,
        granted["access_token"],
        granted["refresh_token"],
        time.time() + granted["expires_in"],
        program.client_id,
        program.secret,
    )
    ProfileStore().save(profile)
    return profile


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))
