"""Errors that a proxy answers in place of the service: named as the proxy's, and repeated with care."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs.errors import OutcomeUnknownError, TooLargeError, UnavailableError
from rinofs.http.session.status import error_for
from tests.http.conftest import MakeSession, patient
from tests.http.faulty import faulty_server

if TYPE_CHECKING:
    from tests.http.faulty import Request, Step

PAGE = (
    b"<html>\r\n<head><title>%d Whatever</title></head>\r\n<hr><center>nginx/1.22.1</center>\r\n</html>\r\n"
)


def page_of(server: str, status: int, body: bytes | None = None, **headers: str) -> Step:
    """Answer as a proxy does, once."""
    content = PAGE % status if body is None else body

    def step(request: Request) -> None:
        request.answer(status, content, Content_Type="text/html" if content else "", Server=server, **headers)

    return step


@pytest.mark.parametrize(
    ("server", "name", "advice"),
    [
        ("nginx/1.22.1", "nginx", "client_max_body_size"),
        ("nginx", "nginx", "client_max_body_size"),
        ("Caddy", "Caddy", "request_body"),
        ("awselb/2.0", "awselb", "size of requests"),
        ("Apache/2.4.62 (Debian)", "Apache", "size of requests"),
    ],
)
def test_too_large_for_a_proxy(session_to: MakeSession, server: str, name: str, advice: str) -> None:
    with faulty_server(page_of(server, 413)) as service, pytest.raises(TooLargeError) as raised:
        session_to(service, limits=patient()).request(
            "POST", "/x", data={"n": "1"}, repeatable=True, label="rino://a"
        )
    message = str(raised.value)
    assert "rino://a" in message
    assert f"a proxy ({name}) refused the request as too large (413)" in message
    assert advice in message
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("body", [None, b""])
def test_what_may_be_repeated_is(session_to: MakeSession, status: int, body: bytes | None) -> None:
    with faulty_server(*[page_of("nginx/1.22.1", status, body)] * 2) as service:
        answer = session_to(service, limits=patient()).request("POST", "/x", data={"n": "1"}, repeatable=True)
    assert answer.status == 200
    assert len(service.requests) == 3


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("body", [None, b""])
def test_a_change_that_the_service_may_have_made_is_not(
    session_to: MakeSession, status: int, body: bytes | None
) -> None:
    with (
        faulty_server(page_of("nginx", status, body)) as service,
        pytest.raises(OutcomeUnknownError) as raised,
    ):
        session_to(service, limits=patient()).request(
            "POST", "/x", data={"n": "1"}, repeatable=False, label="rino://a"
        )
    assert "a proxy (nginx) " in str(raised.value)
    assert len(service.requests) == 1


def test_a_page_that_asks_to_wait_is_heeded(session_to: MakeSession) -> None:
    with faulty_server(page_of("nginx", 503, Retry_After="3600")) as service:
        session = session_to(service)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                session.request("GET", "/x", repeatable=True)
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [413, 502, 503, 504])
@pytest.mark.parametrize(
    ("headers", "content"),
    [
        # Proxies put their name on what the service says, too.
        ({"server": "nginx", "content-type": "application/json"}, b'{"error": "words"}'),
        ({"via": "1.1 Caddy"}, b'{"error": "words"}'),
        ({}, b""),
        ({"server": "own-words/1"}, b""),
        ({"server": "\x1b[31m"}, PAGE),
    ],
)
def test_the_services_own_errors_stay_its_own(status: int, headers: dict[str, str], content: bytes) -> None:
    error = error_for(status, headers, content, label="rino://a")
    assert "a proxy" not in str(error)
    assert ("words" in str(error)) == (b"words" in content)


def test_the_nearest_proxy_is_named() -> None:
    error = error_for(
        502, {"via": "1.0 first, 1.1 varnish (x)", "content-type": "text/html"}, PAGE, label="x"
    )
    assert "a proxy (varnish) got no answer" in str(error)
