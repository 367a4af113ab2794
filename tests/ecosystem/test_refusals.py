"""Only "not found" means that something is not there; whatever else happens is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs.errors import AuthenticationError
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

QUESTIONS: dict[str, Callable[[RinoFileSystem], Any]] = {
    "exists": lambda fs: fs.exists("exp1/a"),
    "lexists": lambda fs: fs.lexists("exp1/a"),
    "isfile": lambda fs: fs.isfile("exp1/a"),
    "isdir": lambda fs: fs.isdir("exp1"),
    "info": lambda fs: fs.info("exp1/a"),
    "ls": lambda fs: fs.ls("exp1"),
    "find": lambda fs: fs.find("exp1"),
    "walk": lambda fs: list(fs.walk("exp1")),
    "glob": lambda fs: fs.glob("exp1/*"),
    "glob of a name": lambda fs: fs.glob("exp1/a"),
    "deep glob": lambda fs: fs.glob("exp1/**"),
    "du": lambda fs: fs.du("exp1"),
    "tree": lambda fs: fs.tree("exp1"),
    "size": lambda fs: fs.size("exp1/a"),
    "cat": lambda fs: fs.cat("exp1/a"),
    "cat of many": lambda fs: fs.cat(["exp1/a", "exp1/b"]),
    "mapper": lambda fs: "a" in fs.get_mapper("exp1"),
    "length of a mapper": lambda fs: len(fs.get_mapper("exp1")),
    "append": lambda fs: fs.open("exp1/a", "ab"),
    "create": lambda fs: fs.open("exp1/a", "xb"),
    "remove": lambda fs: fs.rm("exp1/a"),
    "make": lambda fs: fs.makedirs("exp1", exist_ok=True),
}


@both_modes
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_token_that_is_refused_is_told(question: str, server: LiveServer) -> None:
    fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token="rino_of-nobody-at-all")
    with pytest.raises(AuthenticationError) as caught:
        QUESTIONS[question](fs)
    assert isinstance(caught.value, PermissionError)
    assert not isinstance(caught.value, FileNotFoundError)


@both_modes
def test_what_is_not_there_is_absent(fs: RinoFileSystem) -> None:
    fs.pipe_file("exp1/file", b"1")
    for path in ("nothing", "exp1/nothing", "exp1/file/below", "no/such/depth"):
        assert not fs.exists(path)
        assert not fs.isdir(path)
        assert not fs.isfile(path)
        assert fs.find(path) == []
        assert fs.glob(f"{path}/*") == []
        assert list(fs.walk(path)) == []
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            fs.ls(path)
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            fs.cat_file(path)
