"""Processes for clients and measurements, forked from one that has imported all that they need."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

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


def in_own_process(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test that measures its process in one where nothing else happens.

    What other tests left behind, such as servers, threads and garbage, would change the count of descriptors,
    sockets, threads and memory at any time. The fixtures of the test are pickled.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with ProcessPoolExecutor(1, mp_context=CONTEXT) as process:
            process.submit(_run, test.__module__, test.__qualname__, args, kwargs).result()

    return run


def _run(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    getattr(importlib.import_module(module), name).__wrapped__(*args, **kwargs)
