"""What of fsspec's own suite is left to ``make soak``."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a part of the patterns with each service and each way of copying, since the client matches them.

    All else is run with one of the two kinds of server.
    """
    for item in items:
        if item.path.name == "test_abstract.py" and "scenarios" in item.path.parts:
            item.add_marker(pytest.mark.one_in(8 if "glob_edge_cases" in item.name else 2))
