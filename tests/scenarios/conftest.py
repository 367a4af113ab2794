"""What of fsspec's own suite is left to ``make soak``."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a part of the patterns with each service and each way of copying: the client matches them."""
    for item in items:
        if "glob_edge_cases" in item.name and "scenarios" in item.path.parts:
            item.add_marker(pytest.mark.one_in(4))
