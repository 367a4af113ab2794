"""What a pass over a large file found out, kept on disk for the sessions to come.

An entry belongs to one content: its name is a hash of what tells the version that was read, so that a file
that changed has another. Entries hold numbers only and are never unpickled. What cannot be kept is found out
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

_FORMAT = 1
"""Counts up when a pass finds something else out of the same content."""

_MOST_BYTES = 1024 * 1024 * 1024
"""What all entries together take at most; those that were not used for longest go first."""


def cache_folder() -> Path | None:
    """Return where entries are: ``$RINOFS_CACHE_DIR``, else ``rinofs`` in the user's folder of caches.

    None where ``RINOFS_CACHE_DIR`` is empty, or there is no home: then nothing is kept.
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
    """Return what was kept of a content, None where there is nothing, or nothing of use.

    Parameters
    ----------
    version : str
        Tells this content from all others; empty where that is not known.
    kind : str
        What was found out.
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


def keep_index(version: str, kind: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep what was found out of a content; where that fails, it is not kept."""
    path = _path(version, kind)
    if path is None:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _give_up_old(path.parent)
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


def _give_up_old(folder: Path) -> None:
    """Remove entries, the longest unused first, until the others take no more than they may."""
    entries = [(path, path.stat()) for path in folder.iterdir() if path.suffix in {".npz", ".part"}]
    taken = sum(status.st_size for _, status in entries)
    for path, status in sorted(entries, key=lambda entry: entry[1].st_atime):
        if taken <= _MOST_BYTES:
            break
        path.unlink(missing_ok=True)
        taken -= status.st_size
