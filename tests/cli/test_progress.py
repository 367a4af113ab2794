"""Work on several files that the user ends."""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING

import pytest

from rinofs.cli.progress import Progress, for_each

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("time", range(10))
def test_an_interruption_while_the_work_begins_leaves_nothing(time: int, tmp_path: Path) -> None:
    progress = Progress("copying", 0, shown=False)
    paths = [tmp_path / f"{time}-{number}" for number in range(8)]

    def work(path: Path) -> None:
        path.touch()
        if path == paths[0]:
            _thread.interrupt_main()  # the other threads are still being started
        progress.cancelled.wait(60)
        path.unlink()

    with pytest.raises(KeyboardInterrupt):
        for_each(paths, work, progress)
    assert progress.cancelled.is_set()
    assert list(tmp_path.iterdir()) == []
