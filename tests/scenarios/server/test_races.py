"""Three workers on one PostgreSQL, and many clients that change the same things at the same moment."""

from __future__ import annotations

import math
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import func, select

from rinofs.server.auth.throttle import FREE_ATTEMPTS
from rinofs.server.blobs.bucket import Bucket
from rinofs.server.catalog.integrity import check_rows
from rinofs.server.catalog.tables import oauth_grants, objects
from rinofs.server.maintenance import fsck, gc
from rinofs.server.services import Services, open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing.process import COMMAND, ServerProcess, server_process
from tests.campaign import rounds
from tests.postgres import shared
from tests.server.client import Api
from tests.server.conftest import s3_url, shared_seaweed
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rinofs.server.catalog.records import User

__all__ = ["s3_url", "shared_seaweed"]

WORKERS, CLIENTS = 3, 8

pytestmark = [pytest.mark.soak, pytest.mark.timeout(rounds(300, 3600))]


@dataclass(frozen=True)
class Workers:
    """The workers, and the services of this process on the same database."""

    services: Services
    urls: Sequence[str]

    def user(self, name: str, password: str | None = None) -> tuple[User, list[Api]]:
        """Make a user; return it with the API of each worker."""
        user = self.services.accounts.add_user(name, password=password)
        token = self.services.accounts.tokens.create(user)
        return user, [Api(url, token) for url in self.urls]

    def at_once(self, work: Callable[[str], Any], times: int = 1) -> list[Any]:
        """Call something at the same moment with the URL of each worker, or several times with each."""
        start = threading.Barrier(times * len(self.urls))

        def begin(url: str) -> Any:
            start.wait()
            return work(url)

        with ThreadPoolExecutor(start.parties) as pool:
            return list(pool.map(begin, times * list(self.urls)))


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    data, url = tmp_path_factory.mktemp("workers"), shared().new_database(schema=True)
    services = open_services(ServerSettings(data, database_url=url))
    with ExitStack() as stack:
        stack.callback(services.close)
        with ThreadPoolExecutor(WORKERS) as pool:
            started = [server_process(data, "--database", url) for _ in range(WORKERS)]
            servers = list(pool.map(stack.enter_context, started))
        yield Workers(services, [server.endpoint_url for server in servers])
        assert [server.errors() for server in servers] == [""] * WORKERS


def repeated(send: Callable[[], requests.Response]) -> requests.Response:
    """Send a request, once more where the server was busy, as clients do: a 503 has changed nothing."""
    for _ in range(20):
        answer = send()
        if answer.status_code != 503:
            break
        assert int(answer.headers["Retry-After"]) > 0
        time.sleep(0.2)
    return answer


def exchange(form: Mapping[str, str | None], url: str) -> requests.Response:
    """Exchange a code or a refresh token."""
    return repeated(lambda: requests.post(f"{url}/oauth/token", dict(form), timeout=60))


class Client:
    """Changes one folder by way of one worker, and remembers what was acknowledged.

    Parameters
    ----------
    api : Api
        The worker.
    number : int
        Which of the clients it is.
    seen : list of int
        The folder, and objects in it that any of the clients has made or moved.
    shared_object, log : int
        An object whose metadata all of them change, and a file that all of them append to.
    """

    def __init__(self, api: Api, number: int, seen: list[int], shared_object: int, log: int) -> None:
        self._api = Api(api.endpoint_url, str(api.session.headers["Authorization"]).partition(" ")[2])
        self._random = random.Random(number)
        self._folder = seen[0]
        self._shared = shared_object
        self._log = log
        self._seen = seen
        self.key = f"of {number}"
        self.merged: int | None = None
        self.versions: set[int] = set()
        self.appended: list[str] = []
        self.answers: Counter[int] = Counter()

    def run(self, operations: int) -> None:
        choices = (self.merge, self.merge, self.version, self.make_folder, self.move, self.move)
        choices += (self.append, self.rename, self.copy, self.create, self.delete)
        for count in range(operations):
            self._random.choice(choices)(count)

    def merge(self, count: int) -> None:
        if self._post("files/update", {"id": self._shared, self.key: count}).status_code == 200:
            self.merged = count

    def version(self, count: int) -> None:
        content = f"{self.key} {count}".encode()
        answer = self._noted(
            lambda: self._api.upload(content, name="f", parent=self._folder, new_version=True)
        )
        if answer.status_code == 201:
            self.versions.add(answer.json()["id"])

    def append(self, count: int) -> None:
        line = f"{self.key} {count}"
        if self._post("files/append", {"id": self._log, "chunk": f"{line}\n"}).ok:
            self.appended.append(line)

    def make_folder(self, _count: int) -> None:
        self._see(self._post("files/create_folder", {"name": self._name(), "parent": self._any()}))

    def create(self, _count: int) -> None:
        self._see(self._post("files/create_object", {"name": self._name(), "parent": self._any()}))

    def move(self, _count: int) -> None:
        self._see(self._post("files/move", {"items": [self._any(but=1)], "parent": self._any()}))

    def rename(self, _count: int) -> None:
        self._post("files/update", {"id": self._any(but=1), "name": self._name()})

    def copy(self, _count: int) -> None:
        body = {"items": [self._any(but=1)], "parent": self._folder, "name": self._name()}
        self._see(self._post("files/copy", body))

    def delete(self, _count: int) -> None:
        if self._random.random() < 0.5:  # else little would be left
            self._post("files/delete", {"id": self._any(but=1)})

    def _name(self) -> str:
        return f"n{self._random.randrange(12)}"

    def _any(self, but: int = 0) -> int:
        """Return the folder, or one of the latest objects; 0 where there is none."""
        return self._random.choice(self._seen[but:][-20:] or [0])

    def _post(self, endpoint: str, body: dict[str, Any]) -> requests.Response:
        return self._noted(lambda: self._api.post(endpoint, body))

    def _noted(self, send: Callable[[], requests.Response]) -> requests.Response:
        answer = repeated(send)
        self.answers[answer.status_code] += 1
        assert answer.status_code in {200, 201, 204, 400, 404, 409}, answer.text
        return answer

    def _see(self, answer: requests.Response) -> None:
        if answer.ok:
            body = answer.json()
            self._seen += [one["id"] for one in body.get("result", [body])]


def test_nothing_is_there_twice_or_lost_or_below_itself(workers: Workers) -> None:
    user, apis = workers.user("ada")
    folder, shared_object = (
        apis[0].folder("d")["id"],
        apis[0].ok("files/create_object", {"name": "m"}, 201)["id"],
    )
    seen, log = [folder], apis[0].file("log")["id"]
    clients = [Client(apis[n % WORKERS], n, seen, shared_object, log) for n in range(WORKERS * CLIENTS)]
    with ThreadPoolExecutor(len(clients)) as pool:
        operations = math.ceil(rounds(480, 10_000) / len(clients))
        for done in [pool.submit(client.run, operations) for client in clients]:
            done.result()
    answered = sum((client.answers for client in clients), Counter[int]())
    assert answered[200] > rounds(50, 500)
    assert answered[201] > rounds(30, 500)
    services = workers.services
    assert check_rows(services.database)[1] == []
    metadata = apis[0].ok("files/get_metadata", {"id": shared_object})["metadata"]
    assert {client.key: metadata.get(client.key) for client in clients} == {
        client.key: client.merged for client in clients
    }
    lines = apis[0].content(log).decode().splitlines()
    assert sorted(lines) == sorted(line for client in clients for line in client.appended)
    current = services.store.get(user, ("d", "f"))
    made = set().union(*(client.versions for client in clients))
    assert {current.id, *apis[0].ok("files/get_metadata", {"id": current.id})["versions"]} == made
    of_folder = objects.c.owner == user.id, objects.c.version_of.is_(None)
    names = select(func.count()).where(*of_folder).group_by(objects.c.parent, objects.c.name)
    with services.database.read() as connection:
        assert set(connection.scalars(names)) == {1}
    gc(services)
    assert fsck(services).problems == ()


def test_each_code_is_redeemed_once(workers: Workers) -> None:
    user, _ = workers.user("grace")
    client, secret = workers.services.clients.add("a program", ["https://lab.example/back"])
    for number in range(rounds(20, 500)):
        code = f"code-{number}"
        workers.services.grants.add_code(
            code,
            user,
            client.client_id,
            redirect_uri=client.redirect_uris[0],
            scope="datapacks",
            challenge=None,
        )
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uris[0],
            "client_id": client.client_id,
            "client_secret": secret,
        }
        answers = workers.at_once(partial(exchange, form), 2)
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses == {200: 1, 400: len(answers) - 1}, [answer.text for answer in answers]
    with workers.services.database.read() as connection:  # who sent a code twice has given itself away
        mine = select(func.count()).where(oauth_grants.c.user == user.id)
        assert connection.scalar(mine) == 0


def test_a_refresh_token_is_exchanged_for_one_generation(workers: Workers) -> None:
    user, _ = workers.user("hedy")
    client, secret = workers.services.clients.add("a program", ["https://lab.example/back"])
    credentials = {"client_id": client.client_id, "client_secret": secret}
    workers.services.grants.add_code(
        "once",
        user,
        client.client_id,
        redirect_uri=client.redirect_uris[0],
        scope="datapacks",
        challenge=None,
    )
    form = {"grant_type": "authorization_code", "code": "once", "redirect_uri": client.redirect_uris[0]}
    token = exchange({**form, **credentials}, workers.urls[0]).json()
    for generation in range(1, rounds(4, 50) + 1):
        form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"], **credentials}
        answers = workers.at_once(partial(exchange, form))
        assert [answer.status_code for answer in answers] == [200] * WORKERS
        with workers.services.database.read() as connection:
            wanted = select(oauth_grants.c.generation).where(oauth_grants.c.user == user.id)
            assert connection.scalars(wanted).all() == [generation]
        token = answers[generation % WORKERS].json()


@pytest.mark.parametrize("kind", ["upload", "create_folder"])
def test_each_key_is_one_request(workers: Workers, kind: str) -> None:
    user, apis = workers.user(f"joan {kind}")
    token = apis[0].session.headers["Authorization"]
    for number in range(rounds(20, 250)):
        headers = {"Authorization": token, "Idempotency-Key": f"key-{number}"}
        fields = {"name": f"f{number}", "new_version": True}

        def send(url: str, headers: Any = headers, fields: Any = fields) -> requests.Response:
            body = {"json": fields}
            if kind == "upload":
                body = {
                    "files": {
                        "json": (None, f'{{"name": "{fields["name"]}", "new_version": true}}'),
                        "file": b"x",
                    }
                }
            where = f"{url}/api/1/files/{kind}/"
            return repeated(lambda: requests.post(where, headers=headers, timeout=60, **body))

        answers = workers.at_once(send, 2)
        assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
        assert len({answer.content for answer in answers}) == 1
    with workers.services.database.read() as connection:
        mine = select(func.count()).where(objects.c.owner == user.id)
        assert connection.scalar(mine) == rounds(20, 250)


def test_three_workers_look_at_no_more_wrong_passwords_than_one(workers: Workers) -> None:
    workers.user("eve", password="difference engine")
    form = {"grant_type": "password", "username": "eve", "password": "wrong"}
    start = time.monotonic()

    def guess(url: str) -> list[int]:
        return [requests.post(f"{url}/o/token/", form, timeout=60).status_code for _ in range(rounds(3, 30))]

    answers = Counter(status for each in workers.at_once(guess, 4) for status in each)
    assert set(answers) <= {400, 429, 503}  # wrong, too many wrong ones, too many at once
    assert answers[429]
    # After those that are free, one waits for a second, and then for twice as long each time.
    later = math.log2(time.monotonic() - start + 1) + 1
    assert FREE_ATTEMPTS <= answers[400] <= FREE_ATTEMPTS + later


LEASE = 2.0
_WORKER = f"""
from functools import partial
from rinofs.server import settings
settings.ServerSettings = partial(settings.ServerSettings, worker_lease={LEASE})
{COMMAND[2]}
"""


@contextmanager
def worker(*arguments: str) -> Iterator[ServerProcess]:
    """Run a worker that is soon taken to be gone."""
    command = [*COMMAND[:2], _WORKER, "serve", "--port", "0", *arguments]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            yield ServerProcess(process, errors)
        finally:
            process.kill()


def test_a_worker_that_was_stopped_for_too_long_commits_nothing(s3_url: str, tmp_path: Path) -> None:
    database = shared().new_database(schema=True)
    settings = ServerSettings(
        tmp_path / "own", database_url=database, blobs_url=s3_url, gc_delay=0, worker_lease=LEASE
    )
    services = open_services(settings)
    user = services.accounts.add_user("ada")
    token = services.accounts.tokens.create(user)
    with worker("--data", str(tmp_path / "w"), "--database", database, "--blobs", s3_url) as process:
        Api(process.endpoint_url, token).file("before", b"before")
        content = os.urandom(3 * 1024 * 1024)
        parts = urlsplit(process.endpoint_url)
        with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
            head = (
                f"POST /api/1/files/upload_binary/ HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                f"Authorization: Token {token}\r\nContent-Type: application/octet-stream\r\n"
                f'Rinocloud-API-Payload: {{"name": "late"}}\r\nContent-Length: {len(content)}\r\n\r\n'
            )
            connection.sendall(head.encode() + content[:-10])
            time.sleep(0.5)  # so that it is under way; whether it is changes nothing
            os.kill(process.pid, signal.SIGSTOP)
            try:
                time.sleep(LEASE + 2)
                gc(services)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            connection.sendall(content[-10:])
            answer = connection.makefile("rb").readline()
        assert answer.startswith(b"HTTP/1.1 503")
        assert [record.name for record in _all(services, user)] == ["before"]
        api = Api(process.endpoint_url, token)
        assert api.content(api.file("after", content)["id"]) == content  # under another name

        def two_left() -> bool:
            gc(services)
            return len(list(Bucket(s3_url).objects("c"))) == 2

        wait_until(two_left)
    assert fsck(services).problems == ()
    services.close()


def _all(services: Services, user: User) -> list[Any]:
    with services.database.read() as connection:
        return list(connection.execute(select(objects.c.name).where(objects.c.owner == user.id)))
