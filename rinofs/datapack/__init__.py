"""Datapacks: trees of data files described by one JSON document, wherever the files are."""

from __future__ import annotations

from rinofs.datapack.document import Container, DataNode, Document, Info, Node, dump, from_json, parse
from rinofs.datapack.tree import Tree

__all__ = ["Container", "DataNode", "Document", "Info", "Node", "Tree", "dump", "from_json", "parse"]
