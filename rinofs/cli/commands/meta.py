"""The commands `meta get`, `meta set` and `meta rm`."""

from __future__ import annotations

from typing import Any

import click

from rinofs.cli.errors import CommandError
from rinofs.cli.expressions import assignment
from rinofs.cli.locations import URL, Location, locate
from rinofs.cli.output import show_json
from rinofs.rinocloud.filesystem import RinoFileSystem

_url = click.argument("url", type=URL)


@click.group()
def meta() -> None:
    """Show and change the metadata of files and folders."""


@meta.command("get")
@_url
@click.argument("names", metavar="[NAME]...", nargs=-1)
def get_(url: str, names: tuple[str, ...]) -> None:
    """Print the metadata of URL as JSON: all of it, the value of one NAME, or those of several."""
    here = _described(url)
    metadata: dict[str, Any] = here.fs.get_metadata(here.path)
    missing = [name for name in names if name not in metadata]
    if missing:
        raise CommandError(f"no {', '.join(missing)} in its metadata", url)
    if len(names) == 1:
        show_json(metadata[names[0]])
    else:
        show_json({name: metadata[name] for name in names} if names else metadata)


@meta.command("set")
@_url
@click.argument("assignments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--replace", is_flag=True, help="Remove all metadata that is not given.")
@click.option("--tag", "tags", multiple=True, help="Replace the tags by this one; may be given again.")
def set_(url: str, assignments: tuple[str, ...], replace: bool, tags: tuple[str, ...]) -> None:
    """Set metadata of URL, which keeps what is not named.

    A VALUE is a JSON literal where it is one (3, true, null, [1, 2], {"gain": 2}), else text; '"3"' is the
    text 3.
    """
    if not assignments and not replace and not tags:
        raise click.UsageError("what to set is missing: NAME=VALUE")
    values = dict(map(assignment, assignments))
    here = _described(url)
    if assignments or replace:
        here.fs.set_metadata(here.path, values, replace=replace)
    if tags:
        here.fs.set_tags(here.path, list(tags))


@meta.command("rm")
@_url
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def rm_(url: str, names: tuple[str, ...]) -> None:
    """Remove NAMEs from the metadata of URL; a missing NAME is not an error."""
    here = _described(url)
    here.fs.delete_metadata(here.path, *names)


def _described(url: str) -> Location:
    here = locate(url)
    if not isinstance(here.fs, RinoFileSystem):
        raise CommandError("metadata is not supported here", url, "use a rino:// URL")
    return here
