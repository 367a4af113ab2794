"""Paths as objects: ``UPath("rino://exp1/a.csv")`` of universal_pathlib makes these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec import get_filesystem_class
from upath import UPath

if TYPE_CHECKING:
    from upath.types import JoinablePathLike


class RemotePath(UPath):
    """A path on a service, for ``universal_pathlib``; the parameters are those of `upath.UPath`.

    Storage options are those of the filesystem.
    """

    __slots__ = ()

    @classmethod
    def _transform_init_args(
        cls, args: tuple[JoinablePathLike, ...], protocol: str, storage_options: dict[str, Any]
    ) -> tuple[tuple[JoinablePathLike, ...], str, dict[str, Any]]:
        # Paths are taken apart as the filesystem's class does it, but only if fsspec has loaded that by now.
        get_filesystem_class(protocol)
        return super()._transform_init_args(args, protocol, storage_options)

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """Return size, times and kind, as `os.stat` does.

        Parameters
        ----------
        follow_symlinks : bool
            Means nothing here: the services know no links.

        Raises
        ------
        NotFoundError
            If there is nothing.
        """
        result: Any = super().stat(follow_symlinks=follow_symlinks)
        info = dict(result.as_info())
        # universal_pathlib looks for the time of change under every name but the one that fsspec uses.
        return type(result).from_info({**info, "mtime": info["modified"]} if info.get("modified") else info)
