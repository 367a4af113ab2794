"""What a filesystem refuses that nobody can write to."""

from __future__ import annotations

import errno
from typing import Any, NoReturn

from fsspec import AbstractFileSystem


class ReadOnlyFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Refuses every change with ``EROFS``, where fsspec's base class would pass over some in silence."""

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: ARG002
        """Refuse: read-only."""
        refuse_writing(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Refuse, unless there is such a container and that is well: read-only."""
        if not (exist_ok and self.isdir(path)):
            refuse_writing(path)

    def rmdir(self, path: str) -> None:
        """Refuse: read-only."""
        refuse_writing(path)

    def rm_file(self, path: str) -> None:
        """Refuse: read-only."""
        refuse_writing(path)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:  # noqa: ARG002
        """Refuse: read-only."""
        refuse_writing(path2)


def refuse_writing(path: str) -> NoReturn:
    """Raise the error of a read-only filesystem."""
    message = (
        "datapack:// is read-only; write beside the document and edit it with rinofs.datapack.document.edits"
    )
    raise OSError(errno.EROFS, message, path)
