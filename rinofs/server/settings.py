"""Settings of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CACHE_SIZE", "GC_DELAY", "ServerSettings"]

MIB = 1024 * 1024
CACHE_SIZE = 1024 * MIB
"""Default size of local copies of contents in an object store, in bytes."""
GC_DELAY = 24 * 3600.0
"""Default time in seconds to keep unreferenced objects, so that backups of the database find them."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of a server while it runs.

    Parameters
    ----------
    data_dir : Path
        Folder of the database, the contents and the lock.
    database_url : str, optional
        ``postgresql://USER@HOST/NAME`` for a database that workers share; by default an SQLite file in
        `data_dir`.
    database_connections : int
        Maximum number of open connections to PostgreSQL.
    blobs_url : str, optional
        Where new contents go: ``s3://BUCKET/PREFIX`` for an object store, or ``folder``. By default, where
        they went when the folder was last served, or else the folder.
    cache_size : int
        Maximum size of local copies of contents in an object store, in bytes.
    store_timeout : float
        Seconds until a request to the object store fails.
    gc_delay : float
        Seconds to keep an unreferenced object in the object store.
    worker_lease : float
        Seconds after which a worker that has not renewed its lease counts as gone.
    extensions : bool
        Whether to offer extensions of the Rinocloud API.
    repovizz_extensions : bool
        Whether to offer extensions of the repovizz2 API.
    allowed_hosts : tuple of str
        Host names that are accepted in requests, besides those of the loopback interface; ports are ignored.
    trusted_proxies : tuple of str
        Addresses and networks of proxies whose headers about their clients are trusted.
    root_path : str
        The path below which a proxy serves this server, such as ``/lab``; empty for none.
    max_json_bytes : int
        Maximum size of a JSON document or a form, in bytes.
    max_structure_bytes : int
        Maximum size of a request with the document of a datapack, in bytes.
    max_body_bytes : int
        Maximum size of all bodies in memory, in bytes; a quarter of it for one user.
    max_json_depth : int
        Maximum nesting of a JSON document.
    max_header_bytes : int
        Maximum size of the request line and all headers, in bytes.
    max_connections : int
        Maximum number of open connections; three quarters of it for one address.
    max_unsent_bytes : int
        Maximum size of responses that wait for their clients, in bytes.
    max_content_bytes : int, optional
        Maximum size of an uploaded content, in bytes; no limit by default.
    header_timeout : float
        Seconds from the connection, or the first byte of a request, until its headers must be complete.
    idle_timeout : float
        Seconds until an idle connection is closed. It is longer than what proxies use, which could otherwise
        send a request on a connection that is being closed.
    body_timeout : float
        Seconds without a byte of a body until the request fails.
    body_min_rate : int
        Minimum rate of a body in bytes per second, on average over each `body_timeout`.
    write_timeout : float
        Seconds without progress until a connection is closed whose client does not read the response.
    parse_timeout : float
        Maximum processor time for parsing and checking a request, in seconds.
    statement_timeout : float
        Maximum processor time of the database for a request that reads, in seconds.
    shutdown_delay : float
        Seconds for which a server that was told to stop still answers requests, while ``/ready`` returns 503:
        a load balancer must notice before connections are refused.
    shutdown_timeout : float
        Seconds that running requests may then take to finish.
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
        """Whether the database is a file in `data_dir` rather than one that workers share."""
        return self.database_url is None
