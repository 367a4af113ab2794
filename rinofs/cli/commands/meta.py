"""The commands `meta get`, `meta set` and `meta rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.expressions import assignment
from rinofs.cli.locations import URL, Location, expand, locate
from rinofs.cli.output import show_json
from rinofs.fs.copying import WORKERS
from rinofs.fs.transfer.pool import run
from rinofs.rinocloud.filesystem import RinoFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
@click.argument("words", metavar="URL... [NAME=VALUE]...", nargs=-1, required=True, type=URL)
@click.option("--replace", is_flag=True, help="Remove all metadata that is not given.")
@click.option("--tag", "tags", multiple=True, help="Replace the tags by this one; may be given again.")
def set_(words: tuple[str, ...], replace: bool, tags: tuple[str, ...]) -> None:
    """Set metadata of each URL, and keep its other metadata.

    A VALUE that is a JSON literal (3, true, null, [1, 2], {"gain": 2}) is parsed as one; all others are text.
    '"3"' is the text 3. Several URLs, and all that a pattern matches, get the same metadata.
    """
    urls, assignments = _urls_and_rest(words)
    if not assignments and not replace and not tags:
        raise click.UsageError("what to set is missing: NAME=VALUE")
    values = dict(map(assignment, assignments))

    def change(here: Location) -> None:
        if assignments or replace:
            here.fs.set_metadata(here.path, values, replace=replace)
        if tags:
            here.fs.set_tags(here.path, list(tags))

    _change_all(urls, change)


@meta.command("rm")
@click.argument("words", metavar="URL... NAME...", nargs=-1, required=True, type=URL)
def rm_(words: tuple[str, ...]) -> None:
    """Remove NAMEs from the metadata of each URL; a missing NAME is not an error."""
    urls, names = _urls_and_rest(words)
    if not names:
        raise click.UsageError("what to remove is missing: NAME")
    _change_all(urls, lambda here: here.fs.delete_metadata(here.path, *names))


def _urls_and_rest(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split words into URLs and the rest. The first word is always a URL."""
    count = 1
    while count < len(words) and "://" in words[count].partition("=")[0]:
        count += 1
    return list(words[:count]), list(words[count:])


def _change_all(urls: Sequence[str], change: Callable[[Location], object]) -> None:
    problems = Problems()
    found = [_supported(here) for here in expand(urls, problems)]

    def work(here: Location) -> None:
        with problems.collected(here.url):
            change(here)

    run(work, found, WORKERS)
    problems.exit_if_any()


def _described(url: str) -> Location:
    return _supported(locate(url))


def _supported(here: Location) -> Location:
    if not isinstance(here.fs, RinoFileSystem):
        raise CommandError("metadata is not supported here", here.url, "use a rino:// URL")
    return here
