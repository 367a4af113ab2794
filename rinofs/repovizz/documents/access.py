"""What everything is made with that changes datapacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.repovizz.client import RepovizzClient
    from rinofs.repovizz.documents.cache import Shelf
    from rinofs.repovizz.documents.editor import Editor
    from rinofs.repovizz.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Access:
    """The ways to the datapacks of one user at one endpoint.

    Attributes
    ----------
    client : RepovizzClient
        Sends the requests.
    resolver : Resolver
        Finds datapacks, nodes and contents.
    shelf : Shelf
        Is told of every change.
    editor : Editor
        Edits structures, and makes datapacks.
    url : callable
        Turns a path into what messages call it.
    """

    client: RepovizzClient
    resolver: Resolver
    shelf: Shelf
    editor: Editor
    url: Callable[[str], str]
