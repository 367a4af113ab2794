"""The multipart body: its bytes, its length, its digests, and files that misbehave."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import io
import json
import random
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs import errors
from rinofs.http.content.upload import UploadBody
from rinofs.http.content.verify import INLINE
from rinofs.http.session.session import HttpSession
from rinofs.http.session.shared import StaticAuth
from rinofs.protocol.digests import DIGESTS, SHA256, EtagHasher, new_hasher
from tests.campaign import rounds
from tests.http import faulty
from tests.http.faulty import DATA, faulty_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.http.conftest import MakeSession


def _bytes_of(body: UploadBody) -> bytes:
    return b"".join([bytes(piece) for piece in body])


def _parts_of(body: UploadBody, sent: bytes) -> list[tuple[str, str | None, str, bytes]]:
    """Read a body as a parser of another make reads it: (name, filename, type, content) of each part."""
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + sent)
    parts = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        parts.append((str(name), part.get_filename(), part.get_content_type(), part.get_payload(decode=True)))
    return parts


@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("size", [0, 1, 300_000, INLINE, INLINE + 1, 3_000_000])
def test_the_parts(size: int, as_bytes: bool, digest: str) -> None:
    data = random.Random(size).randbytes(size).replace(b"\r", b"r").replace(b"\n", b"n")
    source = data if as_bytes else io.BytesIO(data)
    body = UploadBody(source, fields={"name": "ü", "tags": ["a"]}, digest=digest, etag=True)
    sent = _bytes_of(body)
    assert len(sent) == len(body)
    assert body.size == size
    fields, file, last = _parts_of(body, sent)
    assert (fields[0], fields[2], json.loads(fields[3])) == (
        "json",
        "application/json",
        {"name": "ü", "tags": ["a"]},
    )
    assert file == ("file", "file", "application/octet-stream", data)
    expected = new_hasher(digest)
    expected.update(data)
    assert last[0] == digest == body.ends_with
    assert last[3].decode() == expected.hexdigest() == body.digest()
    hasher = EtagHasher()
    hasher.update(data)
    assert body.etag() == hasher.etag()
    assert _bytes_of(body) == sent


def test_only_what_is_wanted() -> None:
    body = UploadBody(b"abc", filename='we"ird\r\nname.csv')
    sent = _bytes_of(body)
    assert len(sent) == len(body)
    assert b'filename="we%22ird%0D%0Aname.csv"' in sent
    assert [part[0] for part in _parts_of(body, sent)] == ["file"]
    for digest in (body.etag, body.digest):
        with pytest.raises(ValueError, match="not available"):
            digest()


@settings(max_examples=rounds(15, 150), deadline=None)
@given(
    data=st.binary(max_size=2000),
    start=st.integers(0, 100),
    size=st.integers(0, 2000),
    name=st.text(max_size=20),
)
def test_a_part_of_a_file(data: bytes, start: int, size: int, name: str) -> None:
    file = io.BytesIO(data)
    file.seek(min(start, len(data)))
    wanted = data[start : start + size]
    body = UploadBody(file, len(wanted), filename=name, digest=SHA256)
    sent = _bytes_of(body)
    assert len(sent) == len(body)
    assert b"\r\n\r\n" + wanted + b"\r\n--" in sent
    assert body.digest() == hashlib.sha256(wanted).hexdigest()


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_a_file_without_readinto(size: int) -> None:
    class Plain:
        def __init__(self) -> None:
            self._file = io.BytesIO(bytes(size))
            self.read, self.seek, self.tell = self._file.read, self._file.seek, self._file.tell

    body = UploadBody(Plain(), digest=SHA256)  # type: ignore[arg-type]
    assert len(_bytes_of(body)) == len(body)
    assert body.digest() == hashlib.sha256(bytes(size)).hexdigest()


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_a_file_that_shrank(size: int, session_to: MakeSession) -> None:
    """It is the file's fault, and said so; nothing complete was sent."""
    file = io.BytesIO(bytes(size))
    body = UploadBody(file, digest=SHA256)
    file.truncate(size // 2)
    with faulty_server() as server:
        with pytest.raises(OSError, match="changed during the upload") as caught:
            session_to(server).upload("/a", body)
        assert not isinstance(caught.value, errors.RinofsError)
    assert not server.effects


def test_a_file_that_cannot_be_read(session_to: MakeSession) -> None:
    class Broken(io.BytesIO):
        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with faulty_server() as server:
        session = session_to(server)
        with pytest.raises(OSError, match="Input/output error"):
            session.upload("/a", UploadBody(Broken(b"x" * 10)))
        assert session._shared.slots.free == 8
    assert not server.effects


def test_what_arrives(session_to: MakeSession) -> None:
    body = UploadBody(io.BytesIO(DATA), fields={"name": "a"}, digest=SHA256)
    with faulty_server() as server:
        session_to(server).upload("/a", body, headers={"Idempotency-Key": "k"}, params={"x": 1})
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/a?x=1")
    assert request.headers["content-length"] == str(len(body))
    assert request.headers["content-type"] == body.content_type
    assert request.headers["idempotency-key"] == "k"
    assert [part[0] for part in _parts_of(body, request.body)] == ["json", "file", "sha256"]


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_sent_again_whole_after_a_refusal_that_is_none(size: int, session_to: MakeSession) -> None:
    data = bytes(size)
    with faulty_server(faulty.status(503, Retry_After="0"), faulty.status(429)) as server:
        body = UploadBody(io.BytesIO(data), digest=SHA256)
        session_to(server).upload("/a", body)
    assert len({request.body for request in server.requests}) == 1
    assert len(server.requests) == 3
    assert server.effects == {"/a": 1}


def test_a_repeatable_upload_is_sent_again(session_to: MakeSession) -> None:
    with faulty_server(faulty.dropped, faulty.status(500)) as server:
        session_to(server).upload("/a", UploadBody(b"x"), repeatable=True, headers={"Idempotency-Key": "k"})
    assert len(server.requests) == 3


def test_refused_before_it_is_read(session_to: MakeSession) -> None:
    """A server that answers from the headers on and hangs up is heard, not only the broken connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(
                    b"HTTP/1.1 413 Too Large\r\nContent-Length: 20\r\nConnection: close\r\n\r\n"
                    b'{"error": "1 MiB"}  '
                )
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        session = HttpSession(f"http://127.0.0.1:{listener.getsockname()[1]}", StaticAuth("Token", "t" * 9))
        with pytest.raises(errors.TooLargeError, match="1 MiB"):
            session.upload("/a", UploadBody(io.BytesIO(bytes(3_000_000))))
        thread.join()


_MEMORY = """
import resource, sys
from rinofs.http.content.upload import UploadBody
path = sys.argv[1]
with open(path, "rb", buffering=0) as file:
    body = UploadBody(file, fields={}, digest="blake3", etag=True)
    next(iter(body))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 0
    for piece in body:
        count += len(piece)
    assert count == len(body)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    grown = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(path)], check=True, capture_output=True, text=True
    ).stdout
    assert int(grown) < 16 * 1024, f"{grown} KiB"
