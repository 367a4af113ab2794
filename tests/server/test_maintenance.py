from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rinofs.server.catalog.listings import PageRequest
from rinofs.server.catalog.records import NewObject, Record, User
from rinofs.server.maintenance import GcReport, fsck, gc
from tests.campaign import rounds

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.server.services import Services


def upload(services: Services, user: User, name: str, content: bytes) -> Record:
    with services.blobs.new_upload() as sent:
        sent.write(content)
        return services.store.upload(user, NewObject(None, name), sent.finish())


def path_of(services: Services, record: Record) -> Path:
    assert record.key is not None
    return services.blobs.local_path(record.key)


def test_only_what_nobody_refers_to_is_collected(services: Services, user: User) -> None:
    kept = upload(services, user, "kept", b"kept")
    gone = upload(services, user, "gone", b"gone!")
    shared = upload(services, user, "shared", b"shared")
    (copied,) = services.store.copy(user, [shared.id], None, "copied")
    old = upload(services, user, "versions", b"old")
    upload(services, user, "versions", b"new")
    services.store.delete(user, [gone.id, shared.id])
    assert gc(services) == GcReport(blobs_removed=1, bytes_removed=5, temporary_removed=0)
    assert gc(services) == GcReport(0, 0, 0)
    for record in (kept, copied, old):
        assert path_of(services, record).exists()
    assert not path_of(services, gone).exists()
    services.store.delete(
        user, [services.store.get(user, [name]).id for name in ("kept", "copied", "versions")]
    )
    assert gc(services).blobs_removed == 4
    assert list(services.blobs.stored()) == []


def test_what_an_upload_is_about_to_refer_to_stays(services: Services, user: User) -> None:
    with services.blobs.new_upload() as sent:
        sent.write(b"leased")
        blob = sent.finish()
        assert gc(services) == GcReport(0, 0, 0)
        record = services.store.upload(user, NewObject(None, "a"), blob)
    assert gc(services) == GcReport(0, 0, 0)
    assert path_of(services, record).read_bytes() == b"leased"
    with services.blobs.new_upload() as sent:
        sent.write(b"never referred to")
        sent.finish()
    assert gc(services) == GcReport(1, 17, 0)


COLLECT = """
import sys
from pathlib import Path
from rinofs.server.catalog.listings import PageRequest
from rinofs.server.maintenance import gc
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
services = open_services(ServerSettings(Path(sys.argv[1])))
print("ready", flush=True)
removed = 0
while True:
    for _ in range(5):
        removed += gc(services).blobs_removed
    print(removed, flush=True)
"""


def test_collecting_in_two_processes_never_takes_what_was_acknowledged(
    services: Services, user: User
) -> None:
    """Uploads of few contents under few names, deleted again and again, while everything is collected."""
    stop = threading.Event()
    command = [sys.executable, "-c", COLLECT, str(services.settings.data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other, ThreadPoolExecutor(5) as pool:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        collecting = pool.submit(collect_until, services, stop)
        try:
            writers = [pool.submit(write, services, user, seed, rounds(120, 1_500)) for seed in range(4)]
            lost = [problem for writer in writers for problem in writer.result()]
            told = [other.stdout.readline()]  # after five collections, however busy the machine is
        finally:
            stop.set()
            other.kill()
        told += other.stdout.read().splitlines()
    assert lost == []
    assert int(told[-1]) + collecting.result() > 0
    assert fsck(services).problems == ()
    gc(services)
    live = {services.store.get(user, item["id"]).key for item in shown(services, user)}
    assert {key for key, _ in services.blobs.stored()} == live


def collect_until(services: Services, stop: threading.Event) -> int:
    removed = 0
    while not stop.is_set():
        removed += gc(services).blobs_removed
    return removed


def write(services: Services, user: User, seed: int, count: int) -> list[str]:
    problems = []
    for number in range(count):
        content = b"content %d" % ((number * 7 + seed) % 3)
        record = upload(services, user, f"writer {seed}", content)
        try:
            if path_of(services, record).read_bytes() != content:
                problems.append(f"object {record.id} has another content")
        except FileNotFoundError:
            problems.append(f"object {record.id} has no content")
        if number % 2 and number < count - 1:
            services.store.delete(user, [record.id])
    return problems


def shown(services: Services, user: User) -> list[dict[str, int]]:
    pieces = services.store.children(user, None, PageRequest(1000)).pieces()
    found: list[dict[str, int]] = []
    for piece in pieces:
        for item in piece:
            found.append({"id": item.record.id})
            found += [{"id": int(n)} for n in item.record.versions.strip("[]").split(",") if n]
    return found


def test_all_is_well(services: Services, user: User) -> None:
    upload(services, user, "a", b"12345")
    upload(services, user, "b", b"12345")
    upload(services, user, "c", b"")
    report = fsck(services)
    assert report.problems == ()
    assert (report.objects_checked, report.blobs_checked, report.bytes_checked) == (3, 2, 5)


@pytest.mark.parametrize("damage", ["flip", "shorten", "lengthen", "remove"])
def test_a_damaged_content_is_named_with_its_objects(services: Services, user: User, damage: str) -> None:
    content = os.urandom(100_000)
    fine = upload(services, user, "fine", b"fine")
    one, two = upload(services, user, "one", content), upload(services, user, "two", content)
    path = path_of(services, one)
    if damage == "flip":
        flipped = bytearray(content)
        flipped[50_000] ^= 1
        path.write_bytes(flipped)
    elif damage == "shorten":
        os.truncate(path, 99_999)
    elif damage == "lengthen":
        os.truncate(path, 100_001)
    else:
        path.unlink()
    (problem,) = fsck(services).problems
    assert f"content {one.key} (of object {one.id}, object {two.id})" in problem
    assert ("missing" if damage == "remove" else "damaged") in problem
    assert str(fine.key) not in problem


def test_every_single_byte_flipped_is_found(services: Services, user: User) -> None:
    content = os.urandom(64)
    path = path_of(services, upload(services, user, "a", content))
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert len(fsck(services).problems) == 1
    path.write_bytes(content)
    assert fsck(services).problems == ()


def test_rows_that_make_no_sense_are_named(services: Services, user: User) -> None:
    file = upload(services, user, "file", b"1")
    wrong = upload(services, user, "wrong", b"22")
    stray = upload(services, user, "stray", b"333")
    lost = services.store.create_folder(user, NewObject(None, "lost"))
    bare = upload(services, user, "bare", b"4444")
    orphan = upload(services, user, "orphan", b"55555")
    # A connection of the server's own would refuse the last one of these.
    with sqlite3.connect(services.settings.data_dir / "rinofs.sqlite3") as database:
        database.execute("UPDATE objects SET size = 99 WHERE id = ?", [wrong.id])
        database.execute("UPDATE objects SET parent = ? WHERE id = ?", [file.id, stray.id])
        database.execute("UPDATE objects SET parent = id WHERE id = ?", [lost.id])
        database.execute("UPDATE objects SET blob = NULL, metadata = '{' WHERE id = ?", [bare.id])
        database.execute("UPDATE objects SET parent = 1000000 WHERE id = ?", [orphan.id])
    database.close()
    problems = fsck(services).problems
    expected = {
        f"object {wrong.id}: its size or etag is not that of its content",
        f"object {stray.id}: its parent is not a folder of its owner",
        f"object {lost.id}: no path leads to it from the top level",
        f"object {bare.id}: a file without content",
        f"object {bare.id}: its metadata are not JSON",
        f"object {orphan.id}: no path leads to it from the top level",
        f"database: row {orphan.id} of objects refers to a missing row of objects",
    }
    assert expected <= set(problems)
    assert len(problems) == len(expected)
