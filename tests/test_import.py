"""The modules that ``import rinofs`` loads, in a separate process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rinofs

_PROGRAM = """
import json, sys
import fsspec
before = set(sys.modules)
{statement}
print(json.dumps(sorted(set(sys.modules) - before)))
"""

EXTRAS = {"server", "cli", "xarray", "plot", "datapack", "all"}
# Import names of the packages of the extras, if they differ from the package names.
IMPORTED_AS = {"argon2-cffi": "argon2", "pillow": "PIL", "universal-pathlib": "upath"}


def _imported(statement: str) -> set[str]:
    program = _PROGRAM.format(statement=statement)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout))


def _of_the_extras() -> set[str]:
    pyproject = Path(rinofs.__file__).parents[1] / "pyproject.toml"
    groups = tomllib.loads(pyproject.read_text("utf-8"))["project"]["optional-dependencies"]
    named = {re.split(r"[^\\w-]", line)[0] for group in groups.values() for line in group} - {"rinofs"}
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in named} | {"numpy", "pandas", "dask"}


def test_importing_rinofs_imports_nothing_but_its_errors() -> None:
    assert _imported("import rinofs") - set(sys.stdlib_module_names) == {
        "rinofs",
        "rinofs._moved",
        "rinofs.errors",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "from rinofs import RinoFileSystem, set_cache_size",
        "fsspec.get_filesystem_class('rino')",
        "fsspec.filesystem('rino', endpoint_url='http://127.0.0.1:9', token='abc')",
    ],
)
def test_making_a_filesystem_imports_no_requests_and_no_extra(statement: str) -> None:
    packages = {name.split(".")[0] for name in _imported(statement)}
    assert {"rinofs", "cachetools"} <= packages
    assert not packages & ({"requests", "urllib3", "http"} | _of_the_extras())


def test_writing_datapacks_without_its_extra_says_which_is_missing() -> None:
    program = "import sys; sys.modules['xarray'] = None\nimport rinofs.datapack\nrinofs.datapack.write"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = answer.stderr.strip().rpartition("\n")[2]
    assert last == "ImportError: rinofs.datapack.write needs xarray: pip install 'rinofs[xarray]'"
