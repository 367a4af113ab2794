from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[Chrome]:
    """Debian's Chromium, with nothing in it."""
    # Not at the top: the rest of the suite runs without it.
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    assert all(programs.values()), "apt-get install chromium chromium-driver"
    options = ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for flag in (*_FLAGS, f"--user-data-dir={folder}", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(programs["chromedriver"])))
    try:
        yield driver
    finally:
        driver.quit()


class Listener:
    """A program on this machine that waits for the browser to come back."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.referrers: list[str | None] = []
        self.came = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if "favicon" not in self.path:
                    outer.paths.append(self.path)
                    outer.referrers.append(self.headers["referer"])
                    outer.came.set()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"Thank you.")

            def log_message(self, *_args: Any) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    waiting = Listener()
    thread = threading.Thread(target=waiting.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield waiting
    waiting.server.shutdown()
    thread.join()
    waiting.server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "browser", "--window-size=900,800") as driver:
        yield driver
