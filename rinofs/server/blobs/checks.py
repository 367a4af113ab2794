"""Check whether a bucket is usable: what the store supports, and which installation the bucket belongs to."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from rinofs.server.blobs.bucket import INSTALLATION, PART_SIZE, Bucket, Refusal, endpoint_url
from rinofs.server.blobs.store import OBJECTS, BucketError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Check", "check_storage", "claim", "open_bucket"]

MAX_CLOCK_ERROR = 300.0
"""Maximum difference in seconds between the clocks of server and store: signatures hold for 15 minutes."""

_CHECKS = "rinofs-check"
PATIENCE = 2.0
"""Timeout in seconds of a request at startup. At most two reach it: the one that fails, and the cleanup."""
_WRONG_KEY = frozenset({"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"})
_SMALL = b"rinofs checks this store"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes
    ----------
    name : str
        What was checked.
    problem : str or None
        What is wrong; None if nothing is.
    seconds : float
        How long it took.
    """

    name: str
    problem: str | None
    seconds: float


class _WrongAnswerError(Exception):
    """The store sent an unexpected response."""


def open_bucket(url: str, installation: str, *, fresh: bool, timeout: float = 30.0) -> Bucket:
    """Open the bucket of a server after checking that it is usable.

    Parameters
    ----------
    url : str
        The bucket.
    installation : str
        Name of the installation, which claims a bucket without contents.
    fresh : bool
        Whether the installation has no contents in a bucket yet.
    timeout : float
        Timeout in seconds of requests after the checks.

    Raises
    ------
    BucketError
        If the bucket is not usable; raised within seconds.
    """
    trial = Bucket(url, timeout=PATIENCE, retries=0)
    for check in check_storage(trial, parts=False):
        if check.problem is not None:
            raise BucketError(f"{trial.url}: {check.problem}")
    try:
        claim(trial, installation, fresh=fresh)
    except Refusal as refusal:
        raise BucketError(f"{trial.url}: {_explained(trial, refusal)}") from None
    return Bucket(url, timeout=timeout)


def claim(bucket: Bucket, installation: str, *, fresh: bool = True) -> None:
    """Claim a bucket for an installation.

    Raises
    ------
    BucketError
        If it belongs to another installation, has contents but no owner, or is empty without `fresh`.
    """
    found = bucket.installation()
    if found is None:
        if next(bucket.objects(OBJECTS), None) is not None:
            raise BucketError(
                f"{bucket.url}: has contents, but {INSTALLATION} is missing; name an empty bucket or prefix, "
                "or put that object back"
            )
        if not fresh:
            raise BucketError(
                f"{bucket.url}: is empty, but the server has contents in a bucket; name that bucket"
            )
        bucket.claim(installation)
        found = bucket.installation()
    if found != installation:
        raise BucketError(
            f"{bucket.url}: has the contents of another installation of rinofs; "
            "name a bucket or prefix of its own for each server"
        )


def check_storage(bucket: Bucket, *, parts: bool = True) -> Iterator[Check]:
    """Try everything that a server needs from a store; stop at the first failure.

    Parameters
    ----------
    bucket : Bucket
        The bucket; objects created in it are deleted.
    parts : bool
        Whether to write an object of several parts as well, of 16 MiB.
    """
    trial = _Trial(bucket)
    steps = [
        ("PUT with a SHA-256", trial.put),
        ("read after write", trial.read),
        ("ranged GET", trial.read_range),
        ("HEAD", trial.describe),
        ("clock", trial.compare_clocks),
        ("list", trial.list),
        *([("multipart upload", trial.put_parts)] if parts else []),
        ("DELETE", trial.delete),
    ]
    for name, step in steps:
        check = _tried(bucket, name, step)
        if check.problem is not None and step != trial.put:
            trial.clean()
        yield check
        if check.problem is not None:
            return


def _tried(bucket: Bucket, name: str, step: Callable[[], None]) -> Check:
    begun = time.monotonic()
    try:
        step()
        problem = None
    except Refusal as refusal:
        problem = _explained(bucket, refusal)
    except FileNotFoundError:
        problem = "an object that was written is not there; the store must be consistent after writes"
    except _WrongAnswerError as wrong:
        problem = str(wrong)
    return Check(name, problem, time.monotonic() - begun)


class _Trial:
    """Objects created to test what a store can do."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._folder = f"{_CHECKS}/{uuid4().hex}"
        self._small, self._large = f"{self._folder}/small", f"{self._folder}/large"

    def put(self) -> None:
        self._bucket.put(self._small, _SMALL)

    def read(self) -> None:
        data, size = self._bucket.get(self._small, 0, len(_SMALL))
        _expect(
            data == _SMALL and size == len(_SMALL), "an object is read with other bytes than were written"
        )

    def read_range(self) -> None:
        data, size = self._bucket.get(self._small, 3, 9)
        _expect(data == _SMALL[3:9] and size == len(_SMALL), "a range of an object has other bytes")

    def describe(self) -> None:
        size = self._bucket.size(self._small)
        _expect(size == len(_SMALL), f"the size of an object of {len(_SMALL)} bytes is told as {size}")

    def compare_clocks(self) -> None:
        found = self._bucket.describe(self._small)
        assert found is not None
        off = (datetime.now(UTC) - found["last_modified"]).total_seconds()
        ahead = "ahead of" if off > 0 else "behind"
        _expect(
            abs(off) < MAX_CLOCK_ERROR,
            f"the clock of this machine is {abs(off) / 60:.0f} minutes {ahead} the store's; set it",
        )

    def list(self) -> None:
        found = [(key, size) for key, size, _ in self._bucket.objects(self._folder)]
        _expect(found == [(self._small, len(_SMALL))], "an object that was written is missing in the list")

    def put_parts(self) -> None:
        pieces = [bytes([number]) * (PART_SIZE // 2) for number in range(2)]
        self._bucket.put_parts(self._large, [*pieces, b"end"])
        data, size = self._bucket.get(self._large, PART_SIZE - 2, PART_SIZE + 3)
        whole = size == PART_SIZE + 3 and bytes(data) == b"\1\1end"
        _expect(whole, "an object that was written in parts has other bytes")

    def delete(self) -> None:
        self._bucket.delete([self._small, self._large])
        for key in (self._small, self._large):
            _expect(self._bucket.size(key) is None, "an object that was deleted is still there")

    def clean(self) -> None:
        with suppress(Refusal):  # the problem has been reported already
            self._bucket.delete([self._small, self._large])


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise _WrongAnswerError(problem)


def _explained(bucket: Bucket, refusal: Refusal) -> str:
    if refusal.code == "NoSuchBucket" or (refusal.code is None and refusal.status == 404):
        return f"the store has no bucket {bucket.name!r}; create it, or name another one"
    if refusal.code in _WRONG_KEY:
        return "the store does not accept the key; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if refusal.code == "RequestTimeTooSkewed":
        return "the clock of this machine is off by many minutes; set it"
    if refusal.status in {401, 403}:
        return "the key may not read, write and delete there; give it these rights"
    if refusal.status is None and not os.environ.get("AWS_ACCESS_KEY_ID"):
        return "no key of the store is known; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if refusal.status is None:
        return f"{endpoint_url() or 'Amazon S3'} does not answer; check AWS_ENDPOINT_URL"
    return f"the store failed: {refusal}"
