"""Sidecars: the metadata of ``run.csv`` in a file ``run.csv.json`` beside it.

The module implements `rinofs.fs.backend.Sidecars`.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rinofs.fs.transfer.download import replacing
from rinofs.fs.values import as_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_free", "is_sidecar", "read_sidecar", "write_sidecar"]

SUFFIX = ".json"


def is_sidecar(path: str) -> bool:
    """Return whether a local file is a sidecar: its subject exists and is not a sidecar itself."""
    described = path.removesuffix(SUFFIX)
    return described != path and Path(described).is_file() and not is_sidecar(described)


def read_sidecar(path: str) -> dict[str, Any] | None:
    """Return the metadata from the sidecar of a local file, or None if there is none.

    Raises
    ------
    ValueError
        If the sidecar is not valid JSON; the message names the file.
    TypeError
        If it is JSON, but not an object.
    """
    beside = Path(path + SUFFIX)
    if not beside.is_file() or not is_sidecar(str(beside)):
        return None
    try:
        found = json.loads(beside.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside}: this sidecar file does not hold valid metadata: {error}") from error
    return as_metadata(found, str(beside))


def write_sidecar(path: str, metadata: Mapping[str, Any]) -> None:
    """Write the sidecar of a local file; empty metadata is only written over an existing sidecar."""
    beside = Path(path + SUFFIX)
    if metadata or beside.exists():
        text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with replacing(beside) as file:
            file.write(text.encode())


def check_free(paths: Iterable[str]) -> None:
    """Raise FileExistsError if a file to be written has the name of another one's sidecar."""
    names = set(paths)
    for name in sorted(names):
        if name + SUFFIX in names:
            problem = "a file and the metadata of another would have this name"
            raise FileExistsError(errno.EEXIST, problem, name + SUFFIX)
