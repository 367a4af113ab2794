"""How a content gets to its node: before the node links to it or, where the server has no such way, after."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.datapack import Container, DataNode, Document, Tree
from rinofs.datapack.document import edits
from rinofs.datapack.links import REPOVIZZ
from rinofs.errors import OutcomeUnknownError, RinofsError
from rinofs.repovizz.records import hash_of
from rinofs.repovizz.sources import check_hash

if TYPE_CHECKING:
    from rinofs.repovizz.documents.editor import Datapacks
    from rinofs.repovizz.records import Datapack
    from rinofs.repovizz.sending import Sending

_WILD = re.compile(r"[^\w .+-]")

_LEFT = "Left by an upload that broke off; it can be removed."


class Deliveries:
    """Send contents to a server that takes them before nodes link to them.

    Nobody sees anything of a content until it is there whole, and checked: then one edit links to it.

    Parameters
    ----------
    datapacks : Datapacks
        The datapacks.
    verify : bool
        Whether what was stored is checked.
    """

    def __init__(self, datapacks: Datapacks, *, verify: bool) -> None:
        self._datapacks = datapacks
        self._verify = verify

    def send(self, sending: Sending, datapack: Datapack) -> str:
        """Send a content once; return its hash."""
        self._datapacks.editor.check(datapack, lambda document: sending.placed(document, ""), sending.url)
        stored = self._datapacks.client.store(datapack, sending.body, sending.url)
        if self._verify:
            check_hash(self._datapacks.client.features, sending.sha1(), stored, sending.url)
        self._datapacks.editor.edit(
            datapack, lambda document: sending.placed(document, REPOVIZZ + stored), sending.url
        )
        return stored


@dataclass(frozen=True, slots=True)
class _Claim:
    """A link that one node alone has.

    Attributes
    ----------
    datapack : Datapack
        The state that has it.
    path : str
        Of the node.
    link : str
        The link.
    made : tuple of str
        Containers that were made on the way, the inner ones first.
    """

    datapack: Datapack
    path: str
    link: str
    made: tuple[str, ...] = ()


class LinkedDeliveries:
    """Send contents to a server that takes them for nodes that are there already: the published API.

    A node that is there keeps its content until the new one is stored: where the node shares its link, or
    more than its content changes, the new content is stored for a node of its own first. A new node is there
    without content until that is stored.

    Parameters
    ----------
    datapacks : Datapacks
        The datapacks.
    verify : bool
        Whether what was stored is checked.
    """

    def __init__(self, datapacks: Datapacks, *, verify: bool) -> None:
        self._datapacks = datapacks
        self._verify = verify

    def send(self, sending: Sending, datapack: Datapack) -> str:
        """Send a content once; return its hash."""
        if _own_link(sending, datapack) is not None:
            stored = self._replace(sending, datapack)
            if stored is not None:
                return stored
        claim = self._claim(sending, datapack)
        mine = claim.link
        try:
            with self._datapacks.editor.uploading(claim.datapack):
                stored = self._upload(sending, claim.datapack, claim.path, claim.link)
            mine = REPOVIZZ + stored
            self._check(sending, stored)
            if claim.path != sending.inner:
                self._publish(sending, claim, stored)
        except BaseException as error:
            self._undo(sending, claim, mine, error)
            raise
        return stored

    def _replace(self, sending: Sending, datapack: Datapack) -> str | None:
        """Replace the content of a node; what else the link is of has to be looked at right before."""
        with self._datapacks.editor.alone(datapack):
            known = self._datapacks.resolver.again(datapack.id, sending.url)
            link = _own_link(sending, known)
            if link is None:
                return None
            stored = self._upload(sending, known, sending.inner, link)
        self._check(sending, stored)
        return stored

    def _upload(self, sending: Sending, datapack: Datapack, path: str, link: str) -> str:
        url = sending.url
        try:
            stored = self._datapacks.client.upload(datapack, link, sending.body, url)
        except OutcomeUnknownError:
            there = self._datapacks.resolver.again(datapack.id, url)
            if link in there.links:
                stored = self._datapacks.client.upload(datapack, link, sending.body, url)
            else:
                node = there.tree.get(path)
                found = hash_of(node.link) if isinstance(node, DataNode) else None
                if found is None:
                    raise
                stored = found
        self._datapacks.cache.relink(datapack.id, link, REPOVIZZ + stored)
        return stored

    def _check(self, sending: Sending, stored: str) -> None:
        if self._verify:
            check_hash(self._datapacks.client.features, sending.sha1(), stored, sending.url)

    def _claim(self, sending: Sending, datapack: Datapack) -> _Claim:
        """Have a node with a link of its own: the one that the content is for, if it is not there yet."""
        token = secrets.token_hex(8)
        # The name comes last, since the service has it as the name of the download.
        link = f"{token}/{_tame(sending.name)}"
        beside = f".upload-{token}"
        seen: list[tuple[str, tuple[str, ...]]] = []

        def edit(document: Document) -> Document:
            placed = sending.placed(document, link)  # raises where it cannot be
            tree = Tree(document)
            if sending.inner not in tree:
                seen.append((sending.inner, _missing_above(tree, sending.inner)))
                return placed
            seen.append((beside, ()))
            return edits.add(document, beside, DataNode.create(beside, link, text=_LEFT))

        claimed = self._datapacks.editor.edit(datapack, edit, sending.url)
        path, made = seen[-1]
        return _Claim(claimed, path, link, made)

    def _publish(self, sending: Sending, claim: _Claim, stored: str) -> None:
        """Let the node have the content that was stored for another one, which goes."""

        def edit(document: Document) -> Document:
            placed = sending.placed(document, REPOVIZZ + stored)
            return edits.remove(placed, claim.path) if claim.path in Tree(placed) else placed

        self._datapacks.editor.edit(claim.datapack, edit, sending.url)

    def _undo(self, sending: Sending, claim: _Claim, mine: str, error: BaseException) -> None:
        """Leave things as they were before a content that could not be stored."""
        beside = claim.path != sending.inner

        def edit(document: Document) -> Document:
            node = Tree(document).get(claim.path)
            if not isinstance(node, DataNode) or node.link != mine:
                return document  # it was stored after all, or is somebody else's by now
            document = edits.remove(document, claim.path)
            for path in claim.made:
                container = Tree(document).get(path)
                if isinstance(container, Container) and not container.children:
                    document = edits.remove(document, path)
            return document

        try:
            self._datapacks.editor.edit(claim.datapack, edit, sending.url)
        except RinofsError:
            left = f"{claim.path} may be left in the datapack: remove it"
            empty = f"{sending.url} may be there without content: write it again, or remove it"
            error.add_note(left if beside else empty)


def _own_link(sending: Sending, datapack: Datapack) -> str | None:
    """Return the link of the node, if its content is all that changes, and no other node has the link."""
    node = datapack.tree.get(sending.inner)
    if not isinstance(node, DataNode) or not node.link or datapack.links[node.link] > 1:
        return None
    return node.link if sending.only_content(node) else None


def _tame(name: str) -> str:
    """Return a name without the characters that some server may not find in an address."""
    return _WILD.sub("_", name)[:100].strip(". ") or "file"


def _missing_above(tree: Tree, inner: str) -> tuple[str, ...]:
    missing = []
    above = inner.rpartition("/")[0]
    while above and above not in tree:
        missing.append(above)
        above = above.rpartition("/")[0]
    return tuple(missing)
