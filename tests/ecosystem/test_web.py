"""Packs of repoVizz 1 that lie on any server of the web."""

from __future__ import annotations

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from rinofs.datapack.authoring.repovizz1 import import_pack
from tests.datapack.test_repovizz1 import as_zip, check, specimen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a folder `web`, on a server that knows nothing of ranges."""
    (tmp_path / "web").mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("suffix", ["", "?version=1", "#top"])
def test_a_pack_at_a_url(suffix: str, web: str, tmp_path: Path) -> None:
    as_zip(tmp_path / "web" / "jar.zip", specimen())
    made = import_pack(f"{web}/jar.zip{suffix}", tmp_path / "made")
    assert made.missing == ()
    check(made.url)


@pytest.mark.parametrize("suffix", ["", "?version=1", "#top"])
def test_its_name_without_a_document(suffix: str, web: str, tmp_path: Path) -> None:
    signals = {name: data for name, data in specimen().items() if b"framerate=" in data}
    as_zip(tmp_path / "web" / "my jar.zip", signals)
    import_pack(f"{web}/my%20jar.zip{suffix}", tmp_path / "made")
    assert json.loads((tmp_path / "made" / "datapack.json").read_text())["info"]["name"] == "my jar"


def test_a_pack_that_is_not_there(web: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.zip"):
        import_pack(f"{web}/none.zip", tmp_path / "made")
    assert not (tmp_path / "made").exists()
