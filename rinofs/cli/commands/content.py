"""Commands that show one thing: `cat`, `info`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.locations import URL, expand
from rinofs.cli.output import as_json as to_json
from rinofs.cli.output import show_json, write_lines
from rinofs.fs.filesystem import RemoteFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.cli.locations import Location

_PIECE = 1024 * 1024


@click.command()
@click.argument("urls", type=URL, metavar="URL...", nargs=-1, required=True)
def cat(urls: tuple[str, ...]) -> None:
    """Write the content of files to standard output, one after the other."""
    problems = Problems()
    output = sys.stdout.buffer
    for here in expand(urls, problems):
        with problems.collected(here.url):
            write_content(here, output)
        output.flush()
    problems.exit_if_any()


def write_content(here: Location, output: BinaryIO) -> None:
    """Write the content of a file to a stream."""
    try:
        if isinstance(here.fs, RemoteFileSystem):
            here.fs.get_file(here.path, output)  # streams, while a file object would fill the block cache
            return
        with here.fs.open(here.path, "rb") as file:
            while piece := file.read(_PIECE):
                output.write(piece)
    except IsADirectoryError as error:
        hint = "name a file in it, or use `rinofs get -r`"
        raise CommandError("is a folder", here.url, hint) from error


@click.command()
@click.argument("urls", type=URL, metavar="URL...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: a list.")
def info(urls: tuple[str, ...], as_json: bool) -> None:
    """Show details of files and folders: size, type, times, metadata..."""
    problems = Problems()
    found: list[dict[str, Any]] = []
    for here in expand(urls, problems):
        with problems.collected(here.url):
            found.append({"url": here.url, **here.fs.info(here.path)})
    if as_json:
        show_json(found)
    else:
        for number, entry in enumerate(found):
            write_lines([""] * (number > 0))
            write_lines(_lines(entry))
    problems.exit_if_any()


def _lines(entry: dict[str, Any]) -> Iterator[str]:
    width = max(map(len, entry))
    for key, value in to_json(entry).items():
        if value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{key:<{width}}  {text}"
