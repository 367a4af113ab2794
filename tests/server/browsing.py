"""A program that asks for access, and a browser without a screen that looks at the pages."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

if TYPE_CHECKING:
    from rinofs.testing import LiveServer

REDIRECT = "http://localhost:50009"


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def query_of(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


@dataclass
class Program:
    """A registered program."""

    server: LiveServer
    client_id: str
    secret: str | None = None
    redirect_uri: str = REDIRECT
    state: str = field(default_factory=lambda: secrets.token_urlsafe(8))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @classmethod
    def register(cls, server: LiveServer, *, public: bool = False, redirect_uri: str = REDIRECT) -> Program:
        client_id, secret = server.add_client("Notebook", redirect_uri, public=public)
        return cls(server, client_id, secret, redirect_uri)

    def asks(self, **changes: str | None) -> dict[str, str]:
        """The parameters of an authorization request; None leaves one out."""
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "basic",
            "state": self.state,
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def url(self, **changes: str | None) -> str:
        return f"{self.server.endpoint_url}/oauth/authorize?{urlencode(self.asks(**changes))}"

    def token(self, **changes: str | None) -> requests.Response:
        """Send a request to the token endpoint; None leaves a field out."""
        sent: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "client_secret": self.secret,
            "code_verifier": self.verifier,
            **changes,
        }
        fields = {name: value for name, value in sent.items() if value is not None}
        return requests.post(f"{self.server.endpoint_url}/oauth/token", data=fields, timeout=60)

    def refresh(self, token: str, **changes: str | None) -> requests.Response:
        nothing = {"redirect_uri": None, "code_verifier": None}
        return self.token(**{"grant_type": "refresh_token", "refresh_token": token, **nothing, **changes})

    def revoke(self, token: str, **changes: str | None) -> requests.Response:
        sent = {"token": token, "client_id": self.client_id, "client_secret": self.secret, **changes}
        fields = {name: value for name, value in sent.items() if value is not None}
        return requests.post(f"{self.server.endpoint_url}/oauth/revoke", data=fields, timeout=30)

    def opens(self, token: str) -> bool:
        """Whether a token opens the repovizz2 API."""
        sent = {"authorization": f"Bearer {token}"}
        answer = requests.get(f"{self.server.endpoint_url}/api/v1.0/user", headers=sent, timeout=30)
        assert answer.status_code in {200, 401}
        return answer.status_code == 200


class Browser:
    """Keeps cookies, and sends forms as they are."""

    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, url: str, **options: Any) -> requests.Response:
        return self.session.get(url, allow_redirects=False, timeout=30, **options)

    def send(
        self, page: requests.Response, *, headers: dict[str, str] | None = None, **fields: str
    ) -> requests.Response:
        """Send the form of a page, with its hidden fields."""
        assert page.url is not None
        filled = {**hidden_fields(page), **fields}
        return self.session.post(page.url, data=filled, headers=headers, allow_redirects=False, timeout=30)

    def log_in(self, url: str, username: str, password: str) -> requests.Response:
        """Sign in, and return the page that follows."""
        answer = self.send(self.get(url), username=username, password=password)
        assert answer.status_code == 303, answer.text
        return self.get(url.partition("/oauth/")[0] + answer.headers["location"])

    def allow(self, program: Program, **changes: str | None) -> dict[str, str]:
        """Sign in where needed, allow, and return what the program is told."""
        page = self.get(program.url(**changes))
        if "password" in page.text:
            page = self.log_in(program.url(**changes), program.server.username, program.server.password)
        answer = self.send(page, decision="allow")
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"].startswith(program.redirect_uri)
        return query_of(answer.headers["location"])


def hidden_fields(page: requests.Response) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return {name: html.unescape(value) for name, value in found}
