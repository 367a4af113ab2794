"""What of fsspec's own suite is left to ``make soak``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.campaign import rounds

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave patterns to one kind of server in the quick suite: the client matches them, at any server."""
    repeated = {
        item
        for item in items
        if "glob_edge_cases" in item.name
        and getattr(item, "callspec", None) is not None
        and item.callspec.params.get("suite_fs") == "plain"  # type: ignore[attr-defined]
    }
    for item in repeated:
        item.add_marker("soak")
    if repeated and not rounds(0, 1):
        config.hook.pytest_deselected(items=list(repeated))
        items[:] = [item for item in items if item not in repeated]
