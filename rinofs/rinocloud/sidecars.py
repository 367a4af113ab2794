"""Metadata kept in a file beside the file that it describes: ``run.csv.json`` beside ``run.csv``.

As a module, it is the `rinofs.fs.backend.Sidecars` of Rinocloud.
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
    """Tell whether a local file describes the one beside it: that is there, and itself describes none."""
    described = path.removesuffix(SUFFIX)
    return described != path and Path(described).is_file() and not is_sidecar(described)


def read_sidecar(path: str) -> dict[str, Any] | None:
    """Return the metadata in the file beside a local file, or None if there is none.

    Raises
    ------
    ValueError
        If it is not a JSON object; the message names the file.
    TypeError
        If it is another JSON value.
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
    """Keep metadata beside a local file; where there is none, only what is there already is replaced."""
    beside = Path(path + SUFFIX)
    if metadata or beside.exists():
        text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with replacing(beside) as file:
            file.write(text.encode())


def check_free(paths: Iterable[str]) -> None:
    """Raise FileExistsError if one of the files to be written has the name of another one's metadata."""
    names = set(paths)
    for name in sorted(names):
        if name + SUFFIX in names:
            problem = "a file and the metadata of another would have this name"
            raise FileExistsError(errno.EEXIST, problem, name + SUFFIX)
