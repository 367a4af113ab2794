"""A worker ends in the middle of what a dask cluster computes, and the result is right."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from rinofs import RinoFileSystem
from tests import postgres
from tests.cluster.processes import TOKEN, cluster
from tests.server.seaweed import seaweed
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

FILES = 8
ROWS = 30_000


@pytest.mark.timeout(600)
def test_parquet_while_a_worker_is_killed(tmp_path: Path) -> None:
    dataframe = pytest.importorskip("dask.dataframe")
    distributed = pytest.importorskip("distributed")
    with seaweed() as store, cluster(postgres.shared(), store, 2) as running:
        # Through the workers: what comes from the store itself does not miss one.
        options = {"endpoint_url": running.url, "token": TOKEN, "direct": False}
        fs = RinoFileSystem(**options)
        total = 0.0
        for number in range(FILES):
            table = pd.DataFrame(np.random.default_rng(number).random((ROWS, 4)), columns=list("abcd"))
            total += float(table["a"].sum())
            table.to_parquet(tmp_path / "part.parquet", compression=None, row_group_size=ROWS // 10)
            fs.put_file(str(tmp_path / "part.parquet"), f"table/part-{number}.parquet")

        def requests_of(number: int) -> int:
            return running.workers[number].access_log.read_text().count("/download")

        with (
            distributed.LocalCluster(
                n_workers=4, threads_per_worker=1, processes=True, dashboard_address=None
            ) as local,
            distributed.Client(local),
        ):
            frame = dataframe.read_parquet("rino://table/*.parquet", storage_options=options)
            before = requests_of(0)
            results: list[float] = []
            reading = threading.Thread(target=lambda: results.append(float(frame.sum().compute()["a"])))
            reading.start()
            wait_until(lambda: requests_of(0) > before or not reading.is_alive())
            running.workers[0].kill()
            assert reading.is_alive(), "it was over before the worker was killed"
            reading.join()
        assert results == [pytest.approx(total)]
