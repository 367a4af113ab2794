from __future__ import annotations

import json
import logging
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs.server.logs import RedactingFilter, redact, redacted_start
from tests.campaign import rounds
from tests.forkserver import server_process
from tests.server.client import Api
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "c4naryS3cret"


@pytest.mark.parametrize(
    "text",
    [
        f"rino_{CANARY}-x",
        f"Authorization: Token {CANARY}",
        f"authorization: bearer {CANARY}",
        f"('authorization', 'Basic {CANARY}=')",
        f"password={CANARY}&username=x",
        f"{{'password': '{CANARY}'}}",
        f'{{"access_token": "{CANARY}", "token_type": "Bearer"}}',
        f'{{"token":"{CANARY}"}}',
        f"refresh_token={CANARY}",
        f"client_secret={CANARY}",
        f"POST /o/token/?code={CANARY} HTTP/1.1",
        f"GET /oauth/authorize?state={CANARY}&x=y",
        f"http://127.0.0.1:8440/oauth/login?next={CANARY}",
        f"GET /login?next=/o/authorize?client_id=a&state={CANARY}",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    assert CANARY not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/1/files/download/?id=3 failed",
        "the token was refused",
        "a token is needed: Authorization: Token <token>",
        "rinofs serves /data",
        "POST /oauth/token failed",
    ],
)
def test_what_does_not_stays(text: str) -> None:
    assert redact(text).replace("[hidden]", "<token>") == text


def test_what_stands_before_a_secret_stays() -> None:
    assert redact(f"sent Token {CANARY * 2}, got 401") == "sent Token [hidden], got 401"
    assert redact(f"x {CANARY} y", [CANARY]) == "x [hidden] y"


LOGIN_QUERY = re.compile(r"""(/o(?:auth)?/[\w/]*\?)[^\s'"]+""", re.IGNORECASE)
"""What is hidden of the addresses of login pages; it takes too long for long texts."""


@settings(deadline=None, max_examples=rounds(300, 10_000))
@given(st.lists(st.sampled_from(["/", "o", "auth", "AUTH", "?", "x", "_", " ", "'", ":", "&"]), max_size=30))
def test_queries_of_login_pages_are_hidden(parts: list[str]) -> None:
    text = "".join(parts)
    assert redact(text) == LOGIN_QUERY.sub(r"\1[hidden]", text)


@pytest.mark.parametrize(
    "unit",
    [
        "/o", "o/", "/oauth", "/o/o?", "?", "a?", "rino", "rino_", "rino_ ", "token", "token ", "_token ",
        "token=", "Token ", "Bearer", "code", "_code", "password' ", "authorization", "authorization ",
        "authorization b ", "b ", "b", " ", "'", "=", ":", "(",
    ],
)  # fmt: skip
def test_long_texts_are_searched_once(unit: str) -> None:
    """A pattern that begins anew at each place takes hours for a text of this length."""
    assert redact(unit * (1_000_000 // len(unit)) + "[").endswith(("[", "[hidden]"))


SECRETS = ["rino_" + CANARY, f"Bearer {CANARY * 2}", f"token={CANARY}", f"/o/x?{CANARY}", f"given {CANARY}"]


@settings(deadline=None, max_examples=rounds(200, 5_000))
@given(
    st.lists(st.sampled_from([*SECRETS, " ", "/", "x" * 50]), max_size=12),
    st.integers(0, 300),
)
def test_a_secret_that_is_cut_is_hidden(parts: list[str], longest: int) -> None:
    """Every text appears as it would if it was redacted before it was cut."""
    text = " ".join(parts)
    cut = redacted_start(text, longest, [f"given {CANARY}"])
    assert len(cut) <= longest
    assert redact(text, [f"given {CANARY}"]).startswith(cut.removesuffix("[hidden]"))


def test_a_text_is_cut_only_if_it_is_long() -> None:
    assert redacted_start("x" * 100, 100) == "x" * 100
    assert redacted_start("x" * 1000, 100) == "x" * 100


def test_arguments_and_tracebacks_are_redacted() -> None:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Kept()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(RedactingFilter([f"given-{CANARY}"]))
    logger = logging.getLogger("rinofs.test")
    logger.addHandler(handler)
    try:
        logger.error("%s and %r", f"rino_{CANARY}", {"password": CANARY})
        try:
            {}[f"given-{CANARY}"]
        except KeyError:
            logger.exception("failed with %s", f"given-{CANARY}")
    finally:
        logger.removeHandler(handler)
    text = "\n".join(lines)
    assert CANARY not in text
    assert "KeyError: '[hidden]'" in text


FORGED = "2026-11-29 00:00:00,000 WARNING rinofs.server: forged"
CONTROLS = [f"\n{FORGED}", f"\r{FORGED}", "\x1b[31m", "\x9b31m", "\0", "\u2028", "\u202e", "\x85", "\ud800"]
LOGGING = """
import json, logging, sys
from rinofs.server.logs import configure_logging
configure_logging("info")
for text in json.load(sys.stdin):
    logging.getLogger("rinofs.server").warning("POST %s failed\\n", text)
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("GET %s failed", text)
"""


def test_text_from_outside_adds_no_line_and_controls_no_terminal() -> None:
    texts = json.dumps([f"a{text}b" for text in CONTROLS])
    command = [sys.executable, "-c", LOGGING]
    done = subprocess.run(command, input=texts.encode(), capture_output=True, check=True)
    written = done.stderr.decode()
    assert all(character == "\n" or character.isprintable() for character in written)
    messages = [line.split(" ", 2)[2] for line in written.split("\n")[:-1] if not line.startswith("  ")]
    assert [line.partition(": ")[0] for line in messages] == [
        "WARNING rinofs.server",
        "ERROR uvicorn.error",
    ] * len(CONTROLS)
    assert all(line.endswith("b failed") for line in messages)
    assert written.count("ValueError: a") == len(CONTROLS)


BAD_REQUESTS = [
    b"nonsense\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\n\r\n",
    b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /o/token/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST /o/token/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
    b"GET /nowhere HTTP/1.0\r\nHost: a\x80b[\r\n\r\n",
]


def test_bad_requests_do_not_fill_the_log(tmp_path: Path) -> None:
    with server_process(tmp_path / "data") as server:
        where = urlsplit(server.endpoint_url)
        before = server.errors()
        for request in BAD_REQUESTS:
            client = socket.create_connection((where.hostname, where.port), timeout=PATIENCE)
            with client, suppress(ConnectionError):
                client.sendall(request)
                while client.recv(65536):
                    pass
        assert server.errors() == before


@pytest.mark.parametrize("form", ["text", "json"])
def test_logs_answer_and_error_name_a_request_alike(tmp_path: Path, form: str) -> None:
    options = ("--log-format", form, "--access-log", str(tmp_path / "access"), "--token", f"t-{CANARY}")
    with server_process(tmp_path / "data", *options) as server:
        api = Api(server.endpoint_url, server.token)
        number = api.file("broken", b"content")["id"]
        with closing(sqlite3.connect(tmp_path / "data" / "rinofs.sqlite3")) as connection, connection:
            connection.execute("UPDATE objects SET versions = '{' WHERE id = ?", (number,))
        replacing = {"files": {"json": (None, '{"name": "broken"}'), "file": ("f", b"new")}}
        named = {"X-Request-ID": "mine.1"}
        answer = api.session.post(api.url("files/upload"), headers=named, **replacing)
        assert (answer.status_code, answer.headers["X-Request-ID"]) == (500, "mine.1")
        assert answer.json()["error"].endswith("(request mine.1)")
        api.session.post(api.url("files/upload"), headers={"X-Request-ID": f"t-{CANARY}"}, **replacing)
        again = api.session.post(api.url("files/upload"), **replacing)
        other = again.headers["X-Request-ID"]
        assert other not in ("", "mine.1")
        wait_until(lambda: f'"request_id": "{other}"' in (tmp_path / "access").read_text())
        assert CANARY not in server.errors()
        lines = server.errors().splitlines()
        if form == "text":
            assert any(f"(request {other}): POST /api/1/files/upload/ failed" in line for line in lines)
            return
        entries = [json.loads(line) for line in lines]
        (failure,) = (one for one in entries if one.get("request_id") == other)
    assert (failure["level"], failure["logger"]) == ("error", "rinofs.server")
    assert failure["message"] == "POST /api/1/files/upload/ failed"
    assert "JSONDecodeError" in failure["exception"]
    assert "T" in failure["time"]
