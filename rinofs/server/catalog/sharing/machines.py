"""The folder of contents that the processes of one machine share, with a database that others could reach.

File locks keep contents from being removed while they are stored, and work on one machine only. So a folder
on another machine, and another folder on the same machine, are rejected.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from uuid import getnode, uuid4

from sqlalchemy import select

from rinofs.server.blobs.disk import keys_below, sync_folder
from rinofs.server.blobs.store import OBJECTS
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.sharing.locks import put
from rinofs.server.catalog.tables import blobs, properties, workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database

__all__ = [
    "Machine",
    "claim_folder",
    "has_folder_contents",
    "is_claimed",
    "refuse_claimed",
    "refuse_foreign",
]

FILE = "folder-id"
"""The file that identifies the folder."""

_PROPERTY = "folder"
_LOCK = put(properties, "name", "value")
_SET = put(properties, "name", "value", changed=("value",))


class Machine(NamedTuple):
    """Identifies a machine.

    Attributes
    ----------
    boot : str
        Boot id of its kernel, which containers share; empty if the system provides none.
    number : str
        Machine id from the installation, or else a hardware address.
    name : str
        Its host name.
    """

    boot: str
    number: str
    name: str

    @classmethod
    def here(cls) -> Self:
        """Return the machine that this process runs on."""
        boot = _text(Path("/proc/sys/kernel/random/boot_id"))
        return cls(boot, _text(Path("/etc/machine-id")) or f"{getnode():x}", platform.node())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the result of `str`."""
        return cls(*text.split("/", 2))

    def __str__(self) -> str:
        return "/".join(self)

    def is_same(self, other: Machine) -> bool:
        """Return whether processes on both see each other's locks: both are one machine, even if rebooted."""
        return (self.boot != "" and self.boot == other.boot) or self[1:] == other[1:]


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("ascii").strip().replace("/", "-")
    return ""


def has_folder_contents(database: Database) -> bool:
    """Return whether any content is in a folder."""
    with database.read() as connection:
        return _has_contents(connection)


def _has_contents(connection: Connection) -> bool:
    here = select(blobs.c.id).where(~blobs.c.key.like(f"{OBJECTS}/%")).limit(1)
    return connection.scalar(here) is not None


def is_claimed(root: Path, known: Mapping[str, str]) -> bool:
    """Return whether a folder is the one of a shared database with these properties."""
    mark = _text(root / FILE)
    return mark != "" and mark == known.get(_PROPERTY)


def refuse_claimed(root: Path, own_database: Path) -> None:
    """Refuse to use the database of a folder whose contents belong to one that workers share.

    Parameters
    ----------
    root : Path
        The folder of contents.
    own_database : Path
        The database.

    Raises
    ------
    UnusableDatabaseError
        If they do: a garbage collection would remove all contents that the database does not know.
    """
    if (root / FILE).exists():
        raise UnusableDatabaseError(
            f"{own_database}: the contents of this folder belong to a PostgreSQL database, which knows what "
            "was stored since; name that database (RINOFS_DATABASE). Only if it will never be used again, "
            f"remove {root / FILE}"
        )


def refuse_foreign(root: Path, known: Mapping[str, str], own_database: Path | None = None) -> None:
    """Refuse to use a folder with contents of another database than a shared one.

    Parameters
    ----------
    root : Path
        The folder of contents.
    known : mapping
        The properties of the shared database.
    own_database : Path, optional
        The database that the folder may have of its own, unless that is being copied.

    Raises
    ------
    UnusableDatabaseError
        If there are any: a garbage collection would remove them.
    """
    mark = _text(root / FILE)
    if mark and not is_claimed(root, known):
        owner = "another PostgreSQL database"
        hint = f"name that database or, only if it will never be used again, remove {root / FILE}"
    elif not mark and own_database is not None and own_database.exists():
        owner = str(own_database)
        hint = f"copy that database with `rinofs admin copy --from {own_database.parent}`"
    else:
        return
    if any(keys_below(root)):
        raise UnusableDatabaseError(
            f"{root}: these contents belong to {owner}, and would be removed: name another folder (--data), "
            f"or {hint}"
        )


def claim_folder(
    connection: Connection, root: Path, machine: Machine, moment: float, *, copied: bool = False
) -> None:
    """Claim a folder for the contents of a database, or check that it is the one claimed before.

    Parameters
    ----------
    connection : Connection
        A writing transaction, which then registers this process on the machine.
    root : Path
        The folder.
    machine : Machine
        The machine that this process runs on.
    moment : float
        Seconds since 1970, by the clock of the database.
    copied : bool
        Whether the rows of the database were copied from this folder, which has their contents.

    Raises
    ------
    UnusableDatabaseError
        If the database has contents in another folder, or a process uses another folder or machine.
    """
    connection.execute(_LOCK, {"name": _PROPERTY, "value": ""})
    known = connection.scalar(select(properties.c.value).where(properties.c.name == _PROPERTY))
    living = (workers.c.host.is_not(None), workers.c.fenced.is_(None), workers.c.expires >= int(moment))
    hosts = connection.scalars(select(workers.c.host).where(*living).distinct()).all()
    for host in hosts:
        if not machine.is_same(Machine.parse(host)):
            raise UnusableDatabaseError(
                f"{root}: {Machine.parse(host).name} keeps contents of this database in a folder, which only "
                "one machine can; use an object store (--blobs s3://BUCKET), or stop that machine's workers "
                "and wait a minute"
            )
    present = _text(root / FILE)
    if present and present == known:
        return
    if _has_contents(connection) and not copied:
        raise UnusableDatabaseError(
            f"{root}: the contents of this database are in another folder; name that (--data), or restore "
            "it here"
        )
    if hosts and known:
        raise UnusableDatabaseError(
            f"{root}: another worker keeps contents in another folder; name that (--data), or stop the "
            "worker and wait a minute"
        )
    present = uuid4().hex
    _mark(root, present)
    connection.execute(_SET, {"name": _PROPERTY, "value": present})


def _mark(root: Path, value: str) -> None:
    """Write the file that identifies a folder, and make it durable: a database is about to rely on it."""
    temporary = root / f"{FILE}.{value}"
    with temporary.open("x", encoding="ascii") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(root / FILE)
    sync_folder(root)
    sync_folder(root.parent)
