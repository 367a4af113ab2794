"""An address with no Rinocloud API behind it, though something answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs import RinoFileSystem
from rinofs.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer

QUESTIONS: list[Callable[[RinoFileSystem], object]] = [
    lambda fs: fs.exists("exp1/a.csv"),
    lambda fs: fs.exists("a.csv"),
    lambda fs: fs.isdir("exp1"),
    lambda fs: fs.ls(""),
    lambda fs: fs.find("exp1"),
    lambda fs: fs.glob("exp1/*"),
    lambda fs: fs.cat_file("exp1/a.csv"),
    lambda fs: fs.open("exp1/a.csv"),
    lambda fs: fs.pipe_file("exp1/a.csv", b"1"),
]


@pytest.mark.parametrize("ask", QUESTIONS)
def test_nothing_is_taken_for_absent(server: LiveServer, ask: Callable[[RinoFileSystem], object]) -> None:
    fs = RinoFileSystem(endpoint_url=f"{server.endpoint_url}/wrong", token=server.token)
    with pytest.raises(ProtocolError, match="check endpoint_url"):
        ask(fs)
