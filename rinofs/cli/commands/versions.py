"""Commands for the versions of files: `versions`, `restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rinofs.cli.errors import CommandError
from rinofs.cli.locations import URL, Location, locate
from rinofs.cli.output import modified, show_json, size_text, write_lines
from rinofs.rinocloud.filesystem import RinoFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
        write_lines(_lines(found, for_people=for_people))


def _lines(found: Sequence[dict[str, Any]], *, for_people: bool) -> Iterator[str]:
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
        return  # it is current already, and another copy of it would only add a version
    here.fs.restore(here.path, version)


def versioned(url: str) -> Location:
    """Return where a URL leads; raises CommandError where files have no versions."""
    here = locate(url)
    if not isinstance(here.fs, RinoFileSystem):
        raise CommandError("versions are not supported here", url, "use a rino:// URL")
    return here
