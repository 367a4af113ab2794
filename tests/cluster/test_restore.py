"""A database restored to a state of less than the collection's delay ago finds all its objects."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from rinofs.server.catalog.records import NewObject
from rinofs.server.maintenance import fsck, gc
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from tests import postgres
from tests.server.conftest import s3_url, shared_seaweed

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.server.services import Services

__all__ = ["s3_url", "shared_seaweed"]

NAMES = [f"file {number}" for number in range(20)]


def store(services: Services, name: str) -> None:
    user = services.accounts.user("ada") or services.accounts.add_user("ada")
    with services.blobs.new_upload() as upload:
        upload.write(os.urandom(1000))
        services.store.upload(user, NewObject(None, name), upload.finish())


def pg(program: str, *arguments: str) -> None:
    subprocess.run([postgres.binary(program), *arguments], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("gc_delay", [3600.0, 0.0], ids=["delayed", "at once"])
def test_a_restored_database_finds_what_was_deleted_since(
    s3_url: str, tmp_path: Path, gc_delay: float
) -> None:
    server = postgres.shared()
    url, restored = server.new_database(schema=True), server.new_database()
    dump = tmp_path / "dump"
    with closing(open_services(_settings(tmp_path, url, s3_url, gc_delay))) as services:
        for name in NAMES:
            store(services, name)
        pg("pg_dump", "--format=custom", f"--file={dump}", url.replace("+psycopg", ""))
        user = services.accounts.user("ada")
        assert user is not None
        for name in NAMES[:10]:  # new versions of some, and others go
            store(services, name)
        services.accounts.remove_user(user, with_data=True)
        store(services, "later")
        gc(services)
        gc(services)
    pg(
        "pg_restore",
        "--exit-on-error",
        "--no-owner",
        f"--dbname={restored.replace('+psycopg', '')}",
        str(dump),
    )
    with closing(open_services(_settings(tmp_path, restored, s3_url, gc_delay))) as services:
        report = fsck(services)
        assert report.blobs_checked == len(NAMES)
        missing = [line for line in report.problems if "missing" in line]
        assert len(missing) == (0 if gc_delay else len(NAMES)), report.problems
    server.drop(url)
    server.drop(restored)


def _settings(folder: Path, url: str, blobs_url: str, gc_delay: float) -> ServerSettings:
    return ServerSettings(folder / "data", database_url=url, blobs_url=blobs_url, gc_delay=gc_delay)
