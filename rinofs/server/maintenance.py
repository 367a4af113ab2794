"""Looking after what a server keeps: removing what nobody refers to, and checking what somebody does.

Both may run beside a serving process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rinofs.server.catalog import integrity

if TYPE_CHECKING:
    from rinofs.server.services import Services

__all__ = ["FsckReport", "GcReport", "check_catalog", "fsck", "gc"]


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection removed.

    Attributes
    ----------
    blobs_removed : int
        Contents that nobody referred to.
    bytes_removed : int
        Their bytes.
    temporary_removed : int
        Temporary files of processes that are gone.
    """

    blobs_removed: int
    bytes_removed: int
    temporary_removed: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a check found.

    Attributes
    ----------
    objects_checked : int
        Objects in the database.
    datapacks_checked : int
        Datapacks in the database.
    blobs_checked : int
        Contents that were read and hashed.
    bytes_checked : int
        Their bytes.
    problems : tuple of str
        What is wrong, each with the objects that it is about; empty where all is well.
    """

    objects_checked: int
    datapacks_checked: int
    blobs_checked: int
    bytes_checked: int
    problems: tuple[str, ...]


def gc(services: Services) -> GcReport:
    """Remove contents that nobody refers to, and what killed processes left behind.

    A content that an upload is about to refer to stays, in whatever process that is.

    Parameters
    ----------
    services : Services
        Whose contents they are.
    """
    services.datapacks.forget_unlinked()
    removed = services.blobs.collect(partial(integrity.referred, services.database))
    return GcReport(removed.blobs, removed.bytes, removed.temporary)


def check_catalog(services: Services) -> list[str]:
    """Check the database alone, and return what is wrong with it."""
    return [*integrity.check_rows(services.database)[1], *integrity.check_datapacks(services.database)[1]]


def fsck(services: Services) -> FsckReport:
    """Check the database, and read every content that it refers to.

    Parameters
    ----------
    services : Services
        What to check; nothing is changed.
    """
    objects, problems = integrity.check_rows(services.database)
    datapacks, found = integrity.check_datapacks(services.database)
    problems += found
    blobs = size = 0
    for sha256 in integrity.referred_contents(services.database):
        read = services.blobs.verify(sha256)
        blobs += 1
        size += read.found.size
        problems += integrity.check_content(services.database, sha256, read)
    return FsckReport(objects, datapacks, blobs, size, tuple(problems))
