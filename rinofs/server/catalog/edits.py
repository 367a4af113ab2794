"""What changes of an object come to in the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rinofs.server.catalog.metadata import dump_list, dump_metadata, load_metadata
from rinofs.server.catalog.records import Change, Kind, Record, now

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["changed_values", "metadata_values"]


def changed_values(record: Record, change: Change) -> dict[str, object]:
    """Return the columns that a change of an object sets."""
    values: dict[str, object] = {}
    if change.name is not None:
        values["name"] = change.name
    if change.tags is not None:
        values["tags"] = dump_list(change.tags)
    if change.metadata is not None or change.merged:
        metadata = load_metadata(record.metadata) if change.metadata is None else change.metadata
        values |= metadata_values({**metadata, **change.merged})
    if change.versions:
        values["versions"] = dump_list(sorted(change.versions.union(json.loads(record.versions))))
    # The time of a file is that of its content.
    if values and record.type != Kind.FILE:
        values["updated_on"] = now()
    return values


def metadata_values(metadata: Mapping[str, object]) -> dict[str, object]:
    """Return the columns that new metadata set."""
    text = dump_metadata(metadata)
    return {"metadata": text, "metadata_size": len(text.encode())}
