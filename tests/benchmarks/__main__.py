"""Measure: ``python -m tests.benchmarks [CASE ...] [--rounds N] [--no-write]``.

The page in docs/ is of one run: it is written if all cases were measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import data, report
from tests.benchmarks.contenders import Place
from tests.benchmarks.goals import CASES, Case
from tests.benchmarks.servers import Clocked, Served, nginx, seaweed, served, started

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
WINDOW = "4194304"  # what Linux sends ahead by default, at most


def install() -> None:
    """Install the opponents."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--group", f"{ROOT}/pyproject.toml:bench"]
    subprocess.run(command, check=True)
    if not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-qq", "--yes", "nginx-light"], check=True)


def measure(
    case: Case, contender: str, place: Place, server: Served | Clocked, others: Sequence[Clocked]
) -> dict[str, Any]:
    """Let one of them do the work once, in a process of its own.

    `server` counts its requests. It or one of the `others` did the work: the processor time is that of all.
    """
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.child",
        case.name,
        contender,
        json.dumps(asdict(place)),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            raise RuntimeError(f"{contender} could not prepare for {case.name}")
        for one in (server, *others):
            one.counts()
        child.stdin.write("\n")
        child.stdin.flush()
        taken: dict[str, Any] = json.loads(child.stdout.readline())
    counts = server.counts()
    served = counts["cpu"] + sum(other.counts()["cpu"] for other in others)
    return {**taken, "requests": counts["requests"], "sent": counts["sent"], "served": served}


def run(cases: Sequence[Case], rounds: int | None) -> report.Taken:
    """Measure all cases, the contenders of each in turn."""
    from rinofs import RinoFileSystem

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rinofs-bench-")))
        files = folder / "files"
        files.mkdir()
        print("making files", flush=True)
        data.make(files)
        server = stack.enter_context(served("embedded"))
        fs = RinoFileSystem(endpoint_url=server.url, token=server.told["token"])
        print("uploading them", flush=True)
        ids = data.upload(fs, files)
        for count in sorted({count for case in cases for count in data.wide_folders(case.name)}):
            data.widen(fs, Path(server.told["data"]) / "rinofs.sqlite3", count)
        if any(case.name == "query-index" for case in cases):
            data.add_index("number", server.told["data"])
        if any(case.name.startswith("day-") for case in cases):
            data.record_day(fs, files)
        alone = stack.enter_context(served("embedded", "1"))
        host, _, port = server.url.removeprefix("http://").partition(":")
        late, narrow, wide = (
            stack.enter_context(served("late", host, port, window, rate))
            for window, rate in ((WINDOW, "inf"), (WINDOW, "50e6"), ("inf", "inf"))
        )
        bare = stack.enter_context(served("bare"))
        web = stack.enter_context(nginx(folder, files))
        s3 = [stack.enter_context(seaweed(folder / "s3"))] if "zarr-write" in [c.name for c in cases] else []
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
        settings: dict[str, tuple[Place, Served | Clocked]] = {
            "live": (place, server),
            "late": (replace(place, url=late.url), server),
            "narrow": (replace(place, url=narrow.url), server),
            "wide": (replace(place, url=wide.url), server),
            "serve": (replace(place, url=plain.url, token=plain.token, ids=own), plain),
        }
        taken: report.Taken = {}
        for case in cases:
            where, asked = settings[case.setting]
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in case.contenders}
            for _ in range(rounds or case.rounds):
                for name in case.contenders:
                    runs[name].append(measure(case, name, where, asked, clocked))
            taken[case.name] = runs
            for goal, ratio in report.ratios(case, taken):
                wanted = f"(must {goal.must}, aim {goal.aim})"
                print(f"{case.title}: {goal.contender} / {goal.opponent} = {ratio:.2f} {wanted}", flush=True)
            for bound, name, most in report.bounds(case, taken):
                print(
                    f"{case.title}: {name}: {bound.figure} {most:,.0f} (must {bound.most:,.0f})", flush=True
                )
            for name, all_of in runs.items():
                middle = sorted(all_of, key=lambda one: float(one["wall"]))[len(all_of) // 2]
                print("    ", name, {key: round(value, 3) for key, value in middle.items()}, flush=True)
        return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help="how often, in place of what each case says")
    parser.add_argument("--no-write", action="store_true", help="only print, as with CASE")
    parser.add_argument("--no-install", action="store_true", help="the opponents are there")
    options = parser.parse_args()
    for name in options.cases:
        if name not in names:
            parser.error(f"there is no case {name!r}; there are {', '.join(names)}")
    if not options.no_install:
        install()
    cases = [case for case in CASES if (case.name in options.cases if options.cases else not case.by_name)]
    taken = run(cases, options.rounds)
    if not options.no_write and not options.cases:
        report.write(cases, taken, ROOT / "docs")


if __name__ == "__main__":
    main()
