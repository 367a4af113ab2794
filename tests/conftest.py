"""Isolate tests from the user's own settings, and put temporary files in memory."""

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

# If installed, jsonschema imports it, which takes three seconds, for a format that no schema here uses.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
if TYPE_CHECKING:
    from collections.abc import Iterator

# The duration of an example depends more on the load of the machine than on the code.
# A change passes or fails by what it does, not by the examples of that day: only campaigns look for new ones.
settings.register_profile("rinofs", deadline=None, derandomize=bool(rounds(1, 0)))
settings.load_profile("rinofs")

# Except in campaigns, which may take their time.
if rounds(1, 0):
    hash_cheaply()

# Background jobs of a shell ignore Ctrl-C, and so would all processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_IN_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3

# Use matplotlib's default style, and avoid its warning, in every process, about a read-only home folder.
os.environ["MPLCONFIGDIR"] = str(Path(tempfile.gettempdir(), f"rinofs-tests-{getattr(os, 'getuid', int)()}"))

# The server syncs each upload to the disk before it responds. Thousands of tests need not wait for that: a
# killed process leaves the same files in a folder in memory.
if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM and "TMPDIR" not in os.environ:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)


# Imports and test collection create almost no garbage.
gc.set_threshold(100_000, 50, 100)


def pytest_collection_finish() -> None:
    """Exempt long-lived objects from garbage collection: all modules, and ten thousand tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # otherwise a fifteenth of the total time


@pytest.fixture(scope="session", autouse=True)
def _elsewhere() -> Iterator[None]:
    """If requested, run all live servers with S3, PostgreSQL or several workers."""
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
    """Return the folder for logins during this test; it is empty at first, and nothing is configured."""
    folder = _settings_root / secrets.token_hex(4)
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(folder))
    monkeypatch.setenv("RINOFS_CACHE_DIR", str(folder / "cache"))
    for name in [name for name in os.environ if name.startswith("FSSPEC_")]:
        monkeypatch.delenv(name)
    for protocol in ("rino", "rinocloud", "repovizz", "repovizz2", "datapack"):
        monkeypatch.delitem(conf, protocol, raising=False)
    return folder


def _skipped() -> dict[str, str]:
    """Return the tests to skip because they cannot run with other databases or servers."""
    if not {"RINOFS_TEST_DATABASE", "RINOFS_TEST_WORKERS"} & set(os.environ):
        return {}
    from tests.cluster.skips import skipped

    return skipped()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave most of the campaigns to `make soak`, and tests that need a store to `make test-s3-quick`."""
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
