"""Public imports stay where they are; moved ones remain available for one more release."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import import_module

import pytest

from rinofs._moved import MOVED

PUBLIC = {
    "rinofs": "RepovizzFileSystem RinoFileSystem RinofsError __version__ login set_cache_size sync",
    "rinofs.cli.main": "main",
    "rinofs.datapack": """Container DataNode DataWarning DatatypeRegistry DatatypeWarning Document Info Node
        Tree dump from_json parse write""",
    "rinofs.datapack.datatypes": "DatatypeWarning",
    "rinofs.datapack.filesystem": "DatapackFileSystem",
    "rinofs.errors": """AuthenticationError ConflictError ConnectionFailedError ContentChangedError
        ContentMismatchError CredentialsError DeadlineError InvalidDatapackError
        InvalidOptionError InvalidOptionTypeError InvalidPathError InvalidRequestError NotAllowedError
        NotFoundError NotWrittenWarning OutcomeUnknownError PreconditionError ProtocolError RinofsError
        ServiceError TooLargeError UnavailableError UnknownDatatypeError""",
    "rinofs.fs.upath": "RemotePath",
    "rinofs.plotting": "plot save",
    "rinofs.testing": "Fault LiveServer SeenRequest ServerProcess live_server server_process",
    "rinofs.zarr": "RinoStore",
}

# Every import in the documentation of 0.1.0 whose module has moved.
EARLIER = [
    ("rinofs.datapack.edits", "add"),
    ("rinofs.datapack.registry", "DatatypeRegistry"),
    ("rinofs.datapack.samples", "DataWarning"),
    ("rinofs.datapack.times", "TimeIndex"),
    ("rinofs.datapack.times", "time_coordinates"),
    ("rinofs.datapack.validation", "datatype_problems"),
    ("rinofs.datapack.validation", "flaws"),
    ("rinofs.datapack.writing", "write"),
    ("rinofs.datapack.xarray_backend", "DatapackBackend"),
    ("rinofs.fs.writer", "NotWrittenWarning"),
]


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_public_names(module: str) -> None:
    found = import_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        assert [name for name in PUBLIC[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize(
    "module",
    ["rinofs", "rinofs.datapack", "rinofs.errors", "rinofs.plotting", "rinofs.testing", "rinofs.zarr"],
)
def test_all_lists_the_public_names(module: str) -> None:
    assert sorted(import_module(module).__all__) == sorted(PUBLIC[module].split())


@pytest.mark.parametrize(("module", "name"), EARLIER)
def test_an_earlier_import_works_and_names_the_new_place(module: str, name: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"^{module} has moved: import {name} from rinofs\."
    ) as caught:
        value = getattr(import_module(module), name)
    new = str(caught[0].message).rpartition(" ")[2]
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        assert value is getattr(import_module(new), name)


def test_an_earlier_module_as_an_attribute_of_its_package() -> None:
    program = "from rinofs.datapack import edits; print(edits.add.__module__)"
    answer = subprocess.run(
        [sys.executable, "-Wd", "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "rinofs.datapack.document.edits\n"
    assert "DeprecationWarning: rinofs.datapack.edits has moved" in answer.stderr


def test_every_place_to_which_something_moved_is_there() -> None:
    for places in MOVED.values():
        for name, place in places.items():
            assert name == "*" or hasattr(import_module(place), name)


@pytest.mark.parametrize("name", ["rinofs.no_such_module", "rinofs.datapack.registries"])
def test_a_module_that_never_was_is_not_found(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module(name)


def test_a_name_that_never_was_is_not_found() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Registry'"):
        import_module("rinofs.datapack.registry").Registry  # noqa: B018


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["no-such-command"], 2)])
def test_the_package_runs_as_the_command_line(arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "rinofs", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == code
    assert answer.stdout.startswith("rinofs, version ") if code == 0 else "no-such-command" in answer.stderr
