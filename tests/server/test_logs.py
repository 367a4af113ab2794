from __future__ import annotations

import logging
import subprocess
from typing import TYPE_CHECKING

import pytest
import requests

from rinofs.server.logs import RedactingFilter, redact
from rinofs.testing import live_server
from rinofs.testing.process import COMMAND, ServerProcess

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


def misuse(url: str, token: str, password: str) -> None:
    """Send secrets to all the places where they may be written down."""
    base = f"{url}/api/1"
    session = requests.Session()
    session.headers["Authorization"] = f"Token {token}"
    form = {"grant_type": "password", "client_id": "x", "username": "rino", "password": password}
    assert session.post(f"{base}/users/details/", timeout=10).status_code == 200
    assert session.post(f"{url}/o/token/", data=form, timeout=10).status_code == 200
    session.post(f"{url}/o/token/", data=form | {"password": f"wrong{password}"}, timeout=10)
    session.post(f"{url}/o/token/?password={password}", data=form | {"grant_type": "x"}, timeout=10)
    session.post(f"{base}/files/children/?token={token}", data=f'{{"token": "{token}"', timeout=10)
    session.post(f"{base}/files/get_metadata/", json={"id": token}, timeout=10)
    broken = {"Content-Type": "multipart/form-data"}
    session.post(f"{base}/files/upload/", data=token, headers=broken, timeout=10)
    session.get(f"{base}/files/children/", headers={"Host": "evil.example"}, timeout=10)
    session.get(f"{url}/oauth/authorize?code={token}", timeout=10)
    session.get(f"{url}/health", headers={"Authorization": f"Token {token}\x80"}, timeout=10)
    session.post(f"{base}/files/children/", headers={"Authorization": f"Bearer not-{token}"}, timeout=10)
    keyed = {"Idempotency-Key": token}
    session.post(f"{base}/files/create_object/", json={"name": "x"}, headers=keyed, timeout=10)


def test_no_secret_in_the_logs_of_a_process(tmp_path: Path) -> None:
    password, token = f"pass-{CANARY}", f"tok-{CANARY}"
    command = [*COMMAND, "--debug", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with (
        (tmp_path / "errors").open("w+") as errors,
        subprocess.Popen(
            [*command, "--token", token, "--password", password],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        server = ServerProcess(process, errors)
        misuse(server.endpoint_url, token, password)
        assert server.terminate() == 0
        written = server.errors()
    assert "Finished server process" in written
    assert CANARY not in written


def test_no_secret_in_the_logs_of_a_program(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs the server inside a program gets its messages without the filter of the command."""
    caplog.set_level(logging.DEBUG)
    with live_server(token=f"tok-{CANARY}") as server:
        misuse(server.endpoint_url, server.token, server.password)
        secrets = (server.token, server.password)
    of_the_server = [record for record in caplog.records if not record.name.startswith("urllib3")]
    assert any(record.name.startswith("rinofs") for record in of_the_server)
    formatter = logging.Formatter()
    written = "\n".join(map(formatter.format, of_the_server))
    assert not any(secret in written for secret in secrets)
