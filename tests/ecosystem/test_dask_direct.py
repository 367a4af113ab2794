"""A dask cluster reads large files from the store of the server, and hardly anything through the server."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from rinofs import RinoFileSystem
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.server.conftest import s3_url, shared_seaweed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["s3_url", "shared_seaweed"]

MIB = 1024 * 1024
FILES = 4


@pytest.mark.soak
@pytest.mark.timeout(rounds(300, 1200))
def test_parquet_on_a_cluster(s3_url: str, tmp_path: Path) -> None:
    dataframe = pytest.importorskip("dask.dataframe")
    distributed = pytest.importorskip("distributed")
    rows = rounds(2, 32) * MIB // FILES  # of 32 bytes
    with live_server(configure=lambda settings: replace(settings, blobs_url=s3_url)) as server:
        options = {"endpoint_url": server.endpoint_url, "token": server.token}
        fs = RinoFileSystem(**options)
        total = 0.0
        for number in range(FILES):
            table = pd.DataFrame(np.random.default_rng(number).random((rows, 4)), columns=list("abcd"))
            total += float(table["a"].sum())
            table.to_parquet(tmp_path / "part.parquet", compression=None)
            fs.put_file(str(tmp_path / "part.parquet"), f"table/part-{number}.parquet")
        size = fs.du("table")
        server.reset()
        with (
            distributed.LocalCluster(
                n_workers=rounds(1, 4), threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster),
        ):
            frame = dataframe.read_parquet("rino://table/*.parquet", storage_options=options)
            assert float(frame.sum().compute()["a"]) == pytest.approx(total)
        sent = sum(request.bytes_out for request in server.requests)
        downloads = [request for request in server.requests if re.search(r"/download", request.path)]
        assert size > rounds(50, 900) * MIB
        assert sent < 0.05 * size, (sent, size, len(downloads))
