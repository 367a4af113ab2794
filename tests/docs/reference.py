"""The reference of the command line, made of what the commands say of themselves.

``python -m tests.docs.reference`` writes it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from rinofs.cli.main import main
from tests.docs.blocks import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "cli_reference.md"

_HEAD = """\
<!-- Written by `python -m tests.docs.reference`. -->

## Commands

`rinofs --debug COMMAND ...` logs each request, `rinofs --version` prints the version, and `--help` after any
command shows what is said here.
"""


def commands(group: click.Group | None = None, above: click.Context | None = None) -> Iterator[click.Context]:
    """Yield a context for every command, in the order in which the help shows them."""
    group = main if group is None else group
    above = click.Context(main, info_name="rinofs") if above is None else above
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=above)
        if isinstance(command, click.Group):
            yield from commands(command, context)
        else:
            yield context


def reference() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *map(_described, commands())])


def _described(context: click.Context) -> str:
    command = context.command
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    rows = [record for option in command.params if (record := _row(option, context))]
    usage = " ".join([context.command_path, *(["[OPTIONS]"] if rows else []), *pieces])
    about = inspect.cleandoc(command.help or "")
    table = "\n".join(["", "| option | |", "|---|---|", *rows, ""]) if rows else ""
    return f"### {context.command_path}\n\n```text\n{usage}\n```\n\n{about}\n{table}"


def _row(option: click.Parameter, context: click.Context) -> str | None:
    if not isinstance(option, click.Option) or option.hidden:
        return None
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag else f" {option.metavar or _kind(option)}"
    help_text = (option.help or "").strip()
    default = option.default if option.show_default else None
    said = "" if default is None or option.is_flag else f" By default `{default}`."
    if option.show_envvar:
        said += f" Environment variable: `{option.envvar}`."
    needed = " Required." if option.required else ""
    return f"| {names}{takes} | {help_text}{said}{needed} |"


def _kind(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return " or ".join(f"`{choice}`" for choice in option.type.choices)
    kinds = {click.IntRange: "NUMBER", click.types.IntParamType: "NUMBER", click.Path: "FOLDER"}
    return next((kind for of, kind in kinds.items() if isinstance(option.type, of)), "TEXT")


if __name__ == "__main__":
    PAGE.write_text(reference())
