from __future__ import annotations

import logging

import pytest

from rinofs.server.logs import RedactingFilter, redact

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
