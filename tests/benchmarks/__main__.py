"""Measure: ``python -m tests.benchmarks [CASE ...] [--results FILE] [--alone] [--rounds N]``.

The page in docs/ is written from the cases that were measured, or from all that a file of results has: so
cases can be measured one by one. Results of another Python or machine get a section of their own, as after
``make bench PYTHON=python3.12 VENV=.venv-3.12``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import data, object_store, report, workers
from tests.benchmarks.contenders import Place
from tests.benchmarks.goals import CASES as OF_FOLDERS
from tests.benchmarks.goals import Case
from tests.benchmarks.servers import (
    WINDOW,
    Clocked,
    Served,
    first,
    nginx,
    seaweed,
    served,
    started,
    with_children,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    Server: TypeAlias = Served | Clocked
    Setting: TypeAlias = tuple[Place, Server, Sequence[Server]]

ROOT = Path(__file__).parents[2]
CASES = (*OF_FOLDERS, *object_store.CASES, *workers.CASES)


def install() -> None:
    """Install the other contenders."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--group", f"{ROOT}/pyproject.toml:bench"]
    subprocess.run(command, check=True)
    there = {
        "nginx-light": shutil.which("nginx", path="/usr/sbin:/usr/bin"),
        "rclone": shutil.which("rclone"),
        "postgresql": next(Path("/usr/lib/postgresql").glob("*/bin/initdb"), None),
    }
    missing = [package for package, path in there.items() if path is None]
    if missing:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-qq", "--yes", *missing], check=True)


def measure(
    case: Case, contender: str, place: Place, server: Server, others: Sequence[Server], *, alone: bool
) -> dict[str, Any]:
    """Run one contender once, in its own process.

    `server` counts its requests. It or one of the `others` serves the work, so their processor times are
    summed. With `alone`, nothing else runs on the machine meanwhile.
    """
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.child",
        case.name,
        contender,
        json.dumps(asdict(place)),
    ]
    every = (server, *others)
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as child,
        ExitStack() as stack,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            raise RuntimeError(f"{contender} could not prepare for {case.name}")
        if alone:
            served = [process for one in every for process in one.processes()]
            stack.enter_context(first([*served, *with_children(child.pid)]))
        for one in every:
            one.counts()
        child.stdin.write("\n")
        child.stdin.flush()
        taken: dict[str, Any] = json.loads(child.stdout.readline())
        child.wait()
    counts = server.counts()
    cpu = counts["cpu"] + sum(other.counts()["cpu"] for other in others)
    return {**taken, "requests": counts["requests"], "sent": counts["sent"], "served": cpu}


def run(cases: Sequence[Case], options: argparse.Namespace, *, masked: bool) -> Iterator[report.Result]:
    """Measure all cases, the contenders of each in turn; yields the results."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rinofs-bench-")))
        settings = stack.enter_context(workers.servers(cases, folder))
        others = [case for case in cases if case not in workers.CASES]
        if others:
            settings |= stack.enter_context(_servers(others, folder))
        for case in cases:
            where, asked, beside = settings[case.setting]
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in case.contenders}
            for _ in range(options.rounds or case.rounds):
                for name in case.contenders:
                    runs[name].append(measure(case, name, where, asked, beside, alone=options.alone))
            result = report.Result(case.name, report.machine(), masked, runs)
            _show(case, result)
            yield result


@contextmanager
def _servers(cases: Sequence[Case], folder: Path) -> Iterator[dict[str, Setting]]:
    """Run the servers of all cases except those of workers, with the files that the cases need."""
    from rinofs import RinoFileSystem

    names = [case.name for case in cases]
    with ExitStack() as stack:
        files = folder / "files"
        files.mkdir()
        print("making files", flush=True)
        data.make(files)
        server = stack.enter_context(served("embedded"))
        fs = RinoFileSystem(endpoint_url=server.url, token=server.told["token"])
        print("uploading them", flush=True)
        ids = data.upload(fs, files)
        for count in sorted({count for name in names for count in data.wide_folders(name)}):
            data.widen(fs, Path(server.told["data"]) / "rinofs.sqlite3", count)
        if {"query-index", "query-million"} & set(names):
            data.add_index("number", server.told["data"])
        if any(name.startswith("day-") for name in names):
            data.record_day(fs, files)
        alone = stack.enter_context(served("embedded", "1"))
        host, _, port = server.url.removeprefix("http://").partition(":")
        late, narrow, wide = (
            stack.enter_context(served("late", host, port, window, rate))
            for window, rate in ((WINDOW, "inf"), (WINDOW, "50e6"), ("inf", "inf"))
        )
        bare = stack.enter_context(served("bare"))
        web = stack.enter_context(nginx(folder, files))
        s3 = []
        if object_store.is_needed(cases):
            s3 = [stack.enter_context(seaweed(folder / "s3"))]
            data.upload_to_s3(s3[0].url, files)
        clocked = (*s3, web, Clocked(bare.url, bare.pid), Clocked(alone.url, alone.pid))
        place = Place(
            server.url,
            server.told["token"],
            web.url,
            bare.url,
            ids,
            str(files),
            alone.url,
            alone.told["token"],
            s3[0].url if s3 else "",
        )
        plain = stack.enter_context(started(folder / "plain"))
        own = data.upload_few(RinoFileSystem(endpoint_url=plain.url, token=plain.token), files)
        settings: dict[str, Setting] = {
            "live": (place, server, clocked),
            "serve": (replace(place, url=plain.url, token=plain.token or "", ids=own), plain, clocked),
        }
        for name, way in (("late", late), ("narrow", narrow), ("wide", wide)):
            proxy = Clocked(way.url, way.pid, counted=False)
            settings[name] = (replace(place, url=way.url), server, [proxy])
        in_store = stack.enter_context(object_store.servers(cases, folder, place, plain))
        settings |= {name: (*one, clocked) for name, one in in_store.items()}
        yield settings


def _show(case: Case, result: report.Result) -> None:
    for goal, ratio in report.ratios(case, result):
        wanted = f"(must {goal.limit(masked=result.masked)}, aim {goal.aim})"
        print(f"{case.title}: {goal.label} = {ratio:.2f} {wanted}", flush=True)
    for bound, name, most in report.bounds(case, result):
        print(f"{case.title}: {name}: {bound.figure} {most:,.0f} (must {bound.most:,.0f})", flush=True)
    for name, all_of in result.runs.items():
        middle = sorted(all_of, key=lambda one: float(one["wall"]))[len(all_of) // 2]
        print("    ", name, {key: round(value, 4) for key, value in middle.items()}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help="how often, in place of what each case says")
    parser.add_argument(
        "--results", type=Path, help="a file that results are kept in; it replaces older ones"
    )
    parser.add_argument("--masked", choices=("no", "yes", "both"), default="both", help="SHA instructions")
    parser.add_argument("--alone", action="store_true", help="let nothing else run meanwhile; needs root")
    parser.add_argument("--no-write", action="store_true", help="only print")
    parser.add_argument("--no-install", action="store_true", help="the opponents are there")
    options = parser.parse_args()
    for name in options.cases:
        if name not in names:
            parser.error(f"there is no case {name!r}; there are {', '.join(names)}")
    if not options.no_install:
        install()
    cases = [case for case in CASES if (case.name in options.cases if options.cases else not case.by_name)]
    kept = report.load(options.results) if options.results else {}
    if options.masked != "yes":
        _measured(cases, options, kept, masked=False)
    if options.masked != "no" and platform.machine() == "x86_64" and (again := [c for c in cases if c.sha]):
        os.environ["OPENSSL_ia32cap"] = report.MASK  # noqa: SIM112 (its name)
        _measured(again, options, kept, masked=True)
    if not options.no_write and (options.results or not options.cases):
        report.write(kept, CASES, ROOT / "docs")


def _measured(
    cases: Sequence[Case], options: argparse.Namespace, kept: report.Results, *, masked: bool
) -> None:
    for result in run(cases, options, masked=masked):
        kept[result.key] = result
        if options.results:
            report.save(kept, options.results)


if __name__ == "__main__":
    main()
