"""SHA-256 of large contents: taken after the answer, and lost by nothing."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from rinofs.server.api.calls import known_contents
from rinofs.server.blobs.store import SHA256_AT_ONCE
from rinofs.server.catalog.records import NewObject, Record, User
from rinofs.server.maintenance import fsck, take_sha256s
from rinofs.testing import live_server
from tests.server.client import Api
from tests.waiting import wait_until

if TYPE_CHECKING:
    from rinofs.server.services import Services

LARGE = os.urandom(3 * SHA256_AT_ONCE + 1)
SHA256 = hashlib.sha256(LARGE).hexdigest()


def store(services: Services, user: User, name: str, content: bytes) -> Record:
    with services.blobs.new_upload() as upload:
        upload.write(content)
        with known_contents(services, [upload.finish()]) as (blob,):
            return services.store.upload(user, NewObject(None, name), blob)


def taken(services: Services, user: User, name: str) -> str | None:
    return services.store.get(user, [name]).sha256


def test_it_comes_later_and_nothing_else_changes() -> None:
    with live_server() as server:
        api = Api(server.endpoint_url, server.token)
        small, large = api.file("small", LARGE[:SHA256_AT_ONCE]), api.file("large", LARGE)
        assert small["sha256"] == hashlib.sha256(LARGE[:SHA256_AT_ONCE]).hexdigest()
        assert large["blake3"] == blake3(LARGE).hexdigest()
        assert "sha256" not in large

        def record() -> Any:
            return api.ok("files/get_metadata", {"id": large["id"]})

        wait_until(lambda: "sha256" in record())
        assert record() == {**large, "sha256": SHA256}
        for name, digest in (("sha256", SHA256), ("blake3", large["blake3"])):
            found = api.ok("files/query", {"query": {name: digest}})["result"]
            assert [one["name"] for one in found] == ["large"]
            others = api.ok("files/query", {"query": {name: {"$ne": digest}}})["result"]
            assert [one["name"] for one in others] == ["small"]


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from rinofs.server import maintenance
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings

services = open_services(ServerSettings(Path(sys.argv[1]), database_url=sys.argv[2] or None))
pieces = 0

class Killing:
    def __init__(self, digest):
        self._digest = digest

    def update(self, data):
        global pieces
        pieces += 1
        if pieces == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        self._digest.update(data)

sha256 = maintenance.hashlib.sha256
maintenance.hashlib.sha256 = lambda: Killing(sha256())
maintenance.take_sha256s(services, threading.Event())
"""


def test_a_server_that_was_killed_goes_on_at_its_next_start(services: Services, user: User) -> None:
    data_dir = services.settings.data_dir
    store(services, user, "large", LARGE)
    command = [sys.executable, "-c", KILLED, str(data_dir), services.settings.database_url or ""]
    assert subprocess.run(command, timeout=120, check=False).returncode == -signal.SIGKILL
    assert taken(services, user, "large") is None
    with live_server(data_dir=data_dir):
        wait_until(lambda: taken(services, user, "large") is not None)
    assert taken(services, user, "large") == SHA256


def test_what_is_damaged_gets_none_and_holds_nothing_up(services: Services, user: User) -> None:
    damaged = store(services, user, "damaged", LARGE)
    missing = store(services, user, "missing", LARGE[1:])
    store(services, user, "whole", LARGE[2:])
    assert damaged.key is not None
    assert missing.key is not None
    path = services.blobs.local_path(damaged.key)
    assert path is not None
    path.write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
    services.blobs.remove([missing.key], lambda _keys: set())
    with live_server(data_dir=services.settings.data_dir):
        wait_until(lambda: taken(services, user, "whole") is not None)
    assert taken(services, user, "whole") == hashlib.sha256(LARGE[2:]).hexdigest()
    assert (taken(services, user, "damaged"), taken(services, user, "missing")) == (None, None)
    problems = fsck(services).problems
    assert {name for name in ("damaged", "missing") for one in problems if f" is {name}" in one} == {
        "damaged",
        "missing",
    }
    assert len(problems) == 2
    assert taken(services, user, "damaged") is None


def test_a_server_ends_while_a_digest_is_taken(services: Services, user: User) -> None:
    store(services, user, "large", LARGE)
    stopping = threading.Event()
    opened = services.blobs.open_range
    services.blobs.open_range = lambda *args: (stopping.set(), opened(*args))[1]  # type: ignore[method-assign]
    take_sha256s(services, stopping)
    assert taken(services, user, "large") is None
