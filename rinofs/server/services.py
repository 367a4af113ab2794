"""The services that request handlers use: settings, blob store, catalog, accounts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from rinofs.server.auth.accounts import Accounts
from rinofs.server.auth.clients import Clients
from rinofs.server.auth.grants import Grants
from rinofs.server.blobs.object_store import blobs_folder, open_folder, open_object_store
from rinofs.server.blobs.store import BucketError
from rinofs.server.catalog import blob_rows
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.datapacks import DatapackStore
from rinofs.server.catalog.migrations import require_schema
from rinofs.server.catalog.postgres.database_copy import COPYING, UNFINISHED
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.sharing.leases import DatabaseRegistry
from rinofs.server.catalog.sharing.machines import (
    Machine,
    claim_folder,
    has_folder_contents,
    refuse_claimed,
    refuse_foreign,
)
from rinofs.server.catalog.store import Store
from rinofs.server.folder import DATABASE, close_to_others

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rinofs.server.blobs.store import BlobStore
    from rinofs.server.settings import ServerSettings

__all__ = [
    "BLOBS_URL",
    "FOLDER",
    "NEW_CONTENTS",
    "OBJECT_STORE",
    "Services",
    "open_database",
    "open_services",
]

BLOBS_URL, INSTALLATION, NEW_CONTENTS = "blobs_url", "installation", "new_contents"
"""Properties of the database: the URL of the object store, the name of this installation in its bucket, and
where new contents go, one of the two following values."""
FOLDER, OBJECT_STORE = "folder", "object store"


@dataclass(frozen=True, slots=True)
class Services:
    """What request handlers use.

    Attributes
    ----------
    settings : ServerSettings
        Settings of the server.
    database : Database
        Transactions.
    store : Store
        Objects.
    datapacks : DatapackStore
        Datapacks.
    accounts : Accounts
        Users, with their passwords and tokens.
    clients : Clients
        Registered programs (OAuth2 clients).
    grants : Grants
        Access that users granted to them.
    blobs : BlobStore
        Contents.
    workers : DatabaseRegistry or None
        The processes that share the database; None if it is the file of a data folder.
    without_sha256 : Event
        Set when a content was stored whose SHA-256 is computed later.
    """

    settings: ServerSettings
    database: Database
    store: Store
    datapacks: DatapackStore
    accounts: Accounts
    clients: Clients
    grants: Grants
    blobs: BlobStore
    workers: DatabaseRegistry | None = None
    without_sha256: threading.Event = field(default_factory=threading.Event)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove the contents among `keys` that nothing refers to any more."""
        self.blobs.remove(keys, partial(blob_rows.referred, self.database))

    def close(self) -> None:
        """Close files, connections and threads."""
        self.accounts.close()
        self.blobs.close()
        if self.workers is not None:
            self.workers.close()
        self.database.close()


def open_services(settings: ServerSettings, *, blobs: BlobStore | None = None) -> Services:
    """Open the data of a server; create or upgrade what a data folder lacks.

    Parameters
    ----------
    settings : ServerSettings
        Settings of the server.
    blobs : BlobStore, optional
        Store for contents; by default that of the settings. It is closed with the services.

    Returns
    -------
    Services
        The services, which the caller has to close. Several processes may open the same data.

    Raises
    ------
    UnusableDatabaseError
        If the database does not exist, or does not meet the requirements.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.has_own_database:  # before it is created
        refuse_claimed(blobs_folder(settings.data_dir), settings.data_dir / DATABASE)
    close_to_others(settings.data_dir, make_database=settings.has_own_database)
    database = open_database(settings)
    try:
        known = database.properties()
        _check_state(settings, database, known)
    except BaseException:
        database.close()
        raise
    workers = DatabaseRegistry(database, settings.worker_lease) if database.kind.is_shared else None
    opened = Services(
        settings=settings,
        database=database,
        workers=workers,
        store=Store(database),
        datapacks=DatapackStore(database),
        accounts=Accounts(database),
        clients=Clients(database),
        grants=Grants(database),
        blobs=_open_blobs(settings, database, known, workers) if blobs is None else blobs,
    )
    if workers is not None:
        workers.join()
    return opened


def open_database(settings: ServerSettings, *, has_tables: bool = True) -> Database:
    """Open the database of a server, and check it.

    Parameters
    ----------
    settings : ServerSettings
        Settings of the server.
    has_tables : bool
        Whether to require tables that this release can work with. Those of a folder are created or upgraded.

    Raises
    ------
    UnusableDatabaseError
        If the database does not exist, or does not meet the requirements.
    """
    if settings.has_own_database:
        refuse_claimed(blobs_folder(settings.data_dir), settings.data_dir / DATABASE)
    database = Database(
        settings.database_url or settings.data_dir / DATABASE,
        statement_timeout=settings.statement_timeout,
        connections=settings.database_connections,
    )
    try:
        database.check()
        if has_tables:
            require_schema(database)
    except BaseException:
        database.close()
        raise
    return database


def _check_state(settings: ServerSettings, database: Database, known: Mapping[str, str]) -> None:
    """Refuse a database that is being filled, and a folder with contents of another database."""
    if COPYING in known:
        raise UnusableDatabaseError(f"{database.name}: {UNFINISHED}")
    if database.kind.is_shared:
        refuse_foreign(blobs_folder(settings.data_dir), known, settings.data_dir / DATABASE)


def _open_blobs(
    settings: ServerSettings,
    database: Database,
    known: Mapping[str, str],
    workers: DatabaseRegistry | None,
) -> BlobStore:
    """Open the store in the settings, or else the one used last; remember it if it works.

    `known` are the properties of the database.
    """
    stored, asked, cache_size = known.get(BLOBS_URL), settings.blobs_url, settings.cache_size
    if workers is not None and cache_size and stored is not None:
        if asked is None:
            raise BucketError(
                f"contents of this database are in {stored}; name that: --blobs, or RINOFS_BLOBS"
            )
        if asked == FOLDER:
            cache_size = 0  # workers share the folder, but could not share one with a cache in it
    url = stored if asked in {None, FOLDER} else asked
    if url is None:
        _claim_folder(settings, workers)
        return open_folder(settings.data_dir)
    in_use = blob_rows.has_objects(database)
    if asked == FOLDER and not in_use:
        _claim_folder(settings, workers)
        database.set_property(BLOBS_URL, None)
        return open_folder(settings.data_dir)
    installation = known.get(INSTALLATION)
    if installation is None:
        database.set_property(INSTALLATION, uuid4().hex, only_first=True)
        installation = database.get_property(INSTALLATION)
    new_contents = asked if asked == FOLDER else OBJECT_STORE if asked else known.get(NEW_CONTENTS)
    if new_contents == FOLDER or has_folder_contents(database):
        _claim_folder(settings, workers)
    opened = open_object_store(
        settings.data_dir,
        url,
        installation or "",
        fresh=not in_use,
        new_in_folder=new_contents == FOLDER,
        timeout=settings.store_timeout,
        cache_size=cache_size,
        blake3_of=partial(blob_rows.blake3_of, database),
        workers=workers,
    )
    for name, value in ((BLOBS_URL, url), (NEW_CONTENTS, new_contents)):
        if known.get(name) != value:
            database.set_property(name, value)
    return opened


def _claim_folder(settings: ServerSettings, workers: DatabaseRegistry | None) -> None:
    """Register the folder for contents in a shared database, which allows one folder on one machine."""
    if workers is not None:
        folder, machine = blobs_folder(settings.data_dir), Machine.here()
        workers.enter(str(machine), lambda connection, now: claim_folder(connection, folder, machine, now))
