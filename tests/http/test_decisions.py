"""Decisions that need no network: what is sent again, what a status means, what JSON is taken."""

from __future__ import annotations

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rinofs import errors
from rinofs.http.connection.limits import FailureKind, Limits
from rinofs.http.connection.response import Response, parse_json
from rinofs.http.content.byteranges import ContentRange, parse_content_range, range_header
from rinofs.http.session.redirects import origin, redirect_target
from rinofs.http.session.retry import (
    MAX_TRIES,
    Failure,
    fault_of_status,
    is_ambiguous,
    may_repeat,
    next_pause,
    pause_after,
    retry_after,
)
from rinofs.http.session.status import error_for, raise_for_status, service_message

LIMITS = Limits.for_timeout(30.0)


@pytest.mark.parametrize("fault", FailureKind)
def test_nothing_is_repeated_that_may_have_been_done(fault: FailureKind) -> None:
    if is_ambiguous(fault):
        assert not may_repeat(fault, repeatable=False)
    assert may_repeat(fault, repeatable=True) == (fault is not FailureKind.UNTRUSTED)


@given(st.integers(100, 599))
def test_every_status_has_a_meaning(status: int) -> None:
    fault = fault_of_status(status)
    assert fault in {None, FailureKind.BUSY, FailureKind.CRASHED}
    assert (fault is FailureKind.CRASHED) <= (status >= 500)
    error = error_for(status, {}, b'{"error": "why"}', label="rino://a")
    assert isinstance(error, OSError)
    assert error.filename == "rino://a"
    if status >= 400:
        assert isinstance(error, errors.ServiceError)
        assert error.status == status
        assert "why" in str(error)
    if fault is not None:
        assert isinstance(error, errors.UnavailableError)


@pytest.mark.parametrize(
    ("status", "builtin"),
    [
        (400, ValueError),
        (401, PermissionError),
        (403, PermissionError),
        (404, FileNotFoundError),
        (409, FileExistsError),
        (422, ValueError),
    ],
)
def test_errors_are_builtin_ones_too(status: int, builtin: type[Exception]) -> None:
    assert isinstance(error_for(status, {}, b"", label="x"), builtin)


def test_a_web_servers_own_404_is_not_absence() -> None:
    """A wrong endpoint must not look like an empty one."""
    page = {"content-type": "text/html"}
    assert isinstance(error_for(404, page, b"<html>", label="x"), errors.ProtocolError)
    assert isinstance(error_for(403, page, b"<html>", label="x"), errors.NotAllowedError)
    assert "<html>" not in str(error_for(502, page, b"<html>", label="x"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": "no room"}', "no room"),
        (b'{"detail": "Invalid token."}', "Invalid token."),
        (b'{"error": "invalid_grant", "error_description": "wrong password"}', "wrong password"),
        (b'{"error": {"name": ["too long"]}}', "{'name': ['too long']}"),
        (b'{"name": ["too long"]}', "{'name': ['too long']}"),
        (b'["a"]', "['a']"),
        (b"plain\ntext", "plain text"),
        (b'"quoted"', "quoted"),
        (b"", ""),
        (b"{}", ""),
        (b"null", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_what_the_service_says(content: bytes, message: str) -> None:
    assert service_message(content) == message


def test_long_messages_are_cut() -> None:
    assert len(service_message(b'{"error": "' + b"x" * 9999 + b'"}')) == 200


def test_raise_for_status() -> None:
    raise_for_status(Response(201, {}, b"", "u"), "x")
    with pytest.raises(errors.ConflictError):
        raise_for_status(Response(409, {}, b"", "u"), "x")


def test_pauses_grow_and_are_bounded() -> None:
    assert all(pause_after(1, LIMITS) <= 0.1 for _ in range(100))
    assert all(0.2 <= pause_after(4, LIMITS) <= 0.8 for _ in range(100))
    assert all(pause_after(50, LIMITS) <= 10 for _ in range(100))


def test_attempts_end() -> None:
    def pause(
        fault: FailureKind, failures: int, *, asked: float | None = None, repeatable: bool = True
    ) -> float | None:
        failure = Failure(fault, errors.UnavailableError("x", "y"), "y", asked)
        return next_pause(failure, failures, LIMITS, LIMITS.total, repeatable=repeatable)

    found = [pause(FailureKind.LOST, count) is None for count in range(1, MAX_TRIES + 1)]
    assert found == [False] * (MAX_TRIES - 1) + [True]
    assert pause(FailureKind.BUSY, 1, asked=119) == 119
    assert pause(FailureKind.BUSY, 1, asked=121) is None
    assert pause(FailureKind.LOST, 1, repeatable=False) is None


def test_retry_after() -> None:
    def date(seconds: float) -> str:
        return email.utils.formatdate(seconds, usegmt=True)

    now = time.time()
    assert retry_after({}) is None
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "86400"}) == 60
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "-5"}) is None
    assert retry_after({"retry-after": "\N{ARABIC-INDIC DIGIT SEVEN}"}) is None
    assert retry_after({"retry-after": date(1e9 + 7), "date": date(1e9)}) == 7
    assert retry_after({"retry-after": date(1e9), "date": date(1e9 + 7)}) == 0
    assert 20 < (retry_after({"retry-after": date(now + 30)}) or 0) <= 31
    assert retry_after({"retry-after": date(1e9 + 7), "date": "yesterday"}) == 0


@given(st.text(max_size=60))
def test_retry_after_takes_anything(text: str) -> None:
    wait = retry_after({"retry-after": text, "date": text})
    assert wait is None or 0 <= wait <= 60


@given(st.text(max_size=40) | st.from_regex(r"bytes \d{1,20}-\d{1,20}/(\d{1,20}|\*)"))
def test_content_ranges_make_sense_or_are_none(text: str) -> None:
    part = parse_content_range(text)
    if part is not None and part.start is not None:
        assert part.stop is not None
        assert 0 <= part.start < part.stop <= (part.total or part.stop)


def test_ranges() -> None:
    assert parse_content_range("bytes 0-9/20") == ContentRange(0, 10, 20)
    assert parse_content_range("bytes 0-9/*") == ContentRange(0, 10, None)
    assert parse_content_range("bytes */20") == ContentRange(None, None, 20)
    assert parse_content_range(None) is None
    assert range_header(0, 10) == "bytes=0-9"
    assert range_header(5, None) == "bytes=5-"
    assert range_header(-5, None) == "bytes=-5"


def test_origins() -> None:
    assert origin("http://Example.org/a") == origin("http://example.org:80/b")
    assert origin("https://example.org") != origin("http://example.org")
    assert origin("http://example.org:81") != origin("http://example.org")


@pytest.mark.parametrize(
    ("method", "url", "status", "location", "target"),
    [
        ("GET", "https://a/x/y", 302, "../z?q#frag", "https://a/z?q"),
        ("HEAD", "https://a/x", 301, "https://b/", "https://b/"),
        ("GET", "http://a/x", 308, "https://a/x", "https://a/x"),
        ("POST", "http://a/x", 308, "/y", "http://a/y"),
        ("GET", "https://a/x", 302, "http://a/x", None),
        ("GET", "https://a/x", 302, "file:///etc/passwd", None),
        ("GET", "https://a/x", 302, "https://a:99999/", None),
        ("POST", "http://a/x", 301, "/y", None),
        ("POST", "http://a/x", 307, "https://a/x", None),
    ],
)
def test_redirects(method: str, url: str, status: int, location: str, target: str | None) -> None:
    if target is None:
        with pytest.raises(errors.ProtocolError):
            redirect_target(method, url, status, location, label="x")
    else:
        assert redirect_target(method, url, status, location, label="x") == target


@pytest.mark.parametrize(
    "content", [b'{"a": NaN}', b"Infinity", b"[" * 100_000, b"1" * 5000, b"{", b"", b"\xff", b"{}x"]
)
def test_json_that_is_none(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(content)


def test_json_that_is() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, "\xc3\xbc", null]}') == {"a": [1, 2.5, "ü", None]}


def _shown_of(content: bytes) -> str:
    try:
        Response(200, {}, content, "http://a/x").json()
    except errors.ProtocolError as error:
        return str(error)
    return ""


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_clear_error(content: bytes) -> None:
    shown = _shown_of(content)
    assert len(shown) < 600
    assert shown.isprintable()


def test_pages_are_recognised() -> None:
    by_type = Response(200, {"content-type": "text/html; charset=x"}, b"hello", "u")
    by_content = Response(200, {}, b"  <!doctype HTML><p>", "u")
    for answer in (by_type, by_content):
        with pytest.raises(errors.ProtocolError, match="proxy or login page"):
            answer.json()
