"""Metadata kept in a file beside the file that it describes: ``run.csv.json`` beside ``run.csv``."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rinofs.fs.changing import ChangeableFileSystem
from rinofs.fs.transfer.download import replacing
from rinofs.fs.values import as_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rinofs.fs.transfer.plans import Copy

__all__ = ["SidecarFileSystem", "check_free", "is_sidecar", "read_sidecar", "write_sidecar"]

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
        If it is no JSON object; the message names it.
    TypeError
        If it is another JSON value.
    """
    beside = Path(path + SUFFIX)
    if not beside.is_file() or not is_sidecar(str(beside)):
        return None
    try:
        found = json.loads(beside.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside}: this is beside a file, and should hold its metadata: {error}") from error
    return as_metadata(found, str(beside))


def write_sidecar(path: str, metadata: Mapping[str, Any]) -> None:
    """Keep metadata beside a local file; where there is none, only what is there already is replaced."""
    beside = Path(path + SUFFIX)
    if metadata or beside.exists():
        text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with replacing(beside) as file:
            file.write(text.encode())


def check_free(targets: Iterable[str]) -> None:
    """Raise FileExistsError if one of the files to be written has the name of another one's metadata."""
    names = set(targets)
    for name in sorted(names):
        if name + SUFFIX in names:
            problem = "a file and the metadata of another would have this name"
            raise FileExistsError(errno.EEXIST, problem, name + SUFFIX)


class SidecarFileSystem(ChangeableFileSystem):
    """A filesystem that takes metadata from sidecars, and writes them, with ``sidecars=True``.

    The parameters are those of its base.
    """

    def _to_put(self, copies: list[Copy], options: Mapping[str, Any]) -> list[Copy]:
        if not options.get("sidecars"):
            return copies
        wanted = [copy for copy in copies if not is_sidecar(copy.source)]
        for copy in wanted:
            read_sidecar(copy.source)  # so that a broken one is found before anything is sent
        return wanted

    def _attributes(self, source: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if not given.get("sidecars"):
            return given
        rest = {name: value for name, value in given.items() if name != "sidecars"}
        beside = read_sidecar(str(source))
        return rest if beside is None else {**rest, "metadata": {**beside, **(rest.get("metadata") or {})}}

    def _to_get(self, copies: list[Copy], options: Mapping[str, Any]) -> list[Copy]:
        if options.get("sidecars"):
            check_free(copy.target for copy in copies if not copy.is_folder)
        return copies

    def _got(self, copy: Copy, options: Mapping[str, Any]) -> None:
        if options.get("sidecars") and Path(copy.target).is_file():
            # By id, since this metadata belongs to that version.
            version_id = options.get("version_id")
            info = self._pinned(self._strip_protocol(copy.source), version_id, max_age=self._read_age()).info
            write_sidecar(copy.target, info["metadata"])
