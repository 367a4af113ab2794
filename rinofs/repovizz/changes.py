"""Create, copy, move and remove datapacks and nodes."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from rinofs.datapack import Container, DataNode, Tree
from rinofs.datapack.document import edits
from rinofs.datapack.document.naming import name_of_part
from rinofs.datapack.links import entry_of
from rinofs.errors import ConflictError, ContentChangedError, NotFoundError
from rinofs.repovizz.documents.queues import check_name
from rinofs.repovizz.paths import is_id, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rinofs.datapack import Document, Node
    from rinofs.fs.backend import Info
    from rinofs.fs.listings import Age
    from rinofs.repovizz.documents.editor import Datapacks
    from rinofs.repovizz.paths import DatapackPath
    from rinofs.repovizz.records import Datapack


class Changes:
    """Creates, copies, moves and removes datapacks and nodes.

    Parameters
    ----------
    datapacks : Datapacks
        Datapacks of the user.
    age : float or Moment
        Maximum age in seconds of what is known of a datapack, or the moment since when it must have been
        asked for: the changes of one operation act on the datapacks that have the names then.
    """

    def __init__(self, datapacks: Datapacks, age: Age) -> None:
        self._datapacks = datapacks
        self._age = age

    def make_folder(self, path: str, *, exist_ok: bool) -> None:
        """Create a datapack or container, and its parents.

        Raises
        ------
        ConflictError
            If the path exists, unless it is a folder and `exist_ok`.
        NotADirectoryError
            If a parent is a file.
        """
        place = parse(path)
        url = self._datapacks.url(path)
        if not place.inner:
            self._make_datapack(path, exist_ok=exist_ok)
            return
        for part in place.inner.split("/"):
            name_of_part(part)  # raises for names that are not allowed

        def edit(document: Document) -> Document:
            if exist_ok and isinstance(Tree(document).get(place.inner), Container):
                return document
            return edits.add_container(document, place.inner)

        datapack = self._datapacks.editor.found_or_made(
            place.datapack, self._datapacks.url(place.datapack), self._age
        )
        self._datapacks.editor.edit(datapack, edit, url, place.datapack)

    def _make_datapack(self, part: str, *, exist_ok: bool) -> None:
        url = self._datapacks.url(part)
        if not part:
            if not exist_ok:
                raise ConflictError("a folder with this name already exists", url)
            return
        if not self._datapacks.editor.lacks(part):
            with suppress(NotFoundError):
                self._datapacks.resolver.datapack(part, self._age)
                if exist_ok:
                    return
                raise ConflictError("a datapack with this name already exists", url)
        try:
            self._datapacks.editor.make(part, url)
        except ConflictError:
            if not exist_ok:
                raise

    # Remove

    def delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        """Remove datapacks and nodes; all of them, or none if one does not exist.

        Raises
        ------
        NotFoundError
            If one does not exist.
        IsADirectoryError
            If one is a folder and `recursive` is false.
        """
        inner: dict[str, list[DatapackPath]] = {}
        whole: dict[str, tuple[Datapack, str]] = {}
        packs: dict[str, Datapack] = {}
        for path in paths:
            place = parse(path)
            self._check_deletable(path)
            datapack, node = self._datapacks.resolver.node(path, self._age)
            if not isinstance(node, DataNode) and not recursive:
                raise IsADirectoryError(
                    errno.EISDIR, "is a folder; delete it with recursive=True", self._datapacks.url(path)
                )
            packs[datapack.id] = datapack
            if place.inner:
                inner.setdefault(datapack.id, []).append(place)
            else:
                whole[datapack.id] = datapack, path
        for identifier, found in inner.items():
            if identifier not in whole:
                self._remove_nodes(packs[identifier], found)
        for datapack, path in whole.values():
            self._datapacks.client.delete(datapack.id, self._datapacks.url(path))
            self._datapacks.cache.removed(datapack.id)

    def _check_deletable(self, path: str) -> None:
        if not path:
            raise PermissionError(errno.EPERM, "the top level cannot be deleted", self._datapacks.url(path))
        if parse(path).is_document:
            raise PermissionError(
                errno.EPERM, "the document cannot be deleted without its datapack", self._datapacks.url(path)
            )

    def delete_copied(self, path: str, copied: Mapping[str, Info]) -> None:
        """Remove a datapack or node; raises ContentChangedError if it is not what was copied."""
        place, url = parse(path), self._datapacks.url(path)
        self._check_deletable(path)
        datapack, _ = self._datapacks.resolver.node(path, self._age)
        if place.inner:
            self._remove_nodes(datapack, [place], copied)
            return
        # A datapack is deleted whatever is in it, so it is looked at right before.
        now = self._datapacks.resolver.again(datapack.id, url)
        check_name(now, place.datapack, url)
        _check_copied(now.document, "", copied, url)
        self.delete([path], recursive=True)

    def _remove_nodes(
        self, datapack: Datapack, places: Sequence[DatapackPath], copied: Mapping[str, Info] | None = None
    ) -> None:
        # Removing a folder removes its contents.
        found = [place.inner for place in places]
        part = next((place.datapack for place in places if not is_id(place.datapack)), None)
        tops = [path for path in found if not any(path.startswith(f"{other}/") for other in found)]
        label = self._datapacks.url(f"{datapack.name}/{tops[0]}")
        more = f" and {len(tops) - 1} more" if len(tops) > 1 else ""
        tops = list(dict.fromkeys(tops))

        def edit(document: Document) -> Document:
            if copied is not None:
                _check_copied(document, tops[0], copied, label)
            return edits.remove(document, *tops)

        self._datapacks.editor.edit(datapack, edit, label + more, part)

    # Copy and move within a datapack

    def copy(self, source: str, target: str) -> bool:
        """Copy a node within its datapack; both share the content, which is not sent again.

        Returns
        -------
        bool
            False if the paths are in different datapacks.

        Raises
        ------
        ConflictError
            If the target is a folder.
        """
        datapack = self._shared_datapack(source, target)
        if datapack is None:
            return False
        here, there = parse(source).inner, parse(target).inner

        def edit(document: Document) -> Document:
            node, taken = _node_at(document, here), Tree(document).get(there)
            if taken is None and isinstance(node, DataNode) and there.startswith(f"{here}/"):
                raise NotADirectoryError(
                    errno.ENOTDIR, "a part of the path is a file", self._datapacks.url(target)
                )
            if taken is None:
                return edits.copy(document, here, there)
            self._refuse_to_replace(node, taken, target)
            return edits.replace(document, there, node.without_fields("id"))

        if here != there:
            self._datapacks.editor.edit(datapack, edit, self._datapacks.url(target), parse(source).datapack)
        return True

    def move(self, source: str, target: str) -> bool:
        """Move or rename a node within its datapack, or rename a datapack.

        Returns
        -------
        bool
            False if the paths are in different datapacks.

        Raises
        ------
        ConflictError
            If the target is a folder.
        """
        here, there = parse(source).inner, parse(target).inner
        if source and target and not here and not there:
            datapack = self._datapacks.resolver.datapack(source, self._age)
            self._datapacks.editor.rename(datapack, source, target, self._datapacks.url(target))
            return True
        datapack_of_both = self._shared_datapack(source, target)
        if datapack_of_both is None:
            return False

        def edit(document: Document) -> Document:
            node, taken = _node_at(document, here), Tree(document).get(there)
            if taken is None:
                return edits.move(document, here, there)
            self._refuse_to_replace(node, taken, target)
            document = edits.replace(document, there, node)
            return edits.remove(document, here)

        if here != there:
            self._datapacks.editor.edit(
                datapack_of_both, edit, self._datapacks.url(target), parse(source).datapack
            )
        return True

    def _shared_datapack(self, source: str, target: str) -> Datapack | None:
        """Return the datapack that contains both paths, or None."""
        one, other = parse(source), parse(target)
        if not one.inner or not other.inner or one.is_document or other.is_document:
            return None
        datapack = self._datapacks.resolver.datapack(one.datapack, self._age)
        if one.datapack == other.datapack:
            return datapack
        if self._datapacks.editor.lacks(other.datapack):
            return None
        try:
            of_target = self._datapacks.resolver.datapack(other.datapack, self._age)
        except NotFoundError:
            return None
        return datapack if of_target.id == datapack.id else None

    def _refuse_to_replace(self, node: Node, taken: Document | Node, target: str) -> None:
        if not isinstance(taken, DataNode):
            raise ConflictError("is a folder; folders are not replaced", self._datapacks.url(target))
        if not isinstance(node, DataNode):
            raise NotADirectoryError(
                errno.ENOTDIR, "is a file; a folder cannot replace it", self._datapacks.url(target)
            )


def _node_at(document: Document, path: str) -> Node:
    node = Tree(document)[path]
    assert isinstance(node, Container | DataNode)  # the path is not empty
    return node


def _check_copied(document: Document, path: str, copied: Mapping[str, Info], label: str) -> None:
    """Raise ContentChangedError if the nodes at a path, which is there, are not those copied."""
    tree = Tree(document)
    there = tree[path]
    below = {} if isinstance(there, DataNode) else dict(tree.walk(path))
    now = {inner: _described(node) for inner, node in {path: there, **below}.items()}
    if now != {parse(each).inner: _compared(info) for each, info in copied.items()}:
        raise ContentChangedError("changed since it was copied", label)


def _described(node: Document | Node) -> list[object]:
    about = {"metadata": dict(node.meta)} if isinstance(node, DataNode) else {}
    return _compared({**entry_of("", node), **about})


def _compared(info: Info) -> list[object]:
    """Return what is copied of a data node; folders are only there."""
    fields = ("link", "metadata", "text", "mime", "datatype") if info["type"] == "file" else ()
    return [info["type"], *(info[field] for field in fields)]
