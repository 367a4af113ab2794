"""Clients in processes of their own, forked from one that has imported all that they need."""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
# With the modules of the tests, in which the child finds what it is to do.
CONTEXT.set_forkserver_preload(
    [
        "rinofs.rinocloud.filesystem",
        "rinofs.repovizz.filesystem",
        "tests.scenarios.test_interruptions",
        "tests.scenarios.repovizz.test_failed_writes",
    ]
)
