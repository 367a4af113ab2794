"""Nothing of the user's own settings, in any test."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest
from fsspec.config import conf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def _settings_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@pytest.fixture(autouse=True)
def settings_folder(_settings_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logins are stored during this test; nothing is there at first, and nothing is configured."""
    folder = _settings_root / secrets.token_hex(4)
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(folder))
    for name in [name for name in os.environ if name.startswith("FSSPEC_")]:
        monkeypatch.delenv(name)
    for protocol in ("rino", "rinocloud", "repovizz", "repovizz2", "datapack"):
        monkeypatch.delitem(conf, protocol, raising=False)
    return folder
