"""Contents in an S3 store: the cost of the server in between, and the gain of reading directly."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import obstore
from obstore.store import S3Store

from rinofs import RinoFileSystem
from tests.benchmarks.goals import Case, Goal
from tests.benchmarks.servers import started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.benchmarks.contenders import Place, Work
    from tests.benchmarks.servers import Clocked

ALONE = "obstore alone"
CACHE = 4 * 1024**3  # a content of at most an eighth of it is copied

CASES = (
    Case(
        "s3-get",
        "contents in an S3 store: cat_file of 256 MiB",
        (Goal(ALONE, 2.5, None, "through the server"), Goal(ALONE, 1.3, None, "past the server")),
        setting="s3",
        rounds=7,
    ),
    Case(
        "s3-cached",
        "contents in an S3 store: cat_file of 256 MiB that the server has a copy of",
        (Goal("contents in the folder", 1.2, None, "a copy in the cache"),),
        setting="s3-cached",
        rounds=7,
    ),
    Case(
        "s3-put",
        "contents in an S3 store: put_file of 256 MiB",
        (Goal(ALONE, 2.0, None, "through the server"),),
        setting="s3",
        rounds=7,
    ),
)


def is_needed(cases: Iterable[Case]) -> bool:
    """Return whether some of the cases need an S3 store."""
    return any(case in CASES or case.name in {"zarr-write", "many-get-command"} for case in cases)


@contextmanager
def servers(
    cases: Iterable[Case], folder: Path, place: Place, plain: Clocked
) -> Iterator[dict[str, tuple[Place, Clocked]]]:
    """Run two servers with contents in the store, one with a cache, and upload the files to read."""
    if not set(CASES) & set(cases):
        yield {}
        return
    files = Path(place.folder)
    variables = {
        "AWS_ENDPOINT_URL": place.s3,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
    }

    obstore.put(_bucket(place.s3), "half", files / "half")
    with ExitStack() as stack:
        with patch.dict(os.environ, variables):
            first, second = (
                stack.enter_context(
                    started(folder / name, "--blobs", f"s3://bench/{name}", f"--cache-size={size}")
                )
                for name, size in (("uncached", 0), ("cached", CACHE))
            )
        for one in (first, second, plain):
            fs = RinoFileSystem(endpoint_url=one.url, token=one.token, direct=False)
            fs.put_file(files / "half", "half")
            fs.cat_file("half")
        yield {
            "s3": (replace(place, url=first.url, token=first.token or ""), first),
            "s3-cached": (
                replace(
                    place,
                    url=second.url,
                    token=second.token or "",
                    alone=plain.url,
                    alone_token=plain.token or "",
                ),
                second,
            ),
        }


def _bucket(url: str) -> S3Store:
    return S3Store(
        "bench",
        endpoint=url,
        access_key_id="any",
        secret_access_key="any",
        region="us-east-1",
        client_options={"allow_http": True},
    )


def _cat(url: str, token: str, *, direct: bool) -> Work:
    fs = RinoFileSystem(endpoint_url=url, token=token, direct=direct)
    assert "half" in fs.ls("", detail=False)
    return lambda: len(fs.cat_file("half"))


def _cat_alone(place: Place) -> Work:
    store = _bucket(place.s3)
    obstore.head(store, "half")
    return lambda: len(obstore.get(store, "half").bytes())


def _put(place: Place) -> Work:
    fs = RinoFileSystem(endpoint_url=place.url, token=place.token)
    fs.ls("")
    return lambda: fs.put_file(Path(place.folder) / "half", f"put-{os.getpid()}")


def _put_alone(place: Place) -> Work:
    store = _bucket(place.s3)
    obstore.head(store, "half")

    def work() -> None:  # the result of `put` is not a figure
        obstore.put(store, f"put-{os.getpid()}", Path(place.folder) / "half")

    return work


WORK: dict[tuple[str, str], Callable[[Place], Work]] = {
    ("s3-get", ALONE): _cat_alone,
    ("s3-get", "through the server"): lambda place: _cat(place.url, place.token, direct=False),
    ("s3-get", "past the server"): lambda place: _cat(place.url, place.token, direct=True),
    ("s3-cached", "a copy in the cache"): lambda place: _cat(place.url, place.token, direct=False),
    ("s3-cached", "contents in the folder"): lambda place: _cat(place.alone, place.alone_token, direct=False),
    ("s3-put", ALONE): _put_alone,
    ("s3-put", "through the server"): _put,
}
