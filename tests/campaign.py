"""How long a campaign is: short in the suite, long under ``make soak``."""

from __future__ import annotations

import os


def rounds(quick: int, soak: int) -> int:
    """Return how many rounds to run: `soak` where ``RINOFS_SOAK`` is set, else `quick`."""
    return soak if os.environ.get("RINOFS_SOAK") else quick
