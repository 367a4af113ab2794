"""What is skipped on other databases exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.skips import BEHIND_NGINX, ON_POSTGRESQL

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [*ON_POSTGRESQL, *BEHIND_NGINX])
def test_it_exists(name: str) -> None:
    path, _, test = name.partition("[")[0].partition("::")
    assert (ROOT / path).exists()
    assert not test or f"def {test}(" in (ROOT / path).read_text()
