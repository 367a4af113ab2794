"""The fsspec filesystem for repovizz2: push and pull of whole datapacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import url_to_fs

from rinofs.credentials import Service
from rinofs.datapack import parse as parse_document
from rinofs.datapack.document.naming import part_of_name
from rinofs.datapack.document.validation import check
from rinofs.datapack.links import Links
from rinofs.errors import InvalidDatapackError, InvalidPathError
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.repovizz.backend import RepovizzBackend
from rinofs.repovizz.pulling import plan_pull

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsspec.callbacks import Callback

    from rinofs.credentials import Credentials
    from rinofs.repovizz.pulling import PullPlan
    from rinofs.repovizz.pushing import Pushed


class RepovizzFileSystem(RemoteFileSystem):
    """Datapacks in repovizz2, under ``repovizz://``.

    The first part of a path is the name or UUID of a datapack; containers and data nodes follow by name, as
    `rinofs.datapack.document.naming` encodes them. ``datapack.json`` in a datapack is its document, which can
    be read and written but is not listed. ``repovizz:`` and a hash in place of a node read the content with
    that hash. The parameters are those of `RemoteFileSystem`.
    """

    protocol: str | tuple[str, ...] = ("repovizz", "repovizz2")
    service = Service("repovizz", ("repovizz", "repovizz2"), "https://repovizz2.upf.edu")

    _backend: RepovizzBackend

    def _connect(self, credentials: Credentials, url: Callable[[str], str]) -> RepovizzBackend:
        return RepovizzBackend(credentials, self.options, url)

    def push(
        self,
        document: str,
        path: str = "",
        callback: Callback = DEFAULT_CALLBACK,
        *,
        resume: bool = True,
        **options: Any,
    ) -> Pushed:
        """Create a datapack from a document and the files that it links to.

        If the datapack exists already with the same structure, only missing and changed files are sent.

        Parameters
        ----------
        document : str
            Path or URL of the document; its links are relative to it.
        path : str
            Name of the datapack; by default the one in the document.
        callback : Callback
            Receives the progress in bytes.
        resume : bool, optional
            Whether to continue with an existing datapack. If not, an existing datapack is a conflict, and a
            failed push is undone.
        **options
            Options of the document's filesystem.

        Returns
        -------
        Pushed
            What was done.

        Raises
        ------
        InvalidDatapackError
            If the document is not valid.
        NotFoundError
            If a file does not exist; nothing is sent then.
        ConflictError
            If another datapack has this name.
        """
        there, where = url_to_fs(document, **options)
        try:
            structure = parse_document(there.cat_file(where))
            check(structure, any_link=True)
        except InvalidDatapackError as error:
            raise InvalidDatapackError(f"{document}: {error}") from error
        part = self._strip_protocol(path) or part_of_name(structure.info.name)
        if not part or "/" in part:
            raise InvalidPathError(f"{part!r} cannot be the name of a datapack; push to repovizz://NAME")
        return self._backend.pusher.push(structure, Links(there, where, None), part, callback, resume=resume)

    def plan_pull(self, path: str, local_path: Callable[[str], str]) -> PullPlan:
        """Return which contents of a datapack go to which local files.

        Parameters
        ----------
        path : str
            Datapack.
        local_path : callable
            Returns an allowed local path for a path in the datapack's tree.
        """
        path = self._strip_protocol(path)
        if not path or "/" in path:
            raise InvalidPathError(f"{self.url(path)} is not a datapack: pull repovizz://NAME")
        return plan_pull(self._backend.resolver.datapack(path, self.options.listing_age), local_path)
