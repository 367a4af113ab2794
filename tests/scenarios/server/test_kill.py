"""Killing the server at any moment: what it acknowledged is there, whole, and nothing else is left."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from tests.campaign import rounds
from tests.forkserver import run_command, server_process

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.testing import ServerProcess

TOKEN = "rino_" + "k" * 43
BOUNDARY = "q7w9-not-in-any-content"
WRITERS = 4
NAMES = 4
SIZES = (1, 700, 40_000, 300_000, 1_000_000)


@dataclass
class Uploaded:
    """What one name may hold: the last acknowledged content, or one that was under way after it."""

    acknowledged: list[str] = field(default_factory=list)
    underway: set[str] = field(default_factory=set)
    together: str | None = None  # under way with the other names of its writer: all of them, or none

    def holds(self, digest: str | None) -> bool:
        return digest in {*self.acknowledged[-1:], *self.underway} or (not self.acknowledged and not digest)


class Client:
    """Speaks to the server over one connection, and tries nothing twice."""

    def __init__(self, server: ServerProcess) -> None:
        parts = urlsplit(server.endpoint_url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": kind}
        self._connection.request(method, f"/api/1/files/{path}", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def upload(self, name: str, content: bytes) -> None:
        self._send("upload/", {"name": name}, content)

    def upload_many(self, contents: dict[str, bytes]) -> None:
        files = [{"name": name, "size": len(content)} for name, content in contents.items()]
        self._send("upload_many/", {"files": files}, b"".join(contents.values()))

    def _send(self, endpoint: str, fields: dict[str, object], content: bytes) -> None:
        head = 'Content-Disposition: form-data; name="'
        parts = (
            f'--{BOUNDARY}\r\n{head}json"\r\n\r\n{json.dumps(fields)}\r\n'
            f'--{BOUNDARY}\r\n{head}file"; filename="file"\r\n\r\n'
        )
        body = parts.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        status, answer = self.ask("POST", endpoint, body, f"multipart/form-data; boundary={BOUNDARY}")
        assert status == 201, answer

    def download(self, name: str) -> str | None:
        status, content = self.ask("GET", f"download/?path={quote(name, safe='')}")
        assert status in {200, 404}, content
        return hashlib.sha256(content).hexdigest() if status == 200 else None

    def close(self) -> None:
        self._connection.close()


class Writer(threading.Thread):
    """Uploads to names of its own, new ones and old ones, until the server is gone."""

    def __init__(
        self,
        server: ServerProcess,
        seed: int,
        uploads: dict[str, Uploaded],
        acknowledged: threading.Semaphore,
    ) -> None:
        super().__init__()
        self.failure: AssertionError | None = None
        self._client = Client(server)
        self._random = random.Random(seed)
        self._uploads = uploads
        self._acknowledged = acknowledged

    def run(self) -> None:
        try:
            while True:
                self._random.choice([self._upload_one, self._upload_all])()
        except (OSError, http.client.HTTPException):
            pass  # the server was killed
        except AssertionError as error:
            self.failure = error
        finally:
            self._client.close()

    def _upload_one(self) -> None:
        name = self._random.choice(list(self._uploads))
        # Few seeds, so that one content is often wanted by several objects and by none.
        content = random.Random(self._random.randrange(40)).randbytes(self._random.choice(SIZES))
        digest = hashlib.sha256(content).hexdigest()
        upload = self._uploads[name]
        upload.underway.add(digest)
        self._client.upload(name, content)
        upload.acknowledged.append(digest)
        upload.underway.clear()
        self._acknowledged.release()

    def _upload_all(self) -> None:
        contents = {name: self._random.randbytes(self._random.choice(SIZES[:4])) for name in self._uploads}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        for name, upload in self._uploads.items():
            upload.underway.add(digests[name])
            upload.together = digests[name]
        self._client.upload_many(contents)
        for name, upload in self._uploads.items():
            upload.acknowledged.append(digests[name])
            upload.underway.clear()
            upload.together = None
        self._acknowledged.release()


def cycle(data_dir: Path, seed: int, names: list[dict[str, Uploaded]]) -> None:
    """Check what the last cycle left, upload, and kill the server after some acknowledgements."""
    chance = random.Random(seed)
    with server_process(data_dir, "--token", TOKEN) as server:
        check(server, names)
        acknowledged = threading.Semaphore(0)
        writers = [Writer(server, chance.getrandbits(64), own, acknowledged) for own in names]
        for writer in writers:
            writer.start()
        for _ in range(chance.randrange(1, 12)):
            assert acknowledged.acquire(timeout=60)
        threading.Event().wait(chance.uniform(0, 0.02))  # not only right after an answer
        server.kill()
        for writer in writers:
            writer.join()
            assert writer.failure is None


def check(server: ServerProcess, names: list[dict[str, Uploaded]]) -> None:
    client = Client(server)
    for own in names:
        came = set()
        for name, upload in own.items():
            found = client.download(name)
            assert upload.holds(found), name
            if upload.together is not None:
                came.add(found == upload.together)
            # It is known now which one it is, so the next cycle has to find it again.
            upload.acknowledged = [] if found is None else [found]
            upload.underway.clear()
            upload.together = None
        assert len(came) <= 1, own
    client.close()


def admin(data_dir: Path, command: str) -> dict[str, object]:
    done = run_command("admin", command, "--json", "--data", str(data_dir))
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


@pytest.mark.soak
@pytest.mark.timeout(rounds(600, 1200))
def test_killed_at_any_moment(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    names = [{f"{writer} {number}": Uploaded() for number in range(NAMES)} for writer in range(WRITERS)]
    for number in range(rounds(3, 60)):
        cycle(data_dir, number, names)
        if number % 20 == 19:
            assert admin(data_dir, "fsck")["problems"] == []
    with server_process(data_dir, "--token", TOKEN) as server:
        check(server, names)
    admin(data_dir, "gc")
    checked = admin(data_dir, "fsck")
    assert checked["problems"] == []
    files = [path for path in (data_dir / "blobs").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) == checked["bytes_checked"]
    assert len(files) == checked["blobs_checked"]
    assert admin(data_dir, "gc") == {"blobs_removed": 0, "bytes_removed": 0, "temporary_removed": 0}
