"""Each fault, met once and met always, by each operation: the right bytes or the mapped error, in time."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rinofs import errors
from rinofs.http.content.content import open_content
from rinofs.http.content.slices import read_content
from rinofs.http.content.upload import UploadBody
from rinofs.http.content.verify import Verifier, copy_to
from tests.http import faulty
from tests.http.conftest import MakeSession, content_of, patient
from tests.http.faulty import DATA, Step, faulty_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.http.session.session import HttpSession

SHORT, SHORTEST = 0.6, 0.2
LABEL = "rino://exp1/a.csv"


def _read(session: HttpSession) -> None:
    assert session.request("GET", "/thing", repeatable=True, label=LABEL).json() == {"ok": True}


def _read_by_post(session: HttpSession) -> None:
    answer = session.request("POST", "/thing", json={"id": 7}, repeatable=True, label=LABEL)
    assert answer.json() == {"ok": True}


def _write(session: HttpSession) -> None:
    answer = session.request("POST", "/thing", json={"name": "x"}, repeatable=False, label=LABEL)
    assert answer.json() == {"ok": True}


def _upload(session: HttpSession) -> None:
    body = UploadBody(io.BytesIO(DATA), fields={"name": "x"}, digest="blake3")
    assert session.upload("/thing", body, label=LABEL).json() == {"ok": True}


def _whole(session: HttpSession) -> None:
    assert read_content(session, content_of(), verify=True) == DATA


def _range(session: HttpSession) -> None:
    assert read_content(session, content_of(), 1000, 250_000) == DATA[1000:250_000]


def _suffix(session: HttpSession) -> None:
    assert read_content(session, content_of(size=None), -5000) == DATA[-5000:]


def _pieces(session: HttpSession) -> None:
    with open_content(session, content_of()) as stream:
        got = b"".join(iter(lambda: stream.read(65_536), b""))
    assert got == DATA


def _to_file(session: HttpSession) -> None:
    file = io.BytesIO()
    with open_content(session, content_of()) as stream:
        copy_to(
            stream, file.write, Verifier.for_response(stream.headers, stream.etag, stream.size, label=LABEL)
        )
    assert file.getvalue() == DATA


READS = {"read": _read, "read by POST": _read_by_post}
WRITES = {"write": _write, "upload": _upload}
CONTENTS = {"whole": _whole, "range": _range, "suffix": _suffix, "pieces": _pieces, "to file": _to_file}
KINDS: dict[str, dict[str, Callable[[HttpSession], None]]] = {
    "read": READS,
    "write": WRITES,
    "content": CONTENTS,
}

Outcome = type[Exception] | None
OK = None
LOST, SLOW, UNKNOWN = errors.ConnectionFailedError, errors.DeadlineError, errors.OutcomeUnknownError
BUSY, PROTOCOL, CHANGED = errors.UnavailableError, errors.ProtocolError, errors.ContentChangedError
DAMAGED = errors.ContentMismatchError


@dataclass(frozen=True)
class Row:
    """A fault, and what each kind of operation makes of it: (met once, met always)."""

    step: Step
    read: tuple[Outcome, Outcome] | None = None
    write: tuple[Outcome, Outcome] | None = None
    content: tuple[Outcome, Outcome] | None = None
    slow: bool = False


def _refusal(code: int, error: type[Exception]) -> Row:
    both = (error, error)
    return Row(faulty.status(code), both, both, both)


MATRIX: dict[str, Row] = {
    "truncated": Row(faulty.truncated, (OK, LOST), (UNKNOWN, UNKNOWN), (OK, LOST)),
    "reset midway": Row(faulty.reset_midway, (OK, LOST), (UNKNOWN, UNKNOWN), (OK, LOST)),
    "unframed, truncated": Row(faulty.unframed_truncated, (OK, PROTOCOL), (PROTOCOL, PROTOCOL), (OK, LOST)),
    "chunked, truncated": Row(faulty.chunked_truncated, (OK, LOST), (UNKNOWN, UNKNOWN), (OK, LOST)),
    "dropped": Row(faulty.dropped, (OK, LOST), (UNKNOWN, UNKNOWN), (OK, LOST)),
    "dropped hard": Row(faulty.dropped_hard, (OK, LOST), (UNKNOWN, UNKNOWN), (OK, LOST)),
    "garbage": Row(faulty.garbage, (OK, LOST), (UNKNOWN, UNKNOWN), (OK, LOST)),
    "stalled head": Row(faulty.stalled_head, (OK, SLOW), (UNKNOWN, UNKNOWN), (OK, SLOW), slow=True),
    "stalled body": Row(faulty.stalled_body, (OK, SLOW), (UNKNOWN, UNKNOWN), (OK, SLOW), slow=True),
    "trickled head": Row(faulty.trickled_head, (OK, SLOW), (UNKNOWN, UNKNOWN), (OK, SLOW), slow=True),
    "trickled body": Row(faulty.trickled_body, content=(OK, SLOW), slow=True),
    "wrong range": Row(faulty.wrong_range, content=(OK, PROTOCOL)),
    "other version": Row(faulty.other_version, content=(CHANGED, CHANGED)),
    "gzipped": Row(faulty.gzipped, (PROTOCOL, PROTOCOL), (PROTOCOL, PROTOCOL), (OK, PROTOCOL)),
    "web page": Row(faulty.web_page, (PROTOCOL, PROTOCOL), (PROTOCOL, PROTOCOL), (OK, PROTOCOL)),
    "malformed": Row(faulty.json_text(b'{"ok": tr'), (OK, PROTOCOL), (PROTOCOL, PROTOCOL)),
    "not a number": Row(faulty.json_text(b'{"ok": NaN}'), (OK, PROTOCOL), (PROTOCOL, PROTOCOL)),
    "infinite": Row(faulty.json_text(b'{"ok": -Infinity}'), (OK, PROTOCOL), (PROTOCOL, PROTOCOL)),
    "deep": Row(faulty.json_text(b"[" * 200_000), (OK, PROTOCOL), (PROTOCOL, PROTOCOL)),
    "many digits": Row(faulty.json_text(b"1" * 5000), (OK, PROTOCOL), (PROTOCOL, PROTOCOL)),
    "not UTF-8": Row(faulty.json_text(b'"\xff\xfe\xfd"'), (OK, PROTOCOL), (PROTOCOL, PROTOCOL)),
    "400": _refusal(400, errors.InvalidRequestError),
    "401": _refusal(401, errors.AuthenticationError),
    "403": _refusal(403, errors.NotAllowedError),
    "404": _refusal(404, errors.NotFoundError),
    "405": _refusal(405, errors.InvalidRequestError),
    "409": _refusal(409, errors.ConflictError),
    "410": _refusal(410, errors.NotFoundError),
    "413": _refusal(413, errors.TooLargeError),
    "415": _refusal(415, errors.InvalidRequestError),
    "418": _refusal(418, errors.InvalidRequestError),
    "422": _refusal(422, errors.InvalidRequestError),
    "501": _refusal(501, errors.UnavailableError),
    "507": _refusal(507, errors.UnavailableError),
    "412 of a request": Row(
        faulty.status(412),
        (errors.PreconditionError, errors.PreconditionError),
        (errors.PreconditionError, errors.PreconditionError),
        (CHANGED, CHANGED),
    ),
    "416 that makes no sense": Row(
        faulty.status(416, Content_Range=f"bytes */{len(DATA)}"), content=(OK, PROTOCOL)
    ),
    "416 of a shrunk content": Row(
        faulty.status(416, Content_Range="bytes */10"), content=(CHANGED, CHANGED)
    ),
    "408": Row(faulty.status(408), (OK, BUSY), (OK, BUSY), (OK, BUSY)),
    "429": Row(faulty.status(429), (OK, BUSY), (OK, BUSY), (OK, BUSY)),
    "429, Retry-After": Row(faulty.status(429, Retry_After="0"), (OK, BUSY), (OK, BUSY), (OK, BUSY)),
    "503": Row(faulty.status(503), (OK, BUSY), (OK, BUSY), (OK, BUSY)),
    "500": Row(faulty.status(500), (OK, BUSY), (UNKNOWN, UNKNOWN), (OK, BUSY)),
    "502": Row(faulty.status(502), (OK, BUSY), (UNKNOWN, UNKNOWN), (OK, BUSY)),
    "504": Row(faulty.status(504), (OK, BUSY), (UNKNOWN, UNKNOWN), (OK, BUSY)),
    "redirect to nowhere": Row(faulty.redirect("ftp://example.org/"), *[(PROTOCOL, PROTOCOL)] * 3),
    "redirect without a target": Row(faulty.status(302), *[(PROTOCOL, PROTOCOL)] * 3),
}
# A suffix is asked for without a size that could be disagreed with.
NOT_FOR = {("416 of a shrunk content", "suffix")}


def _cases(always: bool) -> list[object]:
    cases = []
    for fault, row in MATRIX.items():
        for kind, operations in KINDS.items():
            outcomes: tuple[Outcome, Outcome] | None = getattr(row, kind)
            for name, operation in operations.items():
                if outcomes is not None and (fault, name) not in NOT_FOR:
                    case = (row.step, operation, outcomes[always], row.slow)
                    cases.append(pytest.param(*case, id=f"{fault}-{name}"))
    return cases


@pytest.mark.parametrize(("step", "operation", "outcome", "slow"), _cases(always=False))
def test_a_fault_met_once(
    step: Step,
    operation: Callable[[HttpSession], None],
    outcome: Outcome,
    slow: bool,
    session_to: MakeSession,
) -> None:
    with faulty_server(step) as server:
        session = session_to(server, limits=patient(SHORT) if slow else patient())
        if outcome is OK:
            operation(session)
            return
        with pytest.raises(outcome) as caught:
            operation(session)
        assert type(caught.value) is outcome


@pytest.mark.parametrize(("step", "operation", "outcome", "slow"), _cases(always=True))
def test_a_fault_met_always(
    step: Step,
    operation: Callable[[HttpSession], None],
    outcome: Outcome,
    slow: bool,
    session_to: MakeSession,
) -> None:
    with faulty_server(otherwise=step) as server:
        session = session_to(server, timeout=SHORTEST) if slow else session_to(server, limits=patient())
        with pytest.raises(outcome or AssertionError) as caught:
            operation(session)
        if operation in CONTENTS.values():
            assert isinstance(caught.value, outcome or AssertionError)
        else:
            assert type(caught.value) is outcome
        assert LABEL in str(caught.value)
