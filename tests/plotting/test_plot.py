"""Pictures of streams and datapacks."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from rinofs.cli.main import main
from rinofs.datapack import write
from rinofs.errors import InvalidDatapackError
from rinofs.plotting import plot, save
from rinofs.plotting.drawing import COLOURS
from rinofs.plotting.envelope import envelope
from rinofs.testing import live_server
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result


def signal(values: Any, rate: float = 100.0, **attrs: Any) -> xr.Dataset:
    values = np.asarray(values)
    labels = [f"c{number}" for number in range(values.shape[1])]
    return xr.Dataset(
        {"force": (("time", "channel"), values, {"units": "N", "long_name": "force"})},
        coords={"time": np.arange(len(values)) / rate, "channel": labels},
        attrs=attrs,
    )


def session() -> xr.DataTree:
    random = np.random.default_rng(1)
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"description": "pushing a wall"}),
            "/arms/left": signal(random.normal(size=(500, 2)), text="strapped on"),
            "/EMG": signal(random.normal(size=(1000, 8)), 200),
            "/marks": xr.Dataset(
                {
                    "onset": ("event", [1.0, 1.5, 4.0], {"units": "s"}),
                    "offset": ("event", [2.0, 3.0, np.nan], {"units": "s"}),
                    "what": ("event", np.array(["push", "pull", "click"], object)),
                }
            ),
        }
    )


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plot") / "session"
    write(session(), folder, "npy", files={"clip.mp4": b"\0\0mp4"})
    return folder


def texts(figure: Any) -> list[str]:
    inside = [text.get_text().strip() for axes in figure.axes for text in axes.texts]
    return [text.get_text() for text in figure.texts] + inside


def test_a_datapack_is_panels_above_one_time_axis(pack: Path) -> None:
    figure = plot(str(pack))
    assert len(figure.axes) == 3
    assert {axes.get_xlim() for axes in figure.axes} == {(0.0, 4.995)}
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "time (s)"]
    left = next(axes for axes in figure.axes if axes.get_legend())
    assert left.get_ylabel() == "force\n(N)"
    legend: Any = left.get_legend()
    assert [entry.get_text() for entry in legend.get_texts()] == ["c0", "c1"]
    many = next(axes for axes in figure.axes if len(axes.get_yticks()) == 8)
    assert [tick.get_text() for tick in many.get_yticklabels()] == [f"c{number}" for number in range(8)]
    shown = texts(figure)
    assert {"session", "pushing a wall", "arms/left", "strapped on", "EMG", "marks", "push", "pull"} <= set(
        shown
    )
    assert "not drawn: clip.mp4" in shown
    assert any(text.endswith(" N") for text in shown)  # the scale bar of the channels above each other


def test_a_part_of_the_time(pack: Path) -> None:
    figure = plot(str(pack), start=2.5, stop=3.5)
    assert {axes.get_xlim() for axes in figure.axes} == {(2.5, 3.5)}
    assert "pull" in texts(figure)
    assert "push" not in texts(figure)
    with pytest.raises(InvalidDatapackError, match="no samples between 3 s and 2 s"):
        plot(str(pack), start=3, stop=2)
    with pytest.raises(InvalidDatapackError, match="nothing to draw"):
        plot(str(pack), start=100)


@settings(max_examples=rounds(20, 200), deadline=None)
@given(
    count=st.integers(1, 5_000),
    stretches=st.integers(1, 300),
    channels=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_no_peak_is_lost(count: int, stretches: int, channels: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(count, channels))
    array = signal(values).force
    drawn = envelope(array, stretches)
    assert len(drawn.times) <= max(2 * stretches, 1)
    np.testing.assert_array_equal(drawn.low.min(axis=0), values.min(axis=0))
    np.testing.assert_array_equal(drawn.high.max(axis=0), values.max(axis=0))
    step = -(-count // stretches) if count > 2 * stretches else 1
    for index in range(len(drawn.times)):
        part = values[index * step : (index + 1) * step]
        assert drawn.times[index] == array.time.values[index * step]
        np.testing.assert_array_equal(drawn.low[index], part.min(axis=0))
        np.testing.assert_array_equal(drawn.high[index], part.max(axis=0))


def test_gaps_and_odd_values_are_drawn_around(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(9_000, 6))
    values[4_000:5_000] = np.nan
    values[0, 0] = np.inf
    flat = signal(np.zeros((10, 6), bool))
    for dataset in (signal(values), signal(values[:, :2]), signal(values[:1]), flat):
        save(plot(dataset), tmp_path / "odd.png")
        assert len(Image.open(tmp_path / "odd.png").getcolors(1 << 24) or []) > 5


def test_only_what_is_shown_is_read() -> None:
    long = signal(np.random.default_rng(1).normal(size=(400_000, 2)), 1000)
    with live_server() as server:
        options = {"endpoint_url": server.endpoint_url, "token": server.token}
        write(xr.DataTree.from_dict({"/long": long}), "repovizz://long", "npy", storage_options=options)
        server.reset()
        plot("repovizz://long", start=200, stop=201, storage_options=options)
        assert sum(request.bytes_out for request in server.requests) < 1_500_000  # of 6.4 million
        assert len(server.requests) <= 8


def test_the_same_data_make_the_same_picture(pack: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save(plot(str(pack)), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert Image.open(tmp_path / "one.png").width == 990


def test_pyplot_is_left_alone(pack: Path) -> None:
    program = (
        "import sys, matplotlib; from rinofs.plotting import plot; before = matplotlib.rcParams.copy()\n"
        f"plot({str(pack)!r}); assert dict.__eq__(matplotlib.rcParams, before)\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"


def test_a_figure_shows_itself_in_a_notebook(pack: Path) -> None:
    figure = plot(str(pack))
    assert isinstance(figure, Figure)
    shown = Image.open(io.BytesIO(figure._repr_png_()))  # as IPython asks for it
    assert (shown.format, shown.width) == ("PNG", 990)


def test_a_short_line_keeps_its_colour_in_a_large_picture() -> None:
    shades = np.linspace(0, 1, 14_310)
    long = {f"/{number}": signal(np.stack([np.sin(shades * 90), shades], 1)) for number in range(6)}
    short = signal(np.stack([np.arange(40) * step for step in (1.0, 2.0, -3.0)], 1))
    figure = plot(xr.DataTree.from_dict({"/short": short, **long}), width=12)
    shown = Image.open(io.BytesIO(figure._repr_png_()))
    drawn = np.asarray(shown.convert("RGB")).astype(int)
    for colour in COLOURS[:3]:
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert np.abs(drawn - wanted).max(axis=2).min() < 16
    assert drawn[0, 0].tolist() == [255, 255, 255]


@pytest.mark.covering
@pytest.mark.parametrize("through_save", [True, False])
@pytest.mark.parametrize("name", ["a.pdf", "a.ps"])
def test_fonts_are_embedded_as_type_42(pack: Path, tmp_path: Path, name: str, through_save: bool) -> None:
    before = mpl.rcParams.copy()
    figure = plot(str(pack))
    if through_save:
        save(figure, tmp_path / name)
    else:
        figure.savefig(tmp_path / name)
    assert dict.__eq__(mpl.rcParams, before)
    document = (tmp_path / name).read_bytes()
    assert (b"/CIDFontType2" if name == "a.pdf" else b"/FontType 42") in document
    assert b"/Type3" not in document


def test_threads_leave_the_settings_as_they_were() -> None:
    before = mpl.rcParams.copy()
    with ThreadPoolExecutor(4) as pool:
        figures = list(pool.map(lambda _: plot(signal(np.zeros((20, 2)))), range(8)))
    assert len(figures) == 8
    assert dict.__eq__(mpl.rcParams, before)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("rinofs.plotting", "matplotlib", "plot"),
        ("rinofs.plotting", "PIL", "plot"),
        ("rinofs.testing", "starlette", "server"),
        ("rinofs.testing", "uvicorn", "server"),
    ],
)
def test_a_module_names_the_extra_that_it_needs(module: str, missing: str, extra: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import {module}"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = shown.stderr.strip().splitlines()[-1]
    assert last.endswith(f"{module} needs {missing}: pip install 'rinofs[{extra}]'")


# The command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["plot", *words], prog_name="rinofs")


def test_the_command_names_its_picture(run: Callable[..., Result], pack: Path, tmp_path: Path) -> None:
    done = run(str(pack))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "session.png\n", "")
    again = run(str(pack / "datapack.json"))
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == "rinofs: session.png: already exists; -o session.png replaces it\n"
    done = run(f"datapack://arms/left::file://{pack}/datapack.json", "-o", "session.png", "--stop", "2")
    assert (done.exit_code, done.stdout) == (0, "session.png\n")
    assert Image.open(tmp_path / "session.png").height < 400
    assert [path.name for path in tmp_path.iterdir()] == ["session.png"]


def test_the_command_draws_any_file_of_samples(run: Callable[..., Result], tmp_path: Path) -> None:
    np.savetxt(
        tmp_path / "run.csv", np.random.default_rng(1).normal(size=(300, 3)), delimiter=",", header="x,y,z"
    )
    done = run("run.csv", "--rate", "100", "-o", "run.svg")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "run.svg\n", "")
    assert "<svg" in (tmp_path / "run.svg").read_text()
    done = run("run.csv", "--datatype", "3-axis accelerometer", "-o", "run.png")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["none.csv"], 1, "none.csv"),
        (["notes.txt"], 1, "notes.txt"),
        (["line.txt"], 1, "line.txt"),
        (["run.csv", "-o", "run.gif"], 1, "unknown picture format; use .png, .svg or .pdf"),
        (["run.csv", "-o", "there/run.png"], 1, "no such folder; create it first"),
        (["run.csv", "--start", "9", "--rate", "1"], 1, "nothing to draw"),
        (["run.csv", "--rate", "-1"], 2, "--rate"),
        ([], 2, "URL"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    run: Callable[..., Result], tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    (tmp_path / "run.csv").write_text("x,y\n1,2\n3,4\n")
    (tmp_path / "line.txt").write_text("Squeeze in turn, as the lamp says.\n")
    (tmp_path / "notes.txt").write_text("nothing but words\nand more words\n")
    done = run(*words)
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.png"))
    assert not list(tmp_path.glob(".*"))


def test_dots_an_inch(run: Callable[..., Result], pack: Path, tmp_path: Path) -> None:
    done = run(str(pack), "-o", "fine.png", "--dpi", "220", "--width", "4")
    assert (done.exit_code, done.stderr) == (0, "")
    assert Image.open(tmp_path / "fine.png").width == 880
    done = run(str(pack), "-o", "large.png", "--dpi", "2400", "--width", "100")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "large.png: a PNG of 100 inches is too large at 2400 dpi; use at most 655 dpi" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["fine.png"]
