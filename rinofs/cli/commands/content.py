"""Commands for files and their versions: `cat`, `info`, `versions`, `restore`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.locations import URL, expand, locate
from rinofs.cli.output import as_json as to_json
from rinofs.cli.output import modified, show_json, size_text, write_lines
from rinofs.fs.filesystem import RemoteFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
            here.fs.get_file(here.path, output)  # streams; a file object would fill the block cache
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


@click.command()
@click.argument("url", type=URL)
@click.option("-h", "--human-readable", "for_people", is_flag=True, help="Sizes such as 1.2K and 34M.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def versions(url: str, for_people: bool, as_json: bool) -> None:
    """List the versions of a file: id, size, modification time (UTC); the current one comes last.

    `rinofs cat rino://@ID` reads one, and `rinofs restore URL ID` makes it current.
    """
    here = versioned(url)
    found = here.fs.versions(here.path)
    if as_json:
        show_json(found)
    else:
        write_lines(_version_lines(found, for_people=for_people))


def _version_lines(found: Sequence[dict[str, Any]], *, for_people: bool) -> Iterator[str]:
    rows = [(str(one["id"]), size_text(one.get("size"), for_people=for_people)) for one in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for one, (identifier, size) in zip(found, rows, strict=True):
        time = modified(one)
        shown = time.strftime("%Y-%m-%d %H:%M:%S") if time else "-"
        current = "  current" if one is found[-1] else ""
        yield f"{identifier:>{widths[0]}}  {size:>{widths[1]}}  {shown}{current}"


@click.command()
@click.argument("url", type=URL)
@click.argument("version", metavar="ID", type=int)
def restore(url: str, version: int) -> None:
    """Make an earlier version of a file current, by storing it again as a new version.

    Its metadata and tags come back too. `rinofs versions URL` lists the ids.
    """
    here = versioned(url)
    known = [one["id"] for one in here.fs.versions(here.path)]
    if version not in known:
        raise CommandError(f"no version {version}", url, f"`rinofs versions {url}` lists them")
    if version == known[-1]:
        return  # it is already current; storing it again would only add a version
    here.fs.restore(here.path, version)


def versioned(url: str) -> Location:
    """Return the location of a URL; raises CommandError if its filesystem has no versions."""
    from rinofs.rinocloud.filesystem import RinoFileSystem  # of no use to `cat` of another filesystem

    here = locate(url)
    if not isinstance(here.fs, RinoFileSystem):
        raise CommandError("versions are not supported here", url, "use a rino:// URL")
    return here
