"""Killing server and S3 store at any moment, and collecting all the time: what was acknowledged stays."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from rinofs.server.blobs.bucket import Bucket
from rinofs.server.catalog import blob_rows
from rinofs.server.maintenance import fsck, gc
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import live_server, server_process
from tests.campaign import rounds
from tests.scenarios.server.test_kill import NAMES, TOKEN, WRITERS, Uploaded, check, cycle
from tests.server.client import Api
from tests.server.conftest import s3_url, shared_seaweed
from tests.server.seaweed import BUCKET, seaweed
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.server.services import Services
    from rinofs.testing import LiveServer

__all__ = ["s3_url", "shared_seaweed"]


def all_is_well(services: Services, url: str) -> None:
    """Check that every content is whole, and that the bucket has no others after a collection."""
    assert fsck(services).problems == ()
    gc(services)
    assert fsck(services).problems == ()
    rows = {row.key for row in blob_rows.all_rows(services.database)}
    assert {key for key, _, _ in Bucket(url).objects("c")} == rows


@pytest.mark.soak
@pytest.mark.timeout(rounds(600, 1200))
@pytest.mark.parametrize("campaign", range(rounds(1, 4)))
def test_the_server_is_killed(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, campaign: int
) -> None:
    monkeypatch.setenv("RINOFS_BLOBS", s3_url)
    data = tmp_path / "data"
    names = [{f"{writer} {number}": Uploaded() for number in range(NAMES)} for writer in range(WRITERS)]
    for number in range(rounds(7, 50)):
        cycle(data, 1000 * campaign + number, names)
    with server_process(data, "--token", TOKEN) as server:
        check(server, names)
    services = open_services(ServerSettings(data, gc_delay=0))
    all_is_well(services, s3_url)
    services.close()


@pytest.mark.s3
@pytest.mark.soak
@pytest.mark.timeout(rounds(600, 1200))
def test_the_store_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"s3://{BUCKET}/killed"
    with seaweed() as store:
        store.sync_always()
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        with live_server(
            data_dir=tmp_path, configure=lambda settings: replace(settings, blobs_url=url)
        ) as server:
            kept: dict[str, str] = {}
            stop = threading.Event()
            writers = [
                threading.Thread(target=upload_until, args=(stop, server.endpoint_url, server.token, n, kept))
                for n in range(WRITERS)
            ]
            for writer in writers:
                writer.start()
            chance = random.Random(0)
            for _ in range(rounds(3, 50)):
                count = len(kept)
                wait_until(lambda count=count: len(kept) > count + 3)
                time.sleep(chance.uniform(0, 0.3))
                store.stop()
                store.start()
            stop.set()
            for writer in writers:
                writer.join()
            api = Api(server.endpoint_url, server.token)
            for name, digest in kept.items():
                answer = api.session.get(api.url("files/download"), params={"path": name}, timeout=60)
                assert answer.status_code == 200
                assert hashlib.sha256(answer.content).hexdigest() == digest
            services = open_services(ServerSettings(tmp_path, gc_delay=0))
            gc(server._services)
            all_is_well(services, url)
            services.close()


def upload_until(
    stop: threading.Event, endpoint_url: str, token: str, number: int, kept: dict[str, str]
) -> None:
    api, chance = Api(endpoint_url, token), random.Random(number)
    while not stop.is_set():
        content = chance.randbytes(chance.choice((10, 40_000, 1_000_000, 9_000_000)))
        name = f"{number}-{chance.getrandbits(64)}"
        with suppress(requests.RequestException):
            answer = api.upload(content, name=name)
            assert answer.status_code in {201, 503}, answer.text
            if answer.status_code == 201:
                kept[name] = hashlib.sha256(content).hexdigest()
            else:
                stop.wait(0.1)


CONTENTS = [random.Random(number).randbytes(number * 1000 + 1) for number in range(40)]


def change_until(moment: float, server: LiveServer, number: int) -> None:
    """Upload and delete a few contents again and again, and look whether they are right."""
    api, chance = Api(server.endpoint_url, server.token), random.Random(number)
    mine: dict[int, bytes] = {}
    while time.monotonic() < moment:
        if len(mine) > 5 or (mine and chance.random() < 0.3):
            gone = chance.choice(list(mine))
            assert api.content(gone) == mine.pop(gone)
            api.ok("files/delete", {"id": gone}, 204)
        else:
            content = chance.choice(CONTENTS)
            mine[api.file(f"{number} {chance.getrandbits(64)}", content)["id"]] = content
    for kept, content in mine.items():
        assert api.content(kept) == content


def collect_until(moment: float, server: LiveServer) -> None:
    """Collect every second, in the server and beside it."""
    other = open_services(ServerSettings(server.data_dir, gc_delay=0))
    while time.monotonic() < moment:
        for services in (server._services, other):
            gc(services)
        time.sleep(1)
    other.close()


@pytest.mark.soak
@pytest.mark.timeout(rounds(600, 1200))
def test_collecting_all_the_time(s3_url: str, tmp_path: Path) -> None:
    until = time.monotonic() + rounds(20, 600)
    with (
        live_server(
            data_dir=tmp_path, configure=lambda settings: replace(settings, blobs_url=s3_url, gc_delay=0)
        ) as server,
        ThreadPoolExecutor(5) as threads,
    ):
        work = [threads.submit(change_until, until, server, number) for number in range(4)]
        work.append(threads.submit(collect_until, until, server))
        for done in work:
            done.result()
        gc(server._services)
        all_is_well(server._services, s3_url)
