"""Commands that change files and folders: `mkdir`, `mv`, `rm`."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from rinofs.cli.commands.content import versioned
from rinofs.cli.commands.transfer import copy_across, sources_and_destination
from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.locations import URL, expand, is_folder, locate
from rinofs.cli.places import move_pairs

if TYPE_CHECKING:
    from rinofs.cli.locations import Location
    from rinofs.cli.places import Pair


@click.command()
@click.argument("urls", type=URL, metavar="URL...", nargs=-1, required=True)
@click.option("-r", "-R", "--recursive", is_flag=True, help="Delete folders with their contents.")
@click.option("-f", "--force", is_flag=True, help="Ignore missing files.")
@click.option("--version", metavar="ID", type=int, help="Delete only this earlier version of one file.")
def rm(urls: tuple[str, ...], recursive: bool, force: bool, version: int | None) -> None:
    """Delete files and folders. On a server, this deletes all versions and cannot be undone.

    With --version, the file and its other versions stay; `rinofs versions URL` lists the ids.
    """
    if version is not None:
        if len(urls) != 1 or recursive:
            raise click.UsageError("--version takes one file, without -r")
        here = versioned(urls[0])
        here.fs.prune(here.path, version)
        return
    problems = Problems()
    doomed: list[Location] = []
    for here in expand(urls, problems):
        with problems.collected(here.url):
            if _may_go(here, recursive=recursive, force=force):
                doomed.append(here)
    for fs, group in groupby(doomed, key=lambda here: here.fs):
        with problems.collected():
            # A single call: some servers can delete a list with one request.
            fs.rm([here.path for here in group], recursive=recursive)
    problems.exit_if_any()


def _may_go(here: Location, *, recursive: bool, force: bool) -> bool:
    if not here.path.strip("/"):
        raise CommandError("refusing to delete everything", here.url, "name the folders to delete")
    try:
        folder = is_folder(here.fs.info(here.path))
    except FileNotFoundError:
        if force:
            return False
        raise
    if folder and not recursive:
        raise CommandError("is a folder", here.url, "use -r to delete it with its contents")
    return True


@click.command()
@click.argument("urls", type=URL, metavar="URL...", nargs=-1, required=True)
@click.option("-p", "--parents", is_flag=True, help="Create missing parents too; existing folders are fine.")
def mkdir(urls: tuple[str, ...], parents: bool) -> None:
    """Create folders."""
    problems = Problems()
    for url in urls:
        with problems.collected(url):
            here = locate(url)
            if parents:
                here.fs.makedirs(here.path, exist_ok=True)
            elif here.fs.exists(here.path):
                raise CommandError("already exists", url)
            elif not here.fs.isdir(here.fs._parent(here.path)):  # noqa: SLF001 - as fsspec's own code does
                raise CommandError("the parent folder does not exist", url, "use -p to create it too")
            else:
                here.fs.mkdir(here.path, create_parents=False)
    problems.exit_if_any()


@click.command()
@click.argument("paths", type=URL, metavar="SOURCE... DESTINATION", nargs=-1, required=True)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress bar.")
def mv(paths: tuple[str, ...], quiet: bool) -> None:
    """Move or rename files and folders.

    If DESTINATION is a folder, the sources go into it. A file replaces a file; a folder replaces nothing.
    Between filesystems, a source is deleted once all of it has been copied.
    """
    problems = Problems()
    sources, destination = sources_and_destination(paths)
    for pair in move_pairs(sources, destination, problems):
        with problems.collected(pair.source.url):
            _move(pair, problems, quiet=quiet)
    problems.exit_if_any()


def _move(pair: Pair, problems: Problems, *, quiet: bool) -> None:
    source, target = pair.source, pair.target
    folder = is_folder(pair.info)
    if not source.path.strip("/"):
        raise CommandError("cannot move the top level", source.url)
    if pair.replaces is not None and (folder or is_folder(pair.replaces)):
        raise CommandError("already exists", target.url, "nothing was moved")
    if source.fs is target.fs:
        source.fs.mv(source.path, target.path, **({"recursive": True} if folder else {}))
        return
    before = len(problems.lines)
    copy_across([pair], problems, recursive=True, quiet=quiet, resume=True)
    if len(problems.lines) == before:
        source.fs.rm([source.path], recursive=folder)
    else:
        problems.report(f"{source.url}: was not deleted, because not all of it was copied")
