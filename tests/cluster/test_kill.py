"""Workers, the database and the store end at any moment: what was acknowledged is there, and whole."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.campaign import rounds
from tests.cluster.load import check, load
from tests.cluster.processes import TOKEN, Cluster, cluster
from tests.postgres import postgres
from tests.server.seaweed import seaweed
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.load import Client

READY = rounds(120, 10)
"""Seconds after which workers answer again when what they depend on has come back."""


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with postgres() as database, seaweed() as store:
        store.sync_always()
        with cluster(database, store, rounds(2, 3)) as made:
            yield made


def pause(least: float, most: float) -> None:
    time.sleep(random.uniform(least, most))


def kill_a_worker(running: Cluster) -> None:
    worker = random.choice(running.workers)
    worker.kill()
    pause(0, 0.3)
    worker.start()


def stop_the_database(running: Cluster) -> None:
    running.database.stop("immediate")
    pause(0, 1)
    running.database.start()
    running.ready_within(READY)


def kill_the_store(running: Cluster) -> None:
    running.store.stop()
    pause(0, 1)
    running.store.start()
    running.ready_within(READY)


def cut_off(running: Cluster, which: int) -> None:
    wire = random.choice(running.wires)[which]
    wire.cut(silently=random.random() < 0.5)
    pause(0.5, 5)
    wire.mend()
    running.ready_within(READY)


def go_on(clients: list[Client], more: int = 3) -> None:
    """Wait until some more uploads are acknowledged."""
    wanted = sum(client.acknowledged for client in clients) + more
    wait_until(lambda: sum(client.acknowledged for client in clients) >= wanted)


@pytest.mark.soak
@pytest.mark.timeout(rounds(600, 3600))
def test_whatever_ends_nothing_is_lost(running: Cluster) -> None:
    random.seed(5)
    faults: list[Callable[[Cluster], None]] = [
        *[kill_a_worker] * rounds(10, 200),
        *[stop_the_database] * rounds(1, 20),
        *[kill_the_store] * rounds(1, 20),
        *[lambda running: cut_off(running, 0)] * rounds(1, 10),
        *[lambda running: cut_off(running, 1)] * rounds(1, 10),
    ]
    random.shuffle(faults)
    with load(running.url, TOKEN) as clients:
        for fault in faults:
            go_on(clients)
            fault(running)
        go_on(clients)
    check(clients)
    assert running.admin("fsck")["problems"] == []
    running.admin("gc")
    assert running.admin("fsck")["problems"] == []
    check(clients)
    assert running.failures() == []
