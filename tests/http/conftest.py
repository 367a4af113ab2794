"""Sessions and contents for the tests of the HTTP layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from rinofs.http.connection.limits import Limits
from rinofs.http.content.content import Content
from rinofs.http.session.session import HttpSession
from rinofs.http.session.shared import StaticAuth
from tests.http.faulty import DATA, ETAG, FaultyServer

TOKEN = "canary-5e1f0c77a9"

MakeSession = Callable[..., HttpSession]


def patient(silence: float = 60.0) -> Limits:
    """Return limits that a busy machine keeps: every attempt is made, however long all of them take."""
    return Limits(connect=60.0, silence=silence, total=240.0, pause=0.01)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def session_to() -> Iterator[MakeSession]:
    made: list[HttpSession] = []

    def make(
        server: FaultyServer, timeout: float = 10.0, *, limits: Limits | None = None, **options: object
    ) -> HttpSession:
        session = HttpSession(
            server.url,
            StaticAuth("Token", TOKEN),
            timeout=timeout,
            headers={"X-Requested-With": "XMLHttpRequest"},
            **options,  # type: ignore[arg-type]
        )
        if limits is not None:
            session.limits = session._shared.limits = limits
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()


@pytest.fixture
def content() -> Content:
    return content_of()


def content_of(**changes: object) -> Content:
    known: dict[str, object] = {"size": len(DATA), "etag": ETAG, "conditional": True}
    return Content("/content", (("id", "7"),), "rino://exp1/a.csv", **(known | changes))  # type: ignore[arg-type]
