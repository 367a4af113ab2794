"""What filesystems, results of queries and datapacks look like in a notebook, in a real browser."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from rinofs.testing import live_server
from tests.browser.conftest import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
EVIL = "<img src=x onerror=document.title='broken'>"

SETUP = f"""
import numpy as np, xarray as xr
from fsspec import filesystem
from rinofs.datapack import write

rino = filesystem("rino")
for number, subject in enumerate(["A22", "B07", "A22", {EVIL!r}]):
    metadata = {{"subject": subject, "rate_hz": 200, "grip_n": 40.5 + number}}
    rino.pipe_file(f"grip/run {{number + 1}}.csv", b"t,force\\n0.0,1.5\\n", metadata=metadata, tags=["pilot"])

def stream(name, units, channels):
    values = np.zeros((400, len(channels)))
    return xr.Dataset(
        {{name: (("time", "channel"), values, {{"units": units}})}},
        coords={{"time": np.arange(400) / 200, "channel": channels}},
    )

take = xr.DataTree.from_dict({{
    "IMU/Accelerometer": stream("acceleration", "g", ["X", "Y", "Z"]).assign_attrs(
        datatype="3-axis accelerometer"
    ),
    "IMU/Gyroscope": stream("angular_velocity", "radians/second", ["X", "Y", "Z"]).assign_attrs(
        datatype="3-axis gyroscope", text={EVIL!r}
    ),
    "grip": stream("force", "N", ["left", "right"]),
}})
take.attrs = {{"author": "A. Researcher", "keywords": ["grip"]}}
write(take, "repovizz://take 1", files={{"video/clip.mp4": b"mp4"}})
"""

CELLS = [
    'fs = filesystem("rino")\nfs',
    'fs.query("grip", subject="A22", sort="grip_n")',
    'from rinofs.datapack import parse\n\nparse(filesystem("repovizz").cat_file("take 1/datapack.json"))',
    f'fs.query("grip", subject={EVIL!r})',
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A page made of a notebook that was run: where it is, and the token that must not be in it."""
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import ExecutePreprocessor

    folder = tmp_path_factory.mktemp("notebook")
    with live_server() as server, pytest.MonkeyPatch.context() as patch:
        for service in ("RINO", "REPOVIZZ"):
            patch.setenv(f"FSSPEC_{service}_ENDPOINT_URL", server.endpoint_url)
            patch.setenv(f"FSSPEC_{service}_TOKEN", server.token)
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        cells = [nbformat.v4.new_code_cell(source) for source in (SETUP, *CELLS)]
        book = nbformat.v4.new_notebook(cells=cells)
        ExecutePreprocessor(timeout=120, kernel_name="python3").preprocess(
            book, {"metadata": {"path": str(folder)}}
        )
        del book.cells[0]
        # Nothing is fetched from elsewhere.
        exporter = HTMLExporter(template_name="lab", mathjax_url="", require_js_url="", jquery_url="")
        page, _ = exporter.from_notebook_node(book)
        (folder / "notebook.html").write_text(page, "utf-8")
        yield folder / "notebook.html", server.token


@pytest.fixture
def shown(notebook: tuple[Path, str], tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "browser", "--window-size=900,1200") as driver:
        driver.get(notebook[0].as_uri())
        yield driver


def outputs(browser: Chrome) -> list[str]:
    return [each.text for each in browser.find_elements("css selector", ".jp-OutputArea-output")]


def test_everything_is_shown_as_html(shown: Chrome) -> None:
    assert len(shown.find_elements("css selector", ".jp-RenderedHTMLCommon")) >= len(CELLS)
    filesystem, found, tree, _ = outputs(shown)
    assert "127.0.0.1" in filesystem
    assert "run 1.csv" in found
    assert "run 3.csv" in found
    assert "run 2.csv" not in found
    for text in ("take 1", "A. Researcher", "IMU/", "Accelerometer", "3-axis gyroscope", "clip.mp4"):
        assert text in tree


def test_no_secret_and_no_markup_of_others_is_in_the_page(shown: Chrome, notebook: tuple[Path, str]) -> None:
    page, token = notebook
    assert token not in page.read_text("utf-8")
    assert shown.title != "broken"
    assert shown.find_elements("css selector", ".jp-OutputArea-output img") == []
    assert EVIL in outputs(shown)[2]
    assert EVIL in outputs(shown)[3]


def test_containers_fold(shown: Chrome) -> None:
    summary = shown.find_element("css selector", ".rinofs-pack summary")
    assert "Accelerometer" in outputs(shown)[2]
    summary.click()
    assert "Accelerometer" not in outputs(shown)[2]


TIDY = """
const cells = document.querySelectorAll('.jp-Cell');
cells[cells.length - 1].remove();
for (const note of document.querySelectorAll('.rinofs-pack .quiet'))
    if (note.textContent.includes('<img')) note.remove();
return cells[cells.length - 2].getBoundingClientRect().bottom;
"""


def test_a_picture_for_the_docs(notebook: tuple[Path, str], tmp_path: Path) -> None:
    with chromium(tmp_path / "browser", "--window-size=900,800") as browser:
        metrics = {"width": 820, "height": 800, "deviceScaleFactor": 1.5, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(notebook[0].as_uri())
        metrics["height"] = int(browser.execute_script(TIDY)) + 20
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    flat = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    flat.save(IMAGES / "notebook.png", optimize=True)
    assert 20_000 < (IMAGES / "notebook.png").stat().st_size < 80_000
