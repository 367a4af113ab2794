"""Paths as objects: ``UPath("rino://exp1/a.csv")`` of universal_pathlib makes these."""

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
        # Paths are taken apart as the filesystem's class does it, but only if fsspec has loaded that by now.
        get_filesystem_class(protocol)
        return super()._transform_init_args(args, protocol, storage_options)

    def rename(self, target: WritablePathLike, **kwargs: Any) -> Self:
        """Rename the file or folder; a relative target counts from the top, as there is no current folder.

        Parameters
        ----------
        target : path-like
            What it is called from then on.
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
