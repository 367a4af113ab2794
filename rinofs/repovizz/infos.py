"""What `info` and `ls` say of datapacks and nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.datapack import DataNode, Document
from rinofs.datapack.links import entry_of

if TYPE_CHECKING:
    from rinofs.datapack import Node
    from rinofs.fs.browse import Info
    from rinofs.repovizz.records import Datapack


def info_of_datapack(path: str, identifier: str) -> Info:
    """Describe a datapack."""
    return {"name": path, "size": 0, "type": "directory", "id": identifier, "datapack": identifier}


def info_of_document(path: str, datapack: Datapack) -> Info:
    """Describe the structure document of a datapack."""
    size = len(datapack.text)
    about = {"mime": "application/json", "datapack": datapack.id}
    return {"name": path, "size": size, "type": "file", **about}


def info_of_node(path: str, datapack: Datapack, node: Document | Node) -> Info:
    """Describe a node; the size of its content is not known yet."""
    if isinstance(node, Document):
        return info_of_datapack(path, datapack.id)
    info = {**entry_of(path, node), "datapack": datapack.id}
    return {**info, "metadata": dict(node.meta)} if isinstance(node, DataNode) else info
