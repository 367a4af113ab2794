"""Waiting for what happens, however long a busy machine takes to get there."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which something is taken for never to happen; nothing that works comes near it."""


def soon(condition: Callable[[], bool]) -> None:
    """Assert a condition, where several workers answer a moment after it was made true by one of them."""
    if int(os.environ.get("RINOFS_TEST_WORKERS", "1")) > 1:
        wait_until(condition)
    assert condition()


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
