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
    """Opens nodes of datapacks, and files whose datatype is given, as labelled arrays."""

    description = (
        "Sensor streams of datapacks (repovizz://, datapack://), and JSON, CSV, audio and .npy files"
    )
    url = "docs/arrays.md"  # in the source distribution: there is no site to name
    supports_groups: ClassVar[bool] = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this is a node of a datapack, or a datapack's document."""
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
            What the numbers are: the name or UUID of a datatype, or its document. By default what the
            node says.
        rate : float, optional
            Samples per second, instead of the datatype's.
        channels : sequence of str, optional
            Labels of the channels, instead of the datatype's.
        start : float, optional
            Seconds of the first sample; by default what the node says, or 0.
        time_column : bool, optional
            Whether a column of times is the axis; False keeps it as a channel.
        datatypes : DatatypeRegistry, str or path-like, optional
            Where datatypes are looked up: a registry, or a folder or URL of documents to know beside the
            published ones.
        storage_options : mapping, optional
            Options of the filesystem.

        Returns
        -------
        Dataset
            A stream: one variable over ``time`` and ``channel``, read when it is used. Events: variables over
            ``event``.

        Raises
        ------
        InvalidDatapackError
            If the file cannot be read as what it should be; the message names the node.
        FileNotFoundError
            If there is no such node, or its file is not there.
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
        """Open a datapack, or a container in it: containers are groups, streams and events are datasets.

        A file of several streams (EDF, XDF, HDF5, annotations) is a tree of these.

        Parameters are those of `open_dataset`. Files that are no data (video, PDF) are named in the attribute
        ``other_files`` of their group.
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
        """Open a datapack, or a container in it, as datasets by their paths; see `open_datatree`."""
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
