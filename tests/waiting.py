"""Wait for an event, however long it takes on a busy machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which an event counts as never happening; far longer than anything that works takes."""


def soon(condition: Callable[[], bool]) -> None:
    """Assert a condition; if there are several workers, give them time to notice a change by one."""
    if int(os.environ.get("RINOFS_TEST_WORKERS", "1")) > 1:
        wait_until(condition)
    assert condition()


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
