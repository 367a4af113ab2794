"""fsspec's own test suite, run with a module's filesystem; requires only the fixture `fs`."""

from __future__ import annotations

from typing import Any

import fsspec.tests.abstract as abstract
import pytest


class Fixtures(abstract.AbstractFixtures):
    """Make the suite use the fixtures ``suite_fs`` and ``suite_path`` of the module that collects it."""

    @pytest.fixture(scope="class")
    @classmethod
    def fs(cls, suite_fs: Any) -> Any:
        return suite_fs

    @pytest.fixture
    def fs_path(self, suite_path: str) -> str:
        return suite_path


class TestCopy(Fixtures, abstract.AbstractCopyTests):
    pass


class TestGet(Fixtures, abstract.AbstractGetTests):
    pass


class TestPut(Fixtures, abstract.AbstractPutTests):
    pass


class TestPipe(Fixtures, abstract.AbstractPipeTests):
    pass


class TestOpen(Fixtures, abstract.AbstractOpenTests):
    pass


def test_every_mixin_of_the_suite_is_here() -> None:
    mixins = {name for name in dir(abstract) if name.startswith("Abstract") and name.endswith("Tests")}
    used = {base.__name__ for cls in (TestCopy, TestGet, TestPut, TestPipe, TestOpen) for base in cls.__mro__}
    assert mixins <= used


__all__ = [
    "TestCopy",
    "TestGet",
    "TestOpen",
    "TestPipe",
    "TestPut",
    "test_every_mixin_of_the_suite_is_here",
]
