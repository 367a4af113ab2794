"""`demo`: the main job, start to end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from fsspec.config import conf
from PIL import Image

from rinofs.cli.experiment import make_experiment
from rinofs.cli.main import main
from tests.cli.conftest import contents
from tests.forkserver import server_process

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Start


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo that kept its data: the folder, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder.parent)
        monkeypatch.setenv("PATH", str(folder))  # as in a terminal where nobody has activated the environment
        shown = CliRunner().invoke(main, ["demo", "--data", str(folder)], prog_name="rinofs")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stderr == ""
    return folder, shown.stdout


def test_every_step_shows_what_was_read_and_what_it_cost(kept: tuple[Path, str]) -> None:
    _, shown = kept
    for step in [
        "put_file",
        "fs.find",
        "fs.info",
        "read_csv",
        "read_parquet",
        "dd.read_csv",
        "open_zarr",
        "h5netcdf",
        "fs.push",
        'pd.read_json("repovizz://',
        "datapack://EMG.csv::",
        "fs.query",
        "rinofs.datapack.write",
        'engine="datapack"',
        "rinofs plot",
    ]:
        assert step in shown
    costs = [int(number) for number in re.findall(r"^  (\d+) requests?, ", shown, re.MULTILINE)]
    assert len(costs) == 16
    assert costs.pop(11) == 0  # a datapack on this machine asks no server
    assert all(cost > 0 for cost in costs)
    assert "600 samples of 3 axes, 1.00 g downwards" in shown
    assert "600 samples of 8 channels" in shown
    assert "36 runs of 12 subjects on 3 days" in shown
    assert "21,600 samples in 36 files" in shown
    assert "'subject': 'S01'" in shown
    means = re.findall(r"dimensions .*, mean (\S+) degC", shown)
    assert len(means) == 2
    assert means[0] == means[1]


def test_it_ends_with_a_query_and_a_picture(kept: tuple[Path, str]) -> None:
    folder, shown = kept
    found = re.findall(r"^  (experiment/runs/\S+): S\d\d, ([\d.]+) bpm at rest$", shown, re.MULTILINE)
    rests = [float(rest) for _, rest in found]
    assert rests
    assert rests == sorted(rests)
    assert min(rests) > 70
    assert {path.split("/")[2] for path, _ in found} == {"2026-03-02"}  # the day of the pilot
    picture = folder.parent / "rinofs-demo.png"
    assert f"  drawn: {picture}\n" in shown
    with Image.open(picture) as drawn:
        assert drawn.width > 800


def test_the_costs_are_small(kept: tuple[Path, str]) -> None:
    steps = re.findall(r"^(\S.*)\n(?:  .*\n)*?  (\d+) requests?, ", kept[1], re.MULTILINE)
    costs = {step.split("(")[0]: int(number) for step, number in steps}
    assert costs["fs.find"] == 1
    assert costs["fs.info"] == 1
    assert costs["pd.read_csv"] <= 2
    assert costs["fs.put_file"] <= 40
    assert costs["fs.query"] <= 8  # the way there, six levels of folders, the runs
    assert costs["xr.open_datatree"] <= 20


def run_python(arguments: list[str]) -> None:
    """Run Python; again if pyarrow's threads abort at its exit, which they sometimes do on a busy machine."""
    for _ in range(3):
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
        # https://github.com/apache/arrow/issues/34314
        of_arrow = done.stderr.endswith("terminate called without an active exception\n")
        if not (done.returncode == -signal.SIGABRT and of_arrow and "parquet" in arguments[-1]):
            break
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    assert done.stdout


def test_the_lines_to_try_next_work(
    kept: tuple[Path, str], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shown = kept
    lines = [line.partition("   #")[0].strip() for line in shown.partition("Try next:\n")[2].splitlines()]
    if sys.prefix != sys.base_prefix:
        assert lines.pop(0) == f"source {Path(sys.prefix, 'bin', 'activate')}"
    assert lines[0] == f"rinofs serve --data {folder} --token my-token"
    with server_process(folder, "--token", "my-token") as server:
        for service in ("rino", "repovizz"):  # as fsspec does with the variables, when it is imported
            options = {"endpoint_url": server.endpoint_url, "token": "my-token"}
            monkeypatch.setitem(conf, service, options)
            monkeypatch.setenv(f"FSSPEC_{service.upper()}_ENDPOINT_URL", server.endpoint_url)
            monkeypatch.setenv(f"FSSPEC_{service.upper()}_TOKEN", "my-token")
        assert "export FSSPEC_RINO_ENDPOINT_URL=" in lines[1]
        assert "export FSSPEC_REPOVIZZ_ENDPOINT_URL=" in lines[2]
        monkeypatch.chdir(tmp_path)
        for line in lines[3:]:
            program, *arguments = shlex.split(line)
            if program == "rinofs":
                done = run(*arguments)
                assert done.exit_code == 0, f"{line}: {done.stderr}"
            else:
                run_python(arguments)
    assert len(list((tmp_path / "runs").rglob("*.csv"))) == 36
    assert (tmp_path / "MYO" / "IMU" / "Accelerometer.json").exists()
    assert (tmp_path / "drummer.png").exists()
    assert len(lines) == 9


def test_the_experiment_is_always_the_same(tmp_path: Path) -> None:
    made = [
        make_experiment(folder) for folder in (tmp_path / "one", tmp_path / "two") if folder.mkdir() is None
    ]
    assert made[0] == made[1]
    one, two = contents(tmp_path / "one" / "runs"), contents(tmp_path / "two" / "runs")
    assert one == two
    assert len([path for path in one if path.endswith(".csv")]) == 36


def test_ctrl_c_leaves_nothing(start: Start, tmp_path: Path) -> None:
    demo = start("demo", env={**os.environ, "TMPDIR": str(tmp_path)})
    assert demo.stdout is not None
    assert b"answers at" in demo.stdout.readline()
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (130, b"rinofs: interrupted\n")
    assert list(tmp_path.iterdir()) == []
