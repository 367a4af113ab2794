"""Commands that copy: `get`, `put`, `cp`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rinofs.cli.commands.content import write_content
from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.expressions import assignment
from rinofs.cli.locations import URL, expand, is_folder, locate
from rinofs.cli.output import show_json
from rinofs.cli.places import copy_pairs, plan_copies
from rinofs.cli.progress import Progress
from rinofs.cli.transfers import transfer_files
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.rinocloud.filesystem import RinoFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rinofs.cli.locations import Location
    from rinofs.cli.places import CopyPlan, FileCopy, Pair

__all__ = ["copy_across", "cp", "get", "put", "sources_and_destination"]


_sidecars = click.option(
    "--sidecars", is_flag=True, help="Keep the metadata of NAME in the local file NAME.json."
)


def _copying(command: Callable[..., None]) -> Callable[..., None]:
    """Add the common options of the copying commands."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print a summary as one JSON document."),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress bar."),
        click.option("-r", "-R", "--recursive", is_flag=True, help="Copy folders with their contents."),
        click.argument("paths", type=URL, metavar="SOURCE... DESTINATION", nargs=-1, required=True),
    ):
        command = decorate(command)
    return command


def sources_and_destination(paths: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Split paths into the sources and the destination, which comes last.

    Raises
    ------
    click.UsageError
        If there is only one path, so that the destination is missing.
    """
    if len(paths) == 1:
        raise click.UsageError(f"{paths[0]}: the DESTINATION is missing, such as `.` for this folder")
    return paths[:-1], paths[-1]


@click.command()
@_copying
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Keep a partial download of a large file, and continue it the next time.",
)
@_sidecars
def get(
    paths: tuple[str, ...],
    recursive: bool,
    quiet: bool,
    as_json: bool,
    resume: bool,
    sidecars: bool,
) -> None:
    """Download files and folders to this machine; a DESTINATION `-` is standard output.

    The contents of a folder go into DESTINATION. Several sources, or all that a pattern matches, go below it
    under their names. A file goes into DESTINATION if that is a folder or ends with a slash; otherwise it
    gets that name.

    A file that exists is replaced when its download is complete. Names that the local system does not allow
    are changed and reported (exit code 1).
    """
    sources, destination = sources_and_destination(paths)
    if destination == "-":
        given = {"--recursive": recursive, "--json": as_json, "--sidecars": sidecars}
        for option in (name for name, is_given in given.items() if is_given):
            raise click.UsageError(f"-: {option} is of no use with standard output; leave it out")
        _get_to_standard_output(sources)
        return
    if not locate(destination).is_local:
        raise click.UsageError(f"{destination}: `get` needs a local destination; use `rinofs cp`")
    _copy(
        sources,
        destination,
        recursive=recursive,
        quiet=quiet,
        as_json=as_json,
        resume=resume,
        sidecars=sidecars,
    )


@click.command()
@_copying
@_sidecars
@click.option(
    "--meta", "assignments", multiple=True, metavar="NAME=VALUE", help="Metadata of each file; repeatable."
)
@click.option("--tag", "tags", multiple=True, help="A tag of each file; repeatable.")
def put(
    paths: tuple[str, ...],
    recursive: bool,
    quiet: bool,
    as_json: bool,
    sidecars: bool,
    assignments: tuple[str, ...],
    tags: tuple[str, ...],
) -> None:
    """Upload files and folders from this machine; `-` is standard input.

    The contents of a folder go into DESTINATION. Several sources, or all that a pattern matches, go below it
    under their names. A file goes into DESTINATION if that is a folder or ends with a slash; otherwise it
    gets that name.
    """
    sources, destination = sources_and_destination(paths)
    attributes = _attributes(assignments, tags)
    if attributes and not isinstance(locate(destination).fs, RinoFileSystem):
        raise click.UsageError(f"{destination}: --meta and --tag need a rino:// destination")
    if sources == ("-",):
        _put_standard_input(destination, attributes)
        return
    for source in sources:
        if not locate(source).is_local:
            raise click.UsageError(f"{source}: `put` needs a local source; use `rinofs cp`")
    if sidecars and not isinstance(locate(destination).fs, RemoteFileSystem):
        raise click.UsageError(
            f"{destination}: --sidecars needs a destination with metadata, such as rino://"
        )
    _copy(
        sources,
        destination,
        recursive=recursive,
        quiet=quiet,
        as_json=as_json,
        resume=False,
        sidecars=sidecars,
        attributes=attributes,
    )


def _attributes(assignments: Sequence[str], tags: Sequence[str]) -> dict[str, Any]:
    metadata = dict(map(assignment, assignments))
    return {**({"metadata": metadata} if metadata else {}), **({"tags": list(tags)} if tags else {})}


@click.command()
@_copying
def cp(paths: tuple[str, ...], recursive: bool, quiet: bool, as_json: bool) -> None:
    """Copy files and folders between any two places; within one server, the server copies them.

    The contents of a folder go into DESTINATION. Several sources, or all that a pattern matches, go below it
    under their names. A file goes into DESTINATION if that is a folder or ends with a slash; otherwise it
    gets that name.
    """
    sources, destination = sources_and_destination(paths)
    _copy(sources, destination, recursive=recursive, quiet=quiet, as_json=as_json, resume=True)


def _get_to_standard_output(sources: Sequence[str]) -> None:
    problems = Problems()
    for here in expand(sources, problems):
        with problems.collected(here.url):
            write_content(here, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    problems.exit_if_any()


def _put_standard_input(destination: str, attributes: Mapping[str, Any]) -> None:
    if destination.endswith("/"):
        raise CommandError("is a folder", destination, "standard input needs the name of a file")
    target = locate(destination)
    with tempfile.TemporaryDirectory(prefix="rinofs-") as folder:
        spooled = Path(folder) / "input"
        with spooled.open("wb") as file:
            while piece := sys.stdin.buffer.read(1024 * 1024):
                file.write(piece)
        target.fs.put_file(str(spooled), target.path, **attributes)


def _copy(
    sources: Sequence[str],
    destination: str,
    *,
    recursive: bool,
    quiet: bool,
    as_json: bool,
    resume: bool,
    sidecars: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    problems = Problems()
    pairs = copy_pairs(sources, destination, problems)
    plan = copy_across(
        pairs,
        problems,
        recursive=recursive,
        quiet=quiet,
        resume=resume,
        sidecars=sidecars,
        attributes=attributes,
    )
    if as_json:
        done = {"files": len(plan.files), "bytes": plan.size, "renamed": plan.renamed}
        show_json({**done, "problems": problems.lines})
    problems.exit_if_any()


def copy_across(
    pairs: Sequence[Pair],
    problems: Problems,
    *,
    recursive: bool,
    quiet: bool,
    resume: bool,
    sidecars: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> CopyPlan:
    """Copy all pairs; failures are reported, and the others continue.

    Parameters
    ----------
    pairs : sequence of Pair
        Sources and their targets.
    problems : Problems
        Collects the failures.
    recursive : bool
        Whether to copy folders.
    quiet : bool
        Whether to show no progress bar.
    resume : bool
        Whether to continue interrupted downloads.
    sidecars : bool
        Whether local files have their metadata in sidecar files.
    attributes : mapping, optional
        ``metadata`` and ``tags`` to store with each file in an upload to Rinocloud.

    Returns
    -------
    CopyPlan
        The successful copies.
    """
    done: list[FileCopy] = []
    whole = [pair for pair in pairs if recursive and _is_one_copy(pair)]
    for pair in whole:
        with problems.collected(pair.source.url):
            files = plan_copies([pair], problems, recursive=True).files
            pair.source.fs.copy(pair.source.path, pair.target.path, recursive=True)
            done += files
    plan = plan_copies([pair for pair in pairs if pair not in whole], problems, recursive=recursive)
    for url, local in plan.renamed.items():
        problems.report(f"{url}: the local system does not allow this name; stored as {local}")
    if sidecars:
        plan.files = [copy for copy in plan.files if not _is_sidecar(copy)]
    _make_folders(plan, problems)
    with Progress("copying", plan.size, shown=not quiet and sys.stderr.isatty()) as progress:
        plan.files = done + transfer_files(
            plan.files, progress, problems, resume=resume, sidecars=sidecars, attributes=attributes or {}
        )
    return plan


def _is_sidecar(copy: FileCopy) -> bool:
    from rinofs.rinocloud.sidecars import is_sidecar

    return copy.source.is_local and is_sidecar(copy.source.path)


def _is_one_copy(pair: Pair) -> bool:
    """Return whether a server can copy a folder as a whole."""
    source = pair.source
    ours = isinstance(source.fs, RemoteFileSystem) and source.fs is pair.target.fs and source.path != ""
    return ours and is_folder(pair.info) and pair.replaces is None


def _make_folders(plan: CopyPlan, problems: Problems) -> None:
    failed: list[Location] = []
    for folder in plan.folders:
        try:
            folder.fs.makedirs(folder.path, exist_ok=True)
        except (OSError, ValueError) as error:
            problems.report(error, folder.url)
            failed.append(folder)
    for folder in failed:
        plan.files = [copy for copy in plan.files if not copy.target.path.startswith(f"{folder.path}/")]
