"""A disk cache for the results of scanning large files.

An entry belongs to one content: its name is a hash of the file's version, so a changed file has another
entry. Entries contain numbers only and are never unpickled. If an entry cannot be stored, the file is scanned
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_FORMAT = 3
"""Increases when a scan of the same content gives other results."""

_MOST_BYTES = 1024 * 1024 * 1024
"""Maximum size of all entries in bytes; the least recently used ones are evicted."""


def cache_folder() -> Path | None:
    """Return the cache folder: ``$RINOFS_CACHE_DIR``, else ``rinofs`` in the user's cache folder.

    None if ``RINOFS_CACHE_DIR`` is empty or there is no home folder; then nothing is cached.
    """
    said = os.environ.get("RINOFS_CACHE_DIR")
    if said is not None:
        return Path(said) / "indexes" if said else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "rinofs" / "indexes"
    except RuntimeError:
        return None


def load_index(version: str, kind: str) -> dict[str, NDArray[Any]] | None:
    """Return the entry for a content, None if there is no valid one.

    Parameters
    ----------
    version : str
        Key of the content; empty if not known.
    kind : str
        Kind of the entry.
    """
    path = _path(version, kind)
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = {name: kept[name] for name in kept.files}
        os.utime(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found


def store_index(version: str, kind: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Store the entry for a content; failures are ignored."""
    path = _path(version, kind)
    if path is None:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _evict(path.parent)
        descriptor, name = tempfile.mkstemp(".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            os.replace(name, path)  # noqa: PTH105 - the same as Path.replace
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _path(version: str, kind: str) -> Path | None:
    folder = cache_folder()
    if folder is None or not version:
        return None
    name = hashlib.sha256(f"{_FORMAT}\n{kind}\n{version}".encode()).hexdigest()
    return folder / f"{name}.npz"


def _evict(folder: Path) -> None:
    """Evict the least recently used entries until the others fit."""
    entries = [(path, path.stat()) for path in folder.iterdir() if path.suffix in {".npz", ".part"}]
    taken = sum(status.st_size for _, status in entries)
    for path, status in sorted(entries, key=lambda entry: entry[1].st_atime):
        if taken <= _MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        taken -= status.st_size
