"""Open files with their datatypes as datasets."""

from __future__ import annotations

import errno
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import xarray as xr

from rinofs.datapack.arrays.events import events_dataset
from rinofs.datapack.arrays.lattice import StreamFacts, checked_rate, checked_start, finite, stream_dataset
from rinofs.datapack.arrays.recordings import combined, recording_datasets
from rinofs.datapack.arrays.times import shifted
from rinofs.datapack.datatypes.layouts import Lattice, Sparse
from rinofs.datapack.datatypes.registry import datatype_of_node, given_datatype, registry_of
from rinofs.datapack.document.messages import warn
from rinofs.datapack.document.model import Container, DataNode, Document
from rinofs.datapack.formats.detect import HEAD, NotDataError, UnreadNumberError, format_of, json_array
from rinofs.datapack.formats.handles import FileHandle
from rinofs.datapack.formats.readers import recording_of, samples_of
from rinofs.datapack.formats.recordings import RECORDING_FORMATS
from rinofs.datapack.formats.tables.timeaxis import iso_of_ns, stamp_ns
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rinofs.datapack.arrays.located import Located, Pack
    from rinofs.datapack.datatypes.datatype import Datatype
    from rinofs.datapack.datatypes.registry import DatatypeRegistry


_ZONE = re.compile(r"(Z|UTC|[+-]\d\d(:?\d\d)?)$")

MOST_WHOLE = 64 * 1024 * 1024
"""Maximum size in bytes of files in a tree that must be read whole; larger ones are opened on their own."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Arguments of the user, which take precedence over the node.

    Attributes
    ----------
    registry : DatatypeRegistry
        Registry of datatypes.
    datatype : Datatype or None
        Datatype of the file.
    rate : float or None
        Samples per second.
    channels : tuple of str or None
        Labels of the channels.
    start : float or None
        Time of the first sample in seconds.
    time_column : bool
        Whether to use a column of times as the axis.
    most_whole : int or None
        Maximum size in bytes of a file that must be read whole.
    """

    registry: DatatypeRegistry
    datatype: Datatype | None = None
    rate: float | None = None
    channels: tuple[str, ...] | None = None
    start: float | None = None
    time_column: bool = True
    most_whole: int | None = None

    @classmethod
    def of(
        cls, datatype: Any, rate: object, channels: Sequence[str] | None, start: object, datatypes: Any
    ) -> Overrides:
        """Create the overrides from arguments of the engine.

        Raises
        ------
        InvalidOptionError
            If an argument is not valid.
        """
        registry = registry_of(datatypes)
        if isinstance(channels, str):
            raise InvalidOptionError(f"channels={channels!r}: a list of labels is expected")
        labels = None if channels is None else tuple(str(label) for label in channels)
        if labels is not None and len(set(labels)) < len(labels):
            raise InvalidOptionError(f"channels={list(labels)!r}: labels must be unique and not empty")
        known = given_datatype(datatype, registry)
        return cls(registry, known, checked_rate(rate), labels, checked_start(start))


def open_located(file: Located, overrides: Overrides) -> xr.Dataset:
    """Return the dataset for a file.

    Raises
    ------
    NotDataError
        If arrays cannot be read from the file.
    InvalidDatapackError
        If the file does not match its datatype; both errors name the file.
    """
    return combined(open_groups(file, overrides))


def open_groups(file: Located, overrides: Overrides) -> dict[str, xr.Dataset]:
    """Return the datasets of a file by path; files with a single stream have one, with the path "".

    Raises as `open_located` does.
    """
    handle = FileHandle(file.fs, file.path)
    datatype = overrides.datatype or datatype_of_node(file.node, overrides.registry, file.label)
    try:
        datasets = _datasets(handle, file, datatype, overrides)
    except NotDataError as error:
        handle.close()
        raise type(error)(f"{file.label}: {error}") from error
    except InvalidDatapackError as error:
        handle.close()
        raise InvalidDatapackError(f"{file.label}: {error}") from error
    except IsADirectoryError as error:
        hint = "this is a folder: open a datapack with open_datatree, or name a file"
        raise IsADirectoryError(errno.EISDIR, hint, file.label) from error
    except BaseException:
        handle.close()
        raise
    handle.forget()
    datasets[""].attrs.update(_attributes(file.node, datatype))
    for dataset in datasets.values():
        dataset.set_close(handle.close)
    return datasets


def _datasets(
    handle: FileHandle, file: Located, datatype: Datatype | None, overrides: Overrides
) -> dict[str, xr.Dataset]:
    mime = file.node.mime if file.node else None
    head = handle.head(HEAD)
    kind = format_of(head, mime, file.path)
    if kind is None:
        what = f" ({mime})" if mime else ""
        raise NotDataError(
            f"unknown format: none of those in docs/formats.md{what}; open it as a file with fsspec.open"
        )
    layout = datatype.layout if datatype else None
    if kind == "json":
        json_array(head, of_numbers=not isinstance(layout, Sparse))
    if overrides.most_whole is not None and _is_read_whole(head, kind, events=isinstance(layout, Sparse)):
        _refuse_large(handle.size, overrides.most_whole, kind)
    if isinstance(layout, Sparse):
        return {"": events_dataset(handle, kind, layout, file.label)}
    stream = StreamFacts(
        file.label,
        datatype,
        overrides.rate,
        overrides.channels,
        _start(file, overrides),
        time_column=overrides.time_column,
    )
    if kind in RECORDING_FORMATS:
        return recording_datasets(recording_of(handle, kind, file.label), stream)
    whole_numbers = stream.quantity.type != "float" if isinstance(layout, Lattice) else None
    channels = [channel.label for channel in layout.channels] if isinstance(layout, Lattice) else None
    samples = samples_of(handle, kind, whole_numbers=whole_numbers, label=file.label, channels=channels)
    if kind == "csv" and datatype is None and not samples.shape[0] and not _is_table(mime, file.path):
        raise NotDataError("this is a line of text")  # could be the header of an empty table
    return {"": stream_dataset(samples, stream)}


def _is_read_whole(head: bytes, kind: str, *, events: bool) -> bool:
    """Return whether opening the file reads all of it, according to its beginning."""
    if kind == "edf":
        return head[192:197] in {b"EDF+D", b"BDF+D"}  # each record has its own time
    return events or kind in {"json", "xdf", "eaf", "textgrid", "webvtt", "repovizz1"}


def _refuse_large(size: int, most: int, kind: str) -> None:
    if size > most:
        raise InvalidDatapackError(
            f"it is {size / 2**20:.0f} MiB of {kind}, which can only be read whole: open it by open_dataset"
        )


def _is_table(mime: str | None, path: str) -> bool:
    return "csv" in (mime or "") or path.lower().endswith((".csv", ".tsv"))


def _start(file: Located, overrides: Overrides) -> float | None:
    if overrides.start is not None:
        return overrides.start
    start = file.node.meta.get("start") if file.node else None
    if start is None:
        return None
    number = finite(start)
    if number is None:
        warn(file.label, f"the start in its 'meta' is {start!r}, not a number of seconds; using 0")
    return number or 0.0


def _attributes(node: DataNode | None, datatype: Datatype | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if node is not None:
        found = {"name": node.name, "text": node.text, "id": node.id, "mime": node.mime}
    if datatype is not None:
        found |= {"datatype": datatype.id or datatype.name, "datatype_name": datatype.name}
    elif node is not None:
        found["datatype"] = node.datatype
    return {key: value for key, value in found.items() if value}


def tree_datasets(
    pack: Pack, overrides: Overrides, map_: Callable[..., Iterable[Any]] = map
) -> dict[str, xr.Dataset]:
    """Return the groups of a datapack by path: containers, and streams in them.

    Files that are not data are listed in the attribute ``other_files`` of their group. So are data files that
    cannot be read or were not uploaded yet, with a warning. A file that was uploaded but cannot be found is
    an error.
    """
    entries = list(pack.groups())
    nodes = [(path, node) for path, node in entries if isinstance(node, DataNode)]
    opened = map_(lambda entry: _read_or_none(pack, entry[0], overrides), nodes)
    datasets = dict(zip((path for path, _ in nodes), opened, strict=True))
    earliest = _on_one_axis([datasets[path] for path, node in nodes if node.meta.get("start") is None])
    others: dict[str, list[str]] = defaultdict(list)
    for path, dataset in datasets.items():
        if dataset is None and path:
            parent, _, part = path.rpartition("/")
            others[parent].append(part)
    groups = {}
    for path, node in entries:
        if isinstance(node, DataNode):
            for inner, dataset in (datasets[path] or {}).items():
                groups[f"/{path}/{inner}".rstrip("/") or "/"] = dataset
            continue
        attrs = _group_attributes(node)
        if earliest and not path:
            attrs["start_time"] = earliest
        groups[f"/{path}"] = xr.Dataset(
            attrs={**attrs, **({"other_files": others[path]} if others[path] else {})}
        )
    return groups


def _on_one_axis(nodes: Iterable[dict[str, xr.Dataset] | None]) -> str | None:
    """Shift streams with known start times to the first of them; returns the first start time."""
    streams = [(node, inner) for node in nodes for inner in node or {}]
    began = {
        (id(node), inner): ns
        for node, inner in streams
        if "clock" not in (node or {})[inner].attrs
        and (ns := stamp_ns(str((node or {})[inner].attrs.get("start_time", "")))) is not None
    }
    if not began:
        return None
    said = [
        str(node[inner].attrs["start_time"]) for node, inner in streams if node and (id(node), inner) in began
    ]
    naive = [text for text in said if not _ZONE.search(text)]
    if naive and len(naive) < len(said):
        warn("the streams", f"some begin at a time without a zone ({naive[0]}), which is taken for UTC")
    earliest = min(began.values())
    for node, inner in streams:
        if node is not None and (id(node), inner) in began:
            node[inner] = shifted(node[inner], (began[id(node), inner] - earliest) / 1e9)
    return iso_of_ns(earliest)


def _read_or_none(pack: Pack, path: str, overrides: Overrides) -> dict[str, xr.Dataset] | None:
    """Return the datasets of a node, None if it cannot be read as data."""
    overrides = replace(overrides, most_whole=MOST_WHOLE)
    inner = f"{pack.inner}/{path}".strip("/")
    file = pack.located(inner)
    try:
        return open_groups(file, overrides)
    except NotDataError as error:
        node = file.node
        is_typed = bool(node and node.datatype and overrides.registry.get(node.datatype))
        is_unread = isinstance(error, UnreadNumberError) and _is_table(node.mime if node else None, file.path)
        if is_typed or is_unread:
            warn(file.label, f"skipped: {error}")
    except FileNotFoundError as error:
        if not _was_never_uploaded(file):
            raise
        warn(file.label, f"skipped: {error}")
    except (InvalidDatapackError, InvalidOptionError, ImportError) as error:
        warn(file.label, f"skipped: {error}")
    return None


def _was_never_uploaded(file: Located) -> bool:
    """Return whether a node never had a file, rather than one that was not found when it was read."""
    if file.node is not None and file.node.is_at_service:
        return False
    return file.fs.info(file.path)["size"] is None


def _group_attributes(node: Document | Container) -> dict[str, Any]:
    if isinstance(node, Container):
        found: dict[str, Any] = {"name": node.name, "text": node.text, "id": node.id}
    else:
        info = node.info
        found = {
            "name": info.name,
            "author": info.author,
            "description": info.description,
            "keywords": list(info.keywords),
            "id": info.id,
        }
    return {key: value for key, value in found.items() if value}
