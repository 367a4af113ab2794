"""Clients that write and read all the time, and know what they were promised."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import requests

from tests.scenarios.server.test_kill import Uploaded

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = 4
SIZES = (1, 700, 40_000, 300_000, 1_000_000)
GATEWAY = {502, 504}
"""What nginx answers by itself where a worker is gone."""


class Client(threading.Thread):
    """Uploads to names of its own, and reads them, one request after the other, until it is told to stop.

    Parameters
    ----------
    url : str
        The server.
    token : str
        The token.
    number : int
        Which one of several it is.

    Attributes
    ----------
    uploads : dict of str to Uploaded
        What each name may hold.
    statuses : Counter
        How many answers of each status it got; 0 for connections that broke.
    wrong : list of str
        What must not have happened.
    """

    def __init__(self, url: str, token: str, number: int) -> None:
        super().__init__(daemon=True)
        self.uploads = {f"{number} {name}": Uploaded() for name in range(NAMES)}
        self.statuses: Counter[int] = Counter()
        self.acknowledged = 0
        self.wrong: list[str] = []
        self.stopping = threading.Event()
        self._url = f"{url}/api/1/files/"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Token {token}"
        self._random = random.Random(number)

    def run(self) -> None:
        """Go on until it is told to stop."""
        while not self.stopping.is_set():
            name = self._random.choice(list(self.uploads))
            if self._random.random() < 0.7:
                self._upload(name)
            else:
                self.read(name)

    def read(self, name: str) -> bool:
        """Read a name, and compare; return whether there was an answer."""
        answer = self._ask("GET", "download/", params={"path": name})
        if answer is None or answer.status_code not in {200, 404}:
            return False
        found = hashlib.sha256(answer.content).hexdigest() if answer.status_code == 200 else None
        if not self.uploads[name].holds(found):
            self.wrong.append(f"{name}: not what was acknowledged ({answer.status_code})")
        return True

    def _upload(self, name: str) -> None:
        content = self._random.randbytes(self._random.choice(SIZES))
        digest = hashlib.sha256(content).hexdigest()
        upload = self.uploads[name]
        upload.underway.add(digest)
        answer = self._ask(
            "POST",
            "upload/",
            files={"json": (None, json.dumps({"name": name})), "file": ("file", content)},
            headers={"Idempotency-Key": uuid4().hex},
        )
        if answer is not None and answer.status_code == 201:
            upload.acknowledged.append(digest)
            upload.underway.clear()
            self.acknowledged += 1

    def _ask(self, method: str, path: str, **options: object) -> requests.Response | None:
        try:
            answer = self._session.request(method, self._url + path, timeout=90, **options)  # type: ignore[arg-type]
        except requests.RequestException:
            self.statuses[0] += 1
            return None
        status = answer.status_code
        self.statuses[status] += 1
        if status == 503 and not answer.headers.get("Retry-After"):
            self.wrong.append(f"{method} {path}: 503 without Retry-After: {answer.text[:200]}")
        if status not in {200, 201, 404, 503, *GATEWAY}:
            self.wrong.append(f"{method} {path}: {status} {answer.text[:300]}")
        if status != 200 and status != 201 and status != 404:
            self.stopping.wait(0.05)
        return answer


@contextmanager
def load(url: str, token: str, count: int = 4) -> Iterator[list[Client]]:
    """Have clients write and read; afterwards, nothing must have been wrong."""
    clients = [Client(url, token, number) for number in range(count)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(120)
    assert [line for client in clients for line in client.wrong] == []


def check(clients: list[Client]) -> None:
    """Read everything back."""
    for client in clients:
        for name in client.uploads:
            assert client.read(name), name
        assert client.wrong == []
