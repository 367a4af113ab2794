"""Edits and uploads of one datapack by several threads, of which some are interrupted."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rinofs.repovizz.documents.queues import Job, Queues
from tests.few_threads import finished
from tests.interrupts import is_interrupted
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


def job() -> Job:
    return Job(lambda document: document, "label")


def commit(jobs: list[Job]) -> None:
    assert jobs
    for one in jobs:
        one.finish(None)


def edit(queues: Queues) -> None:
    mine = job()
    queues.work("pack", mine, commit)
    assert mine.done


def upload(queues: Queues) -> None:
    with queues.uploading("pack"):
        pass


def work_alone(queues: Queues) -> None:
    with queues.alone("pack"):
        pass


@pytest.mark.parametrize("work", [edit, upload, work_alone])
def test_what_is_interrupted_anywhere_keeps_no_others_waiting(work: Callable[[Queues], None]) -> None:
    for number in itertools.count():
        queues = Queues()
        release, held = threading.Event(), threading.Event()

        def hold(queues: Queues = queues, held: Any = held, release: Any = release) -> None:
            with queues.uploading("pack"):  # so that the datapack has a queue all the time
                held.set()
                release.wait(60)

        holder = threading.Thread(target=hold)
        if work is upload:  # which needs not wait for the holder
            holder.start()
            held.wait(60)
        interrupted = is_interrupted(lambda queues=queues: work(queues), number, _in_queues)  # type: ignore[misc]
        if work is not upload:
            holder.start()
            held.wait(60)
        upload(queues)
        waiting = threading.Thread(target=edit, args=(queues,), daemon=True)
        waiting.start()
        wait_until(lambda queues=queues: queues._queues["pack"].waiting)  # type: ignore[misc]
        release.set()
        holder.join()
        waiting.join(60)
        assert not waiting.is_alive()
        for other in (edit, upload, work_alone):
            finished(lambda other=other, queues=queues: other(queues))  # type: ignore[misc]
        assert not queues._queues
        if not interrupted:
            break
    assert number > 3


def _in_queues(module: str) -> bool:
    return module == "rinofs.repovizz.documents.queues"


def test_an_edit_that_is_interrupted_while_it_waits_keeps_no_uploads_waiting() -> None:
    queues = Queues()
    release, held = threading.Event(), threading.Event()

    def hold() -> None:
        with queues.uploading("pack"):
            held.set()
            release.wait(60)

    class Interrupted(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    before, queues._changed = queues._changed, Interrupted(queues._lock)
    with pytest.raises(KeyboardInterrupt):
        queues.work("pack", job(), commit)
    queues._changed = before
    finished(lambda: upload(queues))
    release.set()
    holder.join()
    wait_until(lambda: not queues._queues)
