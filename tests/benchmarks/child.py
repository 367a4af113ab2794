"""One measurement in a new process: prepares, does the work once, and prints the figures as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import object_store, workers
from tests.benchmarks.contenders import BY_CASE, WORK, Place, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.contenders import Work


def _peak() -> float:
    """Return the peak memory so far, in MiB."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor() -> float:
    """Return the processor seconds of this process and of the children it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def work_of(case: str, contender: str) -> Callable[[Place], Work]:
    """Return the function that prepares the work of a contender."""
    if (case, contender) in object_store.WORK:
        return object_store.WORK[case, contender]
    work = WORK.get((case, contender)) or workers.BY_CASE.get(case) or BY_CASE[case]
    return partial(work, contender)


def main() -> None:
    case, contender, told = sys.argv[1:]
    place = Place(**json.loads(told))
    work = work_of(case, contender)(place)
    os.sync()  # pending writes of others must not count here
    print("ready", flush=True)
    sys.stdin.readline()
    base = _peak()
    processor, wall = _processor(), time.perf_counter()
    rest = work()
    taken = {
        "wall": time.perf_counter() - wall,
        "cpu": _processor() - processor,
        "memory": _peak() - base,
    }
    print(json.dumps(taken | rest if isinstance(rest, dict) else taken), flush=True)
    settle()


if __name__ == "__main__":
    main()
