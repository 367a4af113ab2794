"""``engine="datapack"``: sensor streams as labelled arrays."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from rinofs.datapack.arrays.located import filesystem_of, is_single_file, located, pack_at
from rinofs.datapack.arrays.opening import Overrides, open_groups, open_located, tree_datasets
from rinofs.datapack.document.naming import DOCUMENT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rinofs.datapack.datatypes.registry import DatatypeRegistry

_PROTOCOLS = ("repovizz://", "repovizz2://", "datapack://")
_OF_OTHERS = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".zarr", ".grib", ".grb", ".tif", ".tiff")


class DatapackBackend(BackendEntrypoint):
    """Opens nodes of datapacks, and files with a given datatype, as labelled arrays."""

    description = (
        "Sensor streams of datapacks (repovizz://, datapack://), and JSON, CSV, audio and .npy files"
    )
    url = "docs/arrays.md"  # relative to the source distribution, since there is no website
    supports_groups: ClassVar[bool] = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether this is a node of a datapack, or a datapack's document."""
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        name = os.fspath(filename_or_obj)
        inner = name.partition("::")[0].lower()
        if name.startswith(_PROTOCOLS):
            return not inner.endswith(_OF_OTHERS)
        return name.replace(os.sep, "/").rpartition("/")[2] == DOCUMENT_NAME

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        datatype: Any = None,
        rate: float | None = None,
        channels: Sequence[str] | None = None,
        start: float | None = None,
        time_column: bool = True,
        datatypes: DatatypeRegistry | str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open one stream or one file of events.

        Parameters
        ----------
        filename_or_obj : str, path-like or file of fsspec
            A data node (``repovizz://MYO/IMU/Accelerometer``, ``datapack://emg::file://MYO/datapack.json``),
            or any file on any filesystem.
        drop_variables : str or iterable of str, optional
            Variables and coordinates to leave out.
        datatype : str, mapping or Datatype, optional
            Describes the values: the name or UUID of a datatype, or its document. The default is the datatype
            of the node.
        rate : float, optional
            Samples per second; overrides the datatype.
        channels : sequence of str, optional
            Labels of the channels; overrides the datatype.
        start : float, optional
            Time of the first sample in seconds; by default from the node, or 0.
        time_column : bool, optional
            Whether to use a column of times as the axis; False keeps it as a channel.
        datatypes : DatatypeRegistry, str or path-like, optional
            Additional datatypes: a registry, or a folder or URL of documents to add to the published ones.
        storage_options : mapping, optional
            Options of the filesystem.

        Returns
        -------
        Dataset
            For a stream, one variable over ``time`` and ``channel``, read on demand. For events, variables
            over ``event``.

        Raises
        ------
        InvalidDatapackError
            If the file does not match its description; the message names the node.
        FileNotFoundError
            If the node or its file does not exist.
        """
        overrides = replace(Overrides.of(datatype, rate, channels, start, datatypes), time_column=time_column)
        dataset = open_located(located(*filesystem_of(filename_or_obj, storage_options)), overrides)
        return _without(dataset, drop_variables)

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        time_column: bool = True,
        datatypes: DatatypeRegistry | str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.DataTree:
        """Open a datapack or a container in it: containers are groups, streams and events are datasets.

        A file with several streams (EDF, XDF, HDF5, annotations) becomes a tree of these.

        The parameters are those of `open_dataset`. Files that are not data (video, PDF) are listed in the
        attribute ``other_files`` of their group.
        """
        groups = self.open_groups_as_dict(
            filename_or_obj,
            drop_variables=drop_variables,
            time_column=time_column,
            datatypes=datatypes,
            storage_options=storage_options,
        )
        return xr.DataTree.from_dict(groups)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        time_column: bool = True,
        datatypes: DatatypeRegistry | str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open a datapack or a container in it as datasets by path; see `open_datatree`."""
        overrides = replace(Overrides.of(None, None, None, None, datatypes), time_column=time_column)
        fs, path = filesystem_of(filename_or_obj, storage_options)
        if is_single_file(fs, path):
            groups = {f"/{inner}": each for inner, each in open_groups(located(fs, path), overrides).items()}
        else:
            with ThreadPoolExecutor(8) as pool:
                groups = tree_datasets(pack_at(fs, path), overrides, pool.map)
        return {path: _without(dataset, drop_variables) for path, dataset in groups.items()}


def _without(dataset: xr.Dataset, names: str | Iterable[str] | None) -> xr.Dataset:
    if names is None:
        return dataset
    left_out = [names] if isinstance(names, str) else list(names)
    close = dataset._close  # noqa: SLF001 - xarray has no other way to pass it on
    dataset = dataset.drop_vars(left_out, errors="ignore")
    dataset.set_close(close)
    return dataset
