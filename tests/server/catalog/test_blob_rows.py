"""Contents and their rows: one content, one row, under whatever key the store has it."""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from rinofs.server.api.calls import known_contents
from rinofs.server.blobs.memory import MemoryBlobStore
from rinofs.server.catalog import blob_rows
from rinofs.server.catalog.records import NewObject, Record, User
from rinofs.server.catalog.tables import blobs
from rinofs.server.maintenance import fsck, gc
from rinofs.server.services import Services, open_services
from rinofs.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.server.blobs.store import Digests

CONTENT = os.urandom(100_000)


class KeysOfTheirOwn(MemoryBlobStore):
    """A store where each upload has a key of its own, as in an object store."""

    def key_of(self, digests: Digests) -> str:
        return f"{uuid.uuid4()} of {digests.size} bytes"


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Services]:
    opened = open_services(ServerSettings(tmp_path / "apart"), blobs=KeysOfTheirOwn())
    yield opened
    opened.close()


def store(services: Services, user: User, name: str, content: bytes, *, sha256: bool = False) -> Record:
    with services.blobs.new_upload(sha256=sha256) as upload:
        upload.write(content)
        with known_contents(services, [upload.finish()]) as (blob,):
            return services.store.upload(user, NewObject(None, name), blob)


def read(services: Services, record: Record) -> bytes:
    assert record.key is not None
    assert record.size is not None
    with services.blobs.open_range(record.key, record.size) as reader:
        return reader.read()


def rows(services: Services) -> list[blob_rows.BlobRow]:
    return list(blob_rows.all_rows(services.database))


def test_a_content_has_the_key_of_its_last_upload(apart: Services) -> None:
    user = apart.accounts.add_user("ada")
    first, second = store(apart, user, "a", CONTENT), store(apart, user, "b", CONTENT)
    assert first.blob == second.blob
    assert first.key != second.key == apart.store.get(user, first.id).key
    assert gc(apart).blobs_removed == 1  # what the first upload brought
    assert read(apart, second) == CONTENT
    assert fsck(apart).problems == ()


def test_what_was_lost_is_there_again_after_another_upload(apart: Services) -> None:
    user = apart.accounts.add_user("ada")
    first = store(apart, user, "a", CONTENT)
    assert first.key is not None
    apart.blobs.remove([first.key], lambda _keys: set())
    second = store(apart, user, "b", CONTENT)
    assert second.key != first.key
    assert second.blob == first.blob
    assert read(apart, apart.store.get(user, first.id)) == CONTENT
    assert fsck(apart).problems == ()


def test_what_two_upload_at_once_has_one_row(apart: Services) -> None:
    user = apart.accounts.add_user("ada")
    with apart.blobs.new_upload() as one, apart.blobs.new_upload() as other:
        for upload in (one, other):
            upload.write(CONTENT)
        with (
            known_contents(apart, [one.finish()]) as (first,),
            known_contents(apart, [other.finish()]) as (second,),
        ):
            made = [
                apart.store.upload(user, NewObject(None, name), blob)
                for name, blob in (("a", first), ("b", second))
            ]
    assert [row.key for row in rows(apart)] == [first.key]
    assert {read(apart, apart.store.get(user, record.id)) for record in made} == {CONTENT}
    assert gc(apart).blobs_removed == 1
    assert fsck(apart).problems == ()


def test_rows_go_with_the_last_reference(services: Services, user: User) -> None:
    first, second = store(services, user, "a", CONTENT), store(services, user, "b", CONTENT)
    (copied,) = services.store.copy(user, [first.id], None, "c")
    assert services.store.delete(user, [first.id, second.id]) == set()
    assert len(rows(services)) == 1
    assert services.store.delete(user, [copied.id]) == {first.key}
    assert rows(services) == []


def stored_before(services: Services, user: User, name: str, content: bytes) -> Record:
    """Store a content as a version without BLAKE3 did."""
    record = store(services, user, name, content, sha256=True)
    assert record.key is not None
    key = hashlib.sha256(content).hexdigest()
    new, old = services.blobs.local_path(record.key), services.blobs.local_path(key)
    assert new is not None
    assert old is not None
    old.parent.mkdir(exist_ok=True)
    new.rename(old)
    with services.database.write() as connection:
        connection.execute(update(blobs).where(blobs.c.id == record.blob).values(key=key, blake3=None))
    return services.store.get(user, record.id)


def test_fsck_fills_in_what_an_earlier_version_did_not_take(services: Services, user: User) -> None:
    before = stored_before(services, user, "a", CONTENT)
    new = store(services, user, "b", CONTENT[1:])
    report = fsck(services)
    assert (report.problems, report.blobs_filled, report.blobs_merged) == ((), 2, 0)
    after = services.store.get(user, before.id)
    assert (after.key, after.updated_on) == (before.key, before.updated_on)
    found = services.blobs.verify(before.key or "").found
    assert after.digests == {"blake3": found.blake3, "sha256": found.sha256}
    assert services.store.get(user, new.id).sha256 == hashlib.sha256(CONTENT[1:]).hexdigest()
    report = fsck(services)
    assert (report.problems, report.blobs_filled, report.blobs_merged) == ((), 0, 0)


def test_a_small_content_of_an_earlier_version_is_found_by_its_sha256(services: Services, user: User) -> None:
    before = stored_before(services, user, "a", CONTENT)
    again = store(services, user, "a", CONTENT, sha256=True)
    assert (again.id, again.blob, again.versions) == (before.id, before.blob, "[]")
    assert again.key == f"b3/{again.blake3}"
    assert gc(services).blobs_removed == 1
    assert fsck(services).problems == ()
    assert read(services, again) == CONTENT


@pytest.mark.parametrize("busy", [False, True])
def test_of_two_rows_of_a_content_the_one_with_its_blake3_is_used(
    services: Services, user: User, busy: bool
) -> None:
    before = stored_before(services, user, "a", CONTENT)
    with services.database.look() if busy else nullcontext():  # one at a time, and nobody waits
        new = store(services, user, "b", CONTENT)
        again = store(services, user, "c", CONTENT, sha256=True)
    assert new.blob != before.blob
    assert (again.blob, again.key) == (new.blob, new.key)


@pytest.mark.parametrize("damaged", ["neither", "the new one", "the old one"])
def test_fsck_merges_what_is_stored_twice(services: Services, user: User, damaged: str) -> None:
    before = stored_before(services, user, "a", CONTENT)
    (copied,) = services.store.copy(user, [before.id], None, "copy")
    again = store(services, user, "b", CONTENT)
    assert again.key != before.key
    if damaged != "neither":
        path = services.blobs.local_path((again if damaged == "the new one" else before).key or "")
        assert path is not None
        path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    report = fsck(services)
    assert (report.problems, report.blobs_merged) == ((), 1)
    records = [services.store.get(user, number) for number in (before.id, copied.id, again.id)]
    kept = before.key if damaged == "the new one" else again.key
    assert {record.key for record in records} == {kept}
    assert [read(services, record) for record in records] == [CONTENT] * 3
    assert [key for key, _ in services.blobs.stored()] == [kept]
    assert fsck(services).problems == ()
    assert [record.digests for record in records] == [records[0].digests] * 3
    assert records[0].digests.keys() == {"blake3", "sha256"}


def test_no_content_without_a_row_and_no_row_without_a_reference(services: Services, user: User) -> None:
    record = store(services, user, "a", CONTENT)
    with services.database.write() as connection:
        connection.exec_driver_sql("UPDATE objects SET blob = NULL, type = 'object'")
        assert connection.scalar(select(blobs.c.id)) == record.blob
    assert gc(services).blobs_removed == 1
    assert rows(services) == []
