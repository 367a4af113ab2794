"""One measurement in a fresh process: prepares, does the work once, and prints what it took as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from tests.benchmarks import object_store
from tests.benchmarks.contenders import Place, prepare, settle


def _peak() -> float:
    """Return the largest memory so far, in MiB."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor() -> float:
    """Return the processor seconds of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    case, contender, told = sys.argv[1:]
    place = Place(**json.loads(told))
    of_object_store = object_store.WORK.get((case, contender))
    work = of_object_store(place) if of_object_store else prepare(case, contender, place)
    os.sync()  # what others left to be written is not to be on this one's account
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
