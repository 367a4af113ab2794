"""One rule for trees: the three copying commands do what the table in docs/cli.md says, each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.testing import live_server
from tests.cli.conftest import point_to
from tests.cli.trees import COMMANDS, made, shown, table

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_table_on_the_page_is_what_the_commands_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_server() as server:
        point_to(server, monkeypatch)
        for command in COMMANDS:
            assert table(made(command, tmp_path)) == shown(), "write it anew: python -m tests.cli.trees"
