"""repovizz2 as an fsspec filesystem: what it has beyond the others."""

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

    The first part of a path is a datapack, by its name or its UUID; then come containers and data nodes by
    their names, which show as `rinofs.datapack.document.naming` says. ``datapack.json`` in a datapack is its
    structure: it can be read and written, and is not listed. ``repovizz:`` and a hash in place of a node
    reads the content of that hash. The parameters are those of `RemoteFileSystem`.
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
        """Make a datapack of a document and the files that it links to.

        Where the datapack is there already, with this structure, only what is missing of it is sent.

        Parameters
        ----------
        document : str
            Path or URL of the document; links are found from where it is.
        path : str
            The name of the datapack; by default the one in the document.
        callback : Callback
            Is told of the bytes.
        resume : bool, optional
            Whether to go on with a datapack that is there already. If not, such a one is a conflict, and a
            push that fails is taken back.
        **options
            Of the filesystem that the document is on.

        Returns
        -------
        Pushed
            What was done.

        Raises
        ------
        InvalidDatapackError
            If the document is not valid.
        NotFoundError
            If a file is missing; nothing is sent then.
        ConflictError
            If there is another datapack of this name.
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
        """Say which contents of a datapack go to which files on this machine.

        Parameters
        ----------
        path : str
            The datapack.
        local_path : callable
            Returns the path that a file can have on this machine for one in the datapack's tree.
        """
        path = self._strip_protocol(path)
        if not path or "/" in path:
            raise InvalidPathError(f"{self.url(path)} is not a datapack: pull repovizz://NAME")
        return plan_pull(self._backend.resolver.datapack(path, self.options.listing_age), local_path)
