"""Reading and writing the objects of an S3 bucket below a prefix, and interpreting the store's errors.

obstore reads the store's address and credentials from the same environment variables as AWS's own tools.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from rinofs.protocol.names import is_loopback, without_login
from rinofs.server.blobs.store import BucketError
from rinofs.server.errors import InsufficientStorage, Unavailable, count_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from obstore import ObjectMeta

    from rinofs.server.errors import ApiError

__all__ = [
    "INSTALLATION",
    "MAX_PARTS",
    "PART_SIZE",
    "Bucket",
    "Refusal",
    "endpoint_url",
    "parse_url",
]

MIB = 1024 * 1024
PART_SIZE = 16 * MIB
"""Size in bytes of each part of a large object, except the last one."""
MAX_PARTS = 10_000
"""Maximum number of parts of an object in S3."""
INSTALLATION = "rinofs-installation.json"
"""Key of the object that names the installation to which a bucket belongs."""

_TRIMMED_AFTER = 3.0  # seconds
_M_MMAP_THRESHOLD = -3  # of malloc.h
_MAPPED = 8 * MIB  # malloc maps blocks of at least this size separately
_PARTS_AT_ONCE = 2  # each takes PART_SIZE of memory

_BINARY = {"Content-Type": "application/octet-stream"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/-]*")  # what AWS calls safe in keys
_STATUS, _CODE = re.compile(r"status code: (\d{3})"), re.compile(r"<Code>(\w+)</Code>")
_FULL = frozenset({"QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"})
_RETRY_AFTER = {"Retry-After": "5"}


class Refusal(Exception):  # noqa: N818 (it becomes a response, or a `BucketError`)
    """A request that failed in the store.

    Attributes
    ----------
    status : int or None
        HTTP status of the response; None if there was none.
    code : str or None
        The store's error code, if it sent one.
    """

    def __init__(self, error: BaseException) -> None:
        # Keep the text of the error out of the logs: stores quote parts of the request in their responses.
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        self.status = int(status[1]) if status else None
        self.code = code[1] if code else None
        reason = self.code or (f"it answered {self.status}" if self.status else "it did not answer")
        super().__init__(reason)

    def answer(self) -> ApiError:
        """Return the error that the client receives."""
        full = self.status == 507 or self.code in _FULL
        count_failure("contents", "full" if full else "failed")
        if full:
            return InsufficientStorage("the store that keeps the contents is full")
        return Unavailable(f"the store that keeps the contents failed: {self}", headers=_RETRY_AFTER)


class _FreedMemory:
    """Returns freed memory to the system a few seconds after large buffers were used.

    obstore allocates a buffer for each piece and each part, and glibc keeps freed memory in the arenas of its
    threads: 170 MiB after a few transfers. Parts are mapped separately, so that they leave no holes in the
    arenas. Doing the same with pieces would double the CPU time of a download.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._trim = getattr(libc, "malloc_trim", None)  # of glibc
        if libc is not None and self._trim is not None:
            libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def later(self) -> None:
        """Schedule the return of freed memory, unless it is already scheduled."""
        with self._lock:
            if self._timer is None and self._trim is not None:
                timer = threading.Timer(_TRIMMED_AFTER, self._return)
                timer.daemon = True
                with suppress(RuntimeError):  # the system allows no more threads: the next use tries again
                    timer.start()
                    self._timer = timer

    def _return(self) -> None:
        with self._lock:
            self._timer = None
        assert self._trim is not None
        self._trim(0)


_freed_memory = _FreedMemory()


class Bucket:
    """The objects of a bucket below a prefix.

    Parameters
    ----------
    url : str
        ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.
    timeout : float
        Timeout in seconds of one request to the store.
    retries : int
        How often to retry a request that got no response, or a 5xx.

    Raises
    ------
    BucketError
        If the URL is malformed, or contents would cross a network unencrypted.
    """

    def __init__(self, url: str, *, timeout: float = 30.0, retries: int = 3) -> None:
        name, prefix = parse_url(url)
        self.url = f"s3://{name}/{prefix}" if prefix else f"s3://{name}"
        self.name = name
        endpoint = endpoint_url()
        self._store = S3Store(
            name,
            prefix=prefix or None,
            checksum_algorithm="SHA256",
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "timeout": timedelta(seconds=timeout),
                "connect_timeout": timedelta(seconds=min(5.0, timeout)),
                "user_agent": "rinofs",
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=timeout / 2),
                "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2)},
            },
        )

    def put(self, key: str, content: bytes | bytearray) -> None:
        """Write a small object in one request; the store verifies its SHA-256."""
        with _refusals():
            obstore.put(self._store, key, content, attributes=_BINARY, use_multipart=False)

    def put_parts(self, key: str, pieces: Iterable[bytes]) -> None:
        """Write a large object in several requests; if `pieces` raises an exception, nothing is stored."""
        with _refusals():
            obstore.put(
                self._store,
                key,
                pieces,
                attributes=_BINARY,
                use_multipart=True,
                chunk_size=PART_SIZE,
                max_concurrency=_PARTS_AT_ONCE,
            )
        _freed_memory.later()

    def get(self, key: str, start: int, stop: int) -> tuple[memoryview, int]:
        """Return a range, which must not be empty, and the size of the whole object in bytes.

        Raises
        ------
        FileNotFoundError
            If the object does not exist.
        """
        if stop - start > MIB:
            _freed_memory.later()
        with _refusals():
            answer = obstore.get(self._store, key, options={"range": (start, stop)})
            return memoryview(answer.bytes()), answer.meta["size"]

    def describe(self, key: str) -> ObjectMeta | None:
        """Return the metadata of an object; None if it does not exist."""
        with suppress(FileNotFoundError), _refusals():
            return obstore.head(self._store, key)
        return None

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if it does not exist."""
        found = self.describe(key)
        return None if found is None else found["size"]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones count as deleted."""
        if keys:
            with _refusals():
                obstore.delete(self._store, keys)

    def objects(self, prefix: str) -> Iterator[tuple[str, int, datetime]]:
        """List the objects below a folder: key, size in bytes, and time of writing by the store's clock."""
        with _refusals():
            for page in obstore.list(self._store, prefix, chunk_size=1000):
                yield from ((one["path"], one["size"], one["last_modified"]) for one in page)

    def folders(self, prefix: str) -> list[str]:
        """List the names of the folders directly below a folder."""
        with _refusals():
            found = obstore.list_with_delimiter(self._store, prefix)
        return [path.rpartition("/")[2] for path in found["common_prefixes"]]

    def installation(self) -> str | None:
        """Return the name of the installation to which the bucket belongs; None if it has no owner."""
        try:
            text, _ = self.get(INSTALLATION, 0, 1024)
        except FileNotFoundError:
            return None
        try:
            name = json.loads(bytes(text))["installation"]
        except (ValueError, KeyError, TypeError):
            name = "of no known format"
        return str(name)

    def claim(self, installation: str) -> None:
        """Record that the bucket belongs to an installation."""
        self.put(INSTALLATION, json.dumps({"installation": installation}).encode())

    def signed_url(self, key: str, lifetime: timedelta) -> str:
        """Return a URL with which anyone can read an object for a limited time."""
        with _refusals():
            return obstore.sign(self._store, "GET", key, lifetime)


def parse_url(url: str) -> tuple[str, str]:
    """Return the bucket and the prefix of an ``s3://`` URL.

    Raises
    ------
    BucketError
        If it is not one. The message never repeats a user or a password from the URL.
    """
    parts = urlsplit(without_login(url))
    expected = "expected s3://BUCKET or s3://BUCKET/PREFIX"
    if parts.scheme != "s3":
        raise BucketError(f"{parts.scheme or 'no scheme'}: unknown kind of store; {expected}")
    if "@" in url or parts.query or parts.fragment:
        raise BucketError(
            f"s3://{parts.hostname}: the URL has more than a bucket and a prefix; {expected}, "
            "and give the key of the store by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc):
        raise BucketError(f"{url}: {parts.netloc!r} is not the name of a bucket; {expected}")
    if not _PREFIX.fullmatch(prefix) or {"", ".", ".."} & set(prefix.split("/") if prefix else ()):
        raise BucketError(f"{url}: {prefix!r} is not a prefix of letters, digits, '-', '_', '.' and '/'")
    return parts.netloc, prefix


def endpoint_url() -> str:
    """Return the address of the store; empty for AWS itself.

    Raises
    ------
    BucketError
        If the address is malformed, or contents would cross a network unencrypted.
    """
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    name, address = next(((name, os.environ[name]) for name in names if os.environ.get(name)), ("", ""))
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        is_valid = parts.port != 0 and "@" not in address
    except ValueError:
        parts, is_valid = urlsplit(""), False
    shown = f"{parts.scheme}://{parts.hostname}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_valid:
        raise BucketError(f"{name}: expected an address such as https://s3.example.org")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise BucketError(
            f"{shown}: contents would cross the network unencrypted; set {name} to an https:// address"
        )
    return address


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        refusal = Refusal(error)
        if refusal.code == "NoSuchBucket":
            raise refusal from None
        raise FileNotFoundError(refusal.code) from None
    except (BaseError, OSError, ValueError) as error:
        raise Refusal(error) from None
