"""Paths as objects: `UPath` of universal_pathlib creates these for ``UPath("rino://exp1/a.csv")``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from fsspec import get_filesystem_class
from upath import UPath

if TYPE_CHECKING:
    from upath.types import JoinablePathLike, WritablePathLike


class RemotePath(UPath):
    """A path on a service, for ``universal_pathlib``; the parameters are those of `upath.UPath`.

    Storage options are those of the filesystem.
    """

    __slots__ = ()

    @classmethod
    def _transform_init_args(
        cls, args: tuple[JoinablePathLike, ...], protocol: str, storage_options: dict[str, Any]
    ) -> tuple[tuple[JoinablePathLike, ...], str, dict[str, Any]]:
        # UPath parses paths with the filesystem's class, but only if fsspec has loaded it.
        get_filesystem_class(protocol)
        return super()._transform_init_args(args, protocol, storage_options)

    def rename(self, target: WritablePathLike, **kwargs: Any) -> Self:
        """Rename the file or folder. A relative target starts at the top level: there is no current folder.

        Parameters
        ----------
        target : path-like
            New path.
        **kwargs
            As for `upath.UPath.rename`.

        Returns
        -------
        RemotePath
            The new path.
        """
        if not isinstance(target, UPath) and "://" not in str(target):
            target = self.with_segments(str(target).removeprefix("./"))
        return super().rename(target, **kwargs)
