"""Settings of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CACHE_SIZE", "GC_DELAY", "ServerSettings"]

MIB = 1024 * 1024
CACHE_SIZE = 1024 * MIB
"""Bytes of copies of contents in an object store, by default, when a folder is served."""
GC_DELAY = 24 * 3600.0
"""Seconds for which a backup of the database finds all contents in the object store."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of one server; they hold for as long as it runs.

    Parameters
    ----------
    data_dir : Path
        Where everything is kept: the database, the contents, the lock.
    database_url : str, optional
        ``postgresql://USER@HOST/NAME`` for a database that workers share; by default an SQLite file in
        `data_dir`.
    database_connections : int
        Connections to PostgreSQL that are open at the same time.
    blobs_url : str, optional
        Where new contents go: ``s3://BUCKET/PREFIX`` for an object store, or ``folder``. By default where
        they went when the folder was served before, or else the folder.
    cache_size : int
        Bytes of the folder that copies of contents in an object store may take.
    store_timeout : float
        Seconds that an object store may take for one request.
    gc_delay : float
        Seconds until an object is deleted that no content refers to any more.
    worker_lease : float
        Seconds after which a process on a shared database is taken to be gone that does not say otherwise.
    extensions : bool
        False for the published Rinocloud API and nothing more.
    repovizz_extensions : bool
        False for the published repovizz2 API and nothing more.
    allowed_hosts : tuple of str
        Names that requests may be addressed to, beside those of the loopback interface; ports do not count.
    trusted_proxies : tuple of str
        Addresses and networks of proxies that are believed what they say of their clients.
    root_path : str
        The path below which a proxy serves this server, such as ``/lab``; empty for none.
    max_json_bytes : int
        Bytes of a JSON document or a form.
    max_structure_bytes : int
        Bytes of a request that holds the document of a datapack.
    max_body_bytes : int
        Bytes of bodies that are in memory at the same time; a quarter of them of one user.
    max_json_depth : int
        Levels of lists and objects in a JSON document.
    max_header_bytes : int
        Bytes of a request line with all headers.
    max_connections : int
        Connections that are open at the same time; three quarters of them for one address.
    max_unsent_bytes : int
        Bytes of answers that wait for their clients to take them.
    max_content_bytes : int, optional
        Bytes of one uploaded content; no limit by default.
    header_timeout : float
        Seconds until the headers of a request must be complete, from the first byte or the connection on.
    idle_timeout : float
        Seconds that a connection may rest between two requests; longer than proxies keep theirs, which would
        else send requests into connections that are being closed.
    body_timeout : float
        Seconds without one byte of a body that the server waits for.
    body_min_rate : int
        Bytes per second that a body must bring on average over each `body_timeout`.
    write_timeout : float
        Seconds in which a client must take something of an answer that waits for it.
    parse_timeout : float
        Seconds of processor time that it may take to read and check what a request says.
    statement_timeout : float
        Seconds of processor time that the database may take for a request that reads.
    shutdown_delay : float
        Seconds for which requests are still answered when the server is told to stop, while it says that it
        is not ready: a load balancer has to notice before connections are refused.
    shutdown_timeout : float
        Seconds that requests under way then have to end.
    """

    data_dir: Path
    database_url: str | None = field(default=None, repr=False)
    database_connections: int = 20
    blobs_url: str | None = None
    cache_size: int = 0
    store_timeout: float = 30.0
    gc_delay: float = GC_DELAY
    worker_lease: float = 60.0
    extensions: bool = True
    repovizz_extensions: bool = True
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    root_path: str = ""
    max_json_bytes: int = MIB
    max_structure_bytes: int = 16 * MIB
    max_body_bytes: int = 256 * MIB
    max_json_depth: int = 64
    max_header_bytes: int = 64 * 1024
    max_connections: int = 10_000
    max_unsent_bytes: int = 64 * MIB
    max_content_bytes: int | None = None
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    body_timeout: float = 60.0
    body_min_rate: int = 1024
    write_timeout: float = 60.0
    parse_timeout: float = 10.0
    statement_timeout: float = 20.0
    shutdown_delay: float = 0.0
    shutdown_timeout: float = 3.0

    @property
    def has_own_database(self) -> bool:
        """Whether the database is a file in `data_dir`, and not one that workers share."""
        return self.database_url is None
