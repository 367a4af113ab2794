"""Which datatype a file is of: the user's word, the node's own document, or the registry's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rinofs.datapack.datatypes.datatype import Datatype, parse_datatype
from rinofs.datapack.datatypes.registry import DatatypeRegistry
from rinofs.datapack.formats.samples import warn
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.datapack.document.document import DataNode

ENVIRONMENT = "RINOFS_DATATYPES"
"""Names a folder or URL of datatypes that are always known."""


def registry_of(datatypes: Any = None) -> DatatypeRegistry:
    """Return the registry to look datatypes up in.

    Parameters
    ----------
    datatypes : DatatypeRegistry, str or path-like, optional
        A registry, or a folder or URL with documents to know beside the published ones. By default the one
        that the environment variable ``RINOFS_DATATYPES`` names.

    Raises
    ------
    InvalidOptionError
        If it is anything else.
    """
    if isinstance(datatypes, DatatypeRegistry):
        return datatypes
    if datatypes is None:
        datatypes = os.environ.get(ENVIRONMENT) or None
    published = DatatypeRegistry.published()
    if datatypes is None:
        return published
    if not isinstance(datatypes, (str, os.PathLike)):
        raise InvalidOptionError(
            f"datatypes= takes a registry, a folder or a URL, not {type(datatypes).__name__}"
        )
    return published.extended_by_url(os.fspath(datatypes))


def given_datatype(datatype: Any, registry: DatatypeRegistry) -> Datatype | None:
    """Return the datatype that a user names.

    Parameters
    ----------
    datatype : Datatype, str, bytes or mapping
        The datatype, its name or UUID, or its document, as JSON text or as an object.
    registry : DatatypeRegistry
        Where names are looked up.

    Raises
    ------
    UnknownDatatypeError
        If none is called so.
    InvalidDatapackError
        If a document is none.
    InvalidOptionError
        If it is anything else.
    """
    if datatype is None or isinstance(datatype, Datatype):
        return datatype
    if isinstance(datatype, dict) or (isinstance(datatype, (str, bytes)) and _is_document(datatype)):
        return parse_datatype(datatype, "datatype=")
    if isinstance(datatype, str):
        return registry[datatype]
    raise InvalidOptionError(f"datatype= takes a name, a UUID or a document, not {type(datatype).__name__}")


def datatype_of_node(node: DataNode | None, registry: DatatypeRegistry, label: str) -> Datatype | None:
    """Return the datatype of a node: its own document's, else the registry's; warn where there is neither."""
    if node is None:
        return None
    own = _own(node.meta, label)
    if own is not None and (node.datatype is None or own.id == node.datatype.lower()):
        return own
    if node.datatype is None:
        return None
    found = registry.get(node.datatype)
    if found is None:
        warn(
            label,
            f"its datatype {node.datatype!r} is not known: it is read without; datatype= or datatypes= tells"
            " of it",
        )
    return found


def _own(meta: Mapping[str, Any], label: str) -> Datatype | None:
    document = meta.get("datatype")
    if not isinstance(document, dict):
        return None
    try:
        return parse_datatype(document, label)
    except InvalidDatapackError as error:
        warn(label, f"the datatype in its 'meta' is left aside: {error}")
        return None


def _is_document(text: str | bytes) -> bool:
    start = text.lstrip()[:1]
    return start in {"{", b"{"}
