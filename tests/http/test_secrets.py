"""The token is in no text that anyone may see."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest

from rinofs import errors
from rinofs.http.connection.redact import excerpt, redact
from rinofs.http.content.slices import read_content
from rinofs.http.content.upload import UploadBody
from rinofs.http.session.session import HttpSession
from rinofs.http.session.shared import StaticAuth
from tests.http import faulty
from tests.http.conftest import TOKEN, MakeSession, content_of
from tests.http.faulty import Step, faulty_server
from tests.http.test_fault_matrix import MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable

ECHO = f'{{"error": "no such token {TOKEN}, you said Token {TOKEN}"}}'.encode()
ECHOES: dict[str, Step] = {
    f"{code} that quotes the token": faulty.status(code, ECHO)
    for code in (400, 401, 403, 404, 409, 412, 413, 422, 429, 500)
} | {
    "JSON that quotes the token": faulty.json_text(b"{" + TOKEN.encode() * 50),
    "fields that quote the token": faulty.status(422, f'{{"error": {{"token": ["{TOKEN}"]}}}}'.encode()),
    "text that quotes the token": faulty.status(400, b"x" * 195 + TOKEN.encode()),
    "redirect that quotes the token": faulty.redirect(f"ftp://{TOKEN}/"),
    "range that quotes the token": faulty.status(206, b"", Content_Range=TOKEN),
    "encoding that quotes the token": faulty.status(200, b"x", Content_Encoding=TOKEN),
    "version that quotes the token": faulty.status(200, b"x", ETag=f'"{TOKEN}"'),
}
FAULTS = {name: row.step for name, row in MATRIX.items() if not row.slow} | ECHOES


def _everything_shown(error: BaseException) -> str:
    parts = ["".join(traceback.format_exception(error)), repr(error), str(error)]
    parts.append(repr(pickle.dumps(error)))
    seen: BaseException | None = error
    while seen is not None:
        parts += [repr(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


def _shown_by(operation: Callable[[], object]) -> str:
    try:
        operation()
    except errors.RinofsError as error:
        return _everything_shown(error)
    return ""


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_shows_the_token(
    fault: str, session_to: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with faulty_server(otherwise=FAULTS[fault]) as server:
        session = session_to(server, timeout=0.5)
        operations = (
            lambda: session.request("GET", "/a", params={"token": TOKEN}, repeatable=True).json(),
            lambda: session.request("POST", "/a", json={}, repeatable=False).json(),
            lambda: session.upload("/a", UploadBody(io.BytesIO(b"x" * 10), digest="blake3")).json(),
            lambda: read_content(session, content_of()),
        )
        for operation in operations:
            assert TOKEN not in _shown_by(operation)
        assert TOKEN not in repr(session)
    own = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("rinofs"))
    assert own
    assert TOKEN not in own


def test_what_holds_the_token_is_not_shown_or_pickled() -> None:
    auth = StaticAuth("Token", TOKEN)
    session = HttpSession("http://127.0.0.1:1", auth)
    for thing in (auth, session):
        assert TOKEN not in repr(thing)
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            copy.deepcopy(thing)


@pytest.mark.parametrize("bad", ["", "a b", f"{TOKEN}\r\nX: y", f"{TOKEN}\x00", f"{TOKEN}ü", f"{TOKEN} "])
def test_tokens_that_no_header_can_carry(bad: str) -> None:
    with pytest.raises(errors.CredentialsError) as caught:
        StaticAuth("Token", bad)
    assert TOKEN not in _everything_shown(caught.value)


def test_an_auth_that_gives_nonsense() -> None:
    class Bad:
        def header(self) -> str:
            return f"Token {TOKEN}\n"

        def renew(self, refused: str) -> bool:
            return False

    with pytest.raises(errors.CredentialsError) as caught:
        HttpSession("http://127.0.0.1:1", Bad()).request("GET", "/a", repeatable=True)
    assert TOKEN not in _everything_shown(caught.value)


def test_an_answer_shows_nothing_of_its_content(session_to: MakeSession) -> None:
    with faulty_server(faulty.json_text(f'{{"token": "{TOKEN}"}}'.encode())) as server:
        answer = session_to(server).request("POST", "/api/1/users/token/", repeatable=True)
    assert TOKEN not in repr(answer)
    assert answer.json() == {"token": TOKEN}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3t-s3cr3t",
        "?a=1&access_token=s3cr3t&b=2",
        "client_secret=s3cr3t",
        "https://store/x?X-Amz-Signature=s3cr3t",
        '{"refresh_token": "s3cr3t"}',
        "{'password': 's3cr3t with spaces'}",
        "key rino_s3cr3ts3cr3t",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    assert "s3cr3t" not in redact(text)
    assert "***" in redact(text)


def test_excerpts_are_short_single_lines_without_controls() -> None:
    assert excerpt(b"a\r\n\tb\x1b[31m\x00" + b"c" * 500, limit=20) == "a b\ufffd[31m\ufffd" + "c" * 10 + "…"
    assert excerpt(b"\xff\xfe ok") == "\ufffd\ufffd ok"
