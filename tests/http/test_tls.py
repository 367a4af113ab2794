"""Over TLS: only what is trusted is spoken to, and a connection breaks there as it does elsewhere."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from rinofs.errors import ConnectionFailedError, OutcomeUnknownError
from rinofs.http.content.slices import read_content
from rinofs.http.content.upload import UploadBody
from tests.http import faulty
from tests.http.conftest import MakeSession, content_of
from tests.http.faulty import DATA, FaultyServer, Request, faulty_server

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.http.faulty import Step

_LARGE = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who vouches for the servers of these tests, and is trusted by nobody else."""
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def _trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))


class _Impatient(FaultyServer):
    """Breaks connections in the middle of what is sent to it, or before anything is."""

    breaks = 1
    after = 1024 * 1024

    def _read(self, reader: object, connection: socket.socket) -> Request | None:
        if not self.breaks:
            return super()._read(reader, connection)
        self.breaks -= 1
        reader.read(self.after)  # type: ignore[attr-defined]
        connection.close()
        return None


class _Reluctant(FaultyServer):
    """Closes its first connections before they stand."""

    breaks = 2

    def _serve(self, connection: socket.socket) -> None:
        if self.breaks:
            self.breaks -= 1
            connection.recv(64 * 1024)  # else it would be a reset
            connection.close()
        else:
            super()._serve(connection)


def not_tls(request: Request) -> None:
    os.write(request.connection.fileno(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    request.hang_up()


BREAKS: dict[str, Step] = {"closed": faulty.dropped, "reset": faulty.dropped_hard, "not TLS": not_tls}


def test_who_is_not_trusted_is_told_nothing(session_to: MakeSession, tls: ssl.SSLContext) -> None:
    with (
        faulty_server(tls=tls) as server,
        pytest.raises(ConnectionFailedError, match="REQUESTS_CA_BUNDLE"),
    ):
        session_to(server).request("POST", "/a", json={}, repeatable=True)
    assert server.requests == []
    assert server.connections == 1


@pytest.mark.usefixtures("_trusted")
def test_one_connection_serves_all(session_to: MakeSession, tls: ssl.SSLContext) -> None:
    with faulty_server(tls=tls) as server:
        session = session_to(server)
        for _ in range(3):
            assert read_content(session, content_of()) == DATA
            assert session.request("POST", "/a", json={"a": 1}, repeatable=False).status == 200
        session.upload("/a", UploadBody(b"x" * _LARGE))
        assert server.connections == 1


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_one(session_to: MakeSession, tls: ssl.SSLContext, name: str, warm: bool) -> None:
    before: list[Step] = [faulty.normal] * warm
    for repeatable in (True, False):
        with faulty_server(*before, BREAKS[name], tls=tls) as server:
            session = session_to(server)
            for _ in before:
                session.request("POST", "/a", json={}, repeatable=True)
            if repeatable:
                assert session.request("POST", "/a", json={}, repeatable=True).status == 200
            else:
                with pytest.raises(OutcomeUnknownError):
                    session.request("POST", "/a", json={}, repeatable=False)
            assert len(server.requests) == len(before) + 1 + repeatable


@pytest.mark.usefixtures("_trusted")
def test_an_upload_that_breaks_is_sent_again(session_to: MakeSession, tls: ssl.SSLContext) -> None:
    server = _Impatient(tls=tls)
    try:
        content = os.urandom(_LARGE)
        assert session_to(server).upload("/a", UploadBody(content), repeatable=True).status == 200
        assert content in server.requests[0].body
    finally:
        server.close()


@pytest.mark.usefixtures("_trusted")
def test_an_upload_that_breaks_may_have_been_stored(session_to: MakeSession, tls: ssl.SSLContext) -> None:
    server = _Impatient(tls=tls)
    try:
        with pytest.raises(OutcomeUnknownError):
            session_to(server).upload("/a", UploadBody(bytes(_LARGE)))
    finally:
        server.close()


@pytest.mark.usefixtures("_trusted")
def test_a_connection_that_is_cut_off_before_it_stands(session_to: MakeSession, tls: ssl.SSLContext) -> None:
    server = _Reluctant(tls=tls)
    try:
        assert session_to(server).request("GET", "/a", repeatable=True).status == 200
        assert server.connections == 3
    finally:
        server.close()
