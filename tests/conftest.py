"""Nothing of the user's own settings, in any test; and temporary files in memory."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fsspec.config import conf
from hypothesis import settings

from tests.campaign import left_out, rounds
from tests.hashing import hash_cheaply

# Where it is installed, jsonschema imports it for three seconds, for a format that no schema here has.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
if TYPE_CHECKING:
    from collections.abc import Iterator

# How long one example takes says more about what else the machine does than about the code.
settings.register_profile("rinofs", deadline=None)
settings.load_profile("rinofs")

# The campaigns take their time.
if rounds(1, 0):
    hash_cheaply()

# What a shell runs in the background ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_IN_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3

# What is drawn is drawn in matplotlib's own style; and where the home folder cannot be written to, matplotlib
# says so in every process that draws.
os.environ["MPLCONFIGDIR"] = str(Path(tempfile.gettempdir(), f"rinofs-tests-{getattr(os, 'getuid', int)()}"))

# The server syncs each upload to the disk before it answers, which thousands of tests need not wait for: what
# a killed process leaves behind is the same in a folder in memory.
if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM and "TMPDIR" not in os.environ:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)


# Imports and collection leave next to nothing to collect.
gc.set_threshold(100_000, 50, 100)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: all modules, and ten thousand tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # a fifteenth of all work otherwise


@pytest.fixture(scope="session", autouse=True)
def _elsewhere() -> Iterator[None]:
    """Have all live servers keep contents in S3 and databases in PostgreSQL, and be several, if asked to."""
    with ExitStack() as stack:
        if os.environ.get("RINOFS_TEST_S3"):
            from tests.server.seaweed import in_buckets

            stack.enter_context(in_buckets())
        if os.environ.get("RINOFS_TEST_DATABASE") == "postgresql":
            from tests.postgres import in_postgresql

            stack.enter_context(in_postgresql())
        if (workers := int(os.environ.get("RINOFS_TEST_WORKERS", "1"))) > 1:
            from tests.cluster.workers import in_workers

            stack.enter_context(in_workers(workers))
        yield


@pytest.fixture(scope="session")
def _settings_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@pytest.fixture(autouse=True)
def settings_folder(_settings_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logins are stored during this test; nothing is there at first, and nothing is configured."""
    folder = _settings_root / secrets.token_hex(4)
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(folder))
    monkeypatch.setenv("RINOFS_CACHE_DIR", str(folder / "cache"))
    for name in [name for name in os.environ if name.startswith("FSSPEC_")]:
        monkeypatch.delenv(name)
    for protocol in ("rino", "rinocloud", "repovizz", "repovizz2", "datapack"):
        monkeypatch.delitem(conf, protocol, raising=False)
    return folder


def _skipped() -> dict[str, str]:
    """Return what tests are skipped that cannot run where databases or servers are others."""
    if not {"RINOFS_TEST_DATABASE", "RINOFS_TEST_WORKERS"} & set(os.environ):
        return {}
    from tests.cluster.skips import skipped

    return skipped()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the larger part of campaigns to `make soak`, and what needs a store to `make test-s3-quick`."""
    skipped = _skipped()
    for item in items:
        for name, reason in skipped.items():
            if item.nodeid.startswith(name):
                item.add_marker(pytest.mark.skip(reason=reason))
        if "shared_seaweed" in getattr(item, "fixturenames", ()):
            item.add_marker("s3")
        if hasattr(getattr(item, "module", None), "rounds"):
            item.add_marker("soak")
    if left := left_out(items):
        config.hook.pytest_deselected(items=list(left))
        items[:] = [item for item in items if item not in left]
