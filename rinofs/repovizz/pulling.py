"""Download a datapack as a document and files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.datapack import DataNode, dump
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.datapack.links import REPOVIZZ
from rinofs.repovizz.records import hash_of, relinked

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.repovizz.records import Datapack

_WILD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")


@dataclass(frozen=True, slots=True)
class PullPlan:
    """The files of a download.

    Attributes
    ----------
    datapack : Datapack
        Datapack.
    files : dict of str to str
        For each hash, the path of its file relative to the target folder.
    lacking : tuple of str
        Paths of nodes whose contents were never uploaded.
    """

    datapack: Datapack
    files: dict[str, str]
    lacking: tuple[str, ...]

    def document(self) -> str:
        """Return the text of the document, with links to the files."""

        def local(link: str) -> str:
            return self.files.get(hash_of(link) or "", link)

        return dump(relinked(self.datapack.document, local), indent=2) + "\n"


def plan_pull(datapack: Datapack, local_path: Callable[[str], str]) -> PullPlan:
    """Return which content goes to which file.

    A content that several nodes share becomes one file, with the name of the first of them.

    Parameters
    ----------
    datapack : Datapack
        Datapack.
    local_path : callable
        Returns an allowed local path for a path in the datapack's tree.
    """
    files: dict[str, str] = {}
    nodes = [(path, node) for path, node in datapack.tree.walk() if isinstance(node, DataNode)]
    lacking = tuple(path for path, node in nodes if hash_of(node.link) is None)
    # A node without content keeps its link, so no other file may have that path.
    taken = {DOCUMENT_NAME} | {node.link for _, node in nodes if hash_of(node.link) is None}
    local_path(DOCUMENT_NAME)
    for path, node in nodes:
        content_hash = hash_of(node.link)
        if content_hash is None or content_hash in files:
            continue
        files[content_hash] = _free(path, local_path, taken)
        taken.add(files[content_hash])
    return PullPlan(datapack, files, lacking)


def _free(path: str, local_path: Callable[[str], str], taken: set[str]) -> str:
    # A backslash separates names on Windows, so such a link would lead elsewhere; so would one that starts
    # with "repovizz:". Some servers do not find links that contain a line break.
    plain = _WILD.sub("_", path)
    if plain.startswith(REPOVIZZ):
        plain = plain.replace(":", "_", 1)
    found, number = local_path(plain), 1
    while found in taken:
        number += 1
        found = local_path(f"{plain}~{number}")
    return found
