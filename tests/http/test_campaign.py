"""Thousands of transfers over a connection that fails one time in five: not one wrong byte."""

from __future__ import annotations

import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rinofs import errors
from rinofs.http.content.content import open_content
from rinofs.http.content.slices import read_content
from rinofs.http.content.upload import UploadBody
from rinofs.http.content.verify import Verifier, copy_to
from tests.campaign import rounds
from tests.http import faulty
from tests.http.conftest import MakeSession, content_of
from tests.http.faulty import DATA, Request, Step, faulty_server

if TYPE_CHECKING:
    from rinofs.http.session.session import HttpSession

FAULT_RATE = 0.2
FAULTS: list[Step] = [
    faulty.truncated,
    faulty.reset_midway,
    faulty.unframed_truncated,
    faulty.chunked_truncated,
    faulty.dropped,
    faulty.dropped_hard,
    faulty.garbage,
    faulty.wrong_range,
    faulty.gzipped,
    faulty.web_page,
    faulty.status(429, Retry_After="0"),
    faulty.status(500),
    faulty.status(502),
    faulty.status(503),
]
# The client gives up on these at once, rightly: a page or an encoding in place of a small answer.
FAULTS_OF_ANSWERS = [
    fault for fault in FAULTS if fault not in (faulty.gzipped, faulty.web_page, faulty.wrong_range)
]


class _Unreliable:
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> None:
        with self._lock:
            fails = self._chance.random() < FAULT_RATE
            fault = self._chance.choice(FAULTS if request.method == "GET" else FAULTS_OF_ANSWERS)
        if fails:
            fault(request)
        else:
            faulty.normal(request)


def _whole(session: HttpSession, chance: random.Random) -> None:
    assert read_content(session, content_of(), verify=chance.random() < 0.5) == DATA


def _range(session: HttpSession, chance: random.Random) -> None:
    start, stop = chance.randrange(len(DATA)), chance.randrange(len(DATA))
    assert read_content(session, content_of(), start, stop) == DATA[start:stop]


def _to_file(session: HttpSession, chance: random.Random) -> None:
    file = io.BytesIO()
    with open_content(session, content_of(size=None)) as stream:
        copy_to(stream, file.write, Verifier.for_response(stream.headers, stream.etag, stream.size))
    assert file.getvalue() == DATA


def _in_pieces(session: HttpSession, chance: random.Random) -> None:
    with open_content(session, content_of(conditional=False), 1000) as stream:
        got = b"".join(iter(lambda: stream.read(chance.randrange(1, 100_000)), b""))
    assert got == DATA[1000:]


def _upload(session: HttpSession, chance: random.Random) -> None:
    body = UploadBody(io.BytesIO(DATA[: chance.randrange(len(DATA))]), fields={}, digest="blake3")
    assert session.upload("/up", body, repeatable=True).json() == {"ok": True}


@pytest.mark.soak
def test_transfers_at_a_high_fault_rate(session_to: MakeSession) -> None:
    count = rounds(150, 5_000)
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            chance.choice([_whole, _range, _to_file, _in_pieces, _upload])(session, chance)
        except errors.RinofsError as error:
            failed.append(error)

    with faulty_server(otherwise=_Unreliable(2026)) as server, ThreadPoolExecutor(8) as pool:
        session = session_to(server, timeout=5)
        list(pool.map(work, range(count)))  # a wrong byte is an AssertionError, and ends here
    assert len(failed) <= max(count * 0.01, 4), failed[:5]
    assert not any(isinstance(error, errors.ContentMismatchError) for error in failed)
