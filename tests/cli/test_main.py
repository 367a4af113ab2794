"""The command itself: help, wrong use, what is imported when."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from rinofs import __version__
from rinofs.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from tests.cli.conftest import Run


def test_help_lists_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name, entry in COMMANDS.items():
        assert f"  {name} " in result.output
        assert entry.help in " ".join(result.output.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(run: Run, name: str) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    command = getattr(importlib.import_module(f"rinofs.cli.commands.{module}"), attribute)
    assert isinstance(command, click.Command)
    result = run(name, "--help")
    assert result.exit_code == 0
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, __version__ in result.output) == (0, True)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["lss"], "no such command 'lss'; did you mean 'ls'?"),
        (["dowload"], "no such command 'dowload' (see"),
        (["mete", "get"], "did you mean 'meta'?"),
        (["meta", "gte", "x"], "did you mean 'get'?"),
        (["admin", "user", "ad"], "did you mean 'add'?"),
        (["ls", "--colour"], "no such option"),
        (["ls"], "missing argument"),
        (["find", "--type", "x", "."], "'x' is not one of"),
        (["tree", "-L", "0", "."], "0 is not in the range"),
        (["get"], "missing argument"),
        (["get", "a"], "the DESTINATION is missing"),
        (["get", "memory://a", "memory://b"], "`get` needs a local destination"),
        (["put", "memory://a", "memory://b"], "`put` needs a local source"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(run: Run, args: list[str], says: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("rinofs: ")
    assert says in result.stderr


@pytest.mark.parametrize(
    "args", [["ls", "nope://x"], ["cat", "/no/such/file"], ["ls", "file:///no/such"], ["ls", ""]]
)
def test_failure_is_one_line_and_exit_code_1(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("rinofs: ")
    assert args[1] in result.stderr


def test_a_message_is_one_line_whatever_the_name(run: Run) -> None:
    result = run("cat", "/no/such\n\x1b[31mfile")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def program(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
sys.argv = ["rinofs", *{args}]
from rinofs.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("blocked", "args", "extra"),
    [
        ("click", "--help", "rinofs[cli]"),
        ("uvicorn", "serve --data x", "rinofs[server]"),
        ("h5py", "demo", "rinofs[all]"),
        ("starlette", "demo", "rinofs[all]"),
    ],
)
def test_a_missing_extra_is_named(blocked: str, args: str, extra: str) -> None:
    result = program(BLOCK.format(blocked={blocked}, args=args.split()))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"pip install '{extra}'" in result.stderr


def test_help_needs_no_extra_but_cli() -> None:
    blocked = {"uvicorn", "starlette", "sqlalchemy", "pandas", "xarray", "tqdm", "argon2"}
    result = program(BLOCK.format(blocked=blocked, args=["--help"]))
    assert result.returncode == 0, result.stderr


def test_a_traceback_is_shown_for_debugging_only(run: Run) -> None:
    quiet = program("from rinofs.cli.main import main; main(['cat', '/no/such'])")
    loud = program("from rinofs.cli.main import main; main(['--debug', 'cat', '/no/such'])")
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr
    assert quiet.stderr.splitlines()[-1] == loud.stderr.splitlines()[-1]


def test_the_table_and_the_group_agree() -> None:
    assert main.list_commands(click.Context(main)) == list(COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        "rinofs ls da",
        "rinofs get rino://a da",
        "rinofs put da",
        "rinofs meta get da",
        "rinofs plot da",
        "rinofs datapack tree da",
        "rinofs query da",
    ],
)
def test_completion_leaves_names_of_files_to_the_shell(run: Run, words: str) -> None:
    count = str(len(words.split()) - 1)
    env = {"_RINOFS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count}
    assert run(env=env).stdout.splitlines() == ["file,da"]
