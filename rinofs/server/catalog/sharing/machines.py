"""The folder of contents that the processes of one machine share, beside a database that many could reach.

Locks on its files keep contents from being removed while they are stored, and hold on one machine only. So a
folder of another one, and another folder of the same one, are refused.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from uuid import getnode, uuid4

from sqlalchemy import select

from rinofs.server.blobs.store import OBJECTS
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.sharing.locks import put
from rinofs.server.catalog.tables import blobs, properties, workers

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database

__all__ = ["Machine", "claim_folder", "has_folder_contents"]

FILE = "folder-id"
"""The file in the folder that says which one it is."""

_PROPERTY = "folder"
_LOCK = put(properties, "name", "value")
_SET = put(properties, "name", "value", changed=("value",))


class Machine(NamedTuple):
    """What tells one machine from another.

    Attributes
    ----------
    boot : str
        The present run of its kernel, which containers share; empty where the system does not tell.
    number : str
        What it was numbered with when it was installed.
    name : str
        Its name.
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
        """Return what `str` was called on."""
        return cls(*text.split("/", 2))

    def __str__(self) -> str:
        return "/".join(self)

    def is_same(self, other: Machine) -> bool:
        """Tell whether two processes see each other's locks, if only after a restart between them."""
        return (self.boot != "" and self.boot == other.boot) or self[1:] == other[1:]


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("ascii").strip().replace("/", "-")
    return ""


def has_folder_contents(database: Database) -> bool:
    """Tell whether any content is in a folder."""
    with database.read() as connection:
        return _has_contents(connection)


def _has_contents(connection: Connection) -> bool:
    here = select(blobs.c.id).where(~blobs.c.key.like(f"{OBJECTS}/%")).limit(1)
    return connection.scalar(here) is not None


def claim_folder(connection: Connection, root: Path, machine: Machine, moment: float) -> None:
    """See that a folder is the one that a database has its contents in, or may become that.

    Parameters
    ----------
    connection : Connection
        A writing transaction, in which this process is then noted as one on the machine.
    root : Path
        The folder.
    machine : Machine
        Where this process runs.
    moment : float
        Seconds since 1970, by the clock of the database.

    Raises
    ------
    UnusableDatabaseError
        If the database has contents in another folder, or a process on another machine uses it.
    """
    connection.execute(_LOCK, {"name": _PROPERTY, "value": ""})
    known = connection.scalar(select(properties.c.value).where(properties.c.name == _PROPERTY))
    living = (workers.c.host.is_not(None), workers.c.fenced.is_(None), workers.c.expires >= int(moment))
    for host in connection.scalars(select(workers.c.host).where(*living).distinct()):
        if not machine.is_same(Machine.parse(host)):
            raise UnusableDatabaseError(
                f"{root}: {Machine.parse(host).name} keeps contents of this database in a folder, which only "
                "one machine can; use an object store (--blobs s3://BUCKET), or stop that machine's workers "
                "and wait a minute"
            )
    present = _text(root / FILE)
    if present and present == known:
        return
    if _has_contents(connection):
        raise UnusableDatabaseError(
            f"{root}: the contents of this database are in another folder; name that (--data), or restore "
            "it here"
        )
    present = uuid4().hex
    (root / FILE).write_text(present, "ascii")
    connection.execute(_SET, {"name": _PROPERTY, "value": present})
