"""The commands `rinofs datapack push` and `pull`, between a folder and the service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import fsspec
from fsspec.core import split_protocol

from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.locations import URL, locate
from rinofs.cli.output import counted, show_json, write_lines
from rinofs.cli.progress import FileProgress, Progress
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.fs.transfer.local_names import LocalNames, NameRules
from rinofs.repovizz.filesystem import RepovizzFileSystem

if TYPE_CHECKING:
    from rinofs.repovizz.pulling import PullPlan

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress bar.")


@click.command()
@click.argument("document", type=URL)
@click.argument("datapack", type=URL)
@_quiet
@_json
def push(document: str, datapack: str, quiet: bool, as_json: bool) -> None:
    """Upload DOCUMENT, or the one in a folder, and the files that it links to, as DATAPACK (repovizz://NAME).

    Without a NAME (repovizz://), the one in the document is used. If the datapack exists with this structure,
    only new and changed files are sent.
    """
    fs, path = _service(datapack)
    document = document_of(document)
    with Progress("sending", 0, shown=not quiet and sys.stderr.isatty()) as progress:
        done = fs.push(document, path, callback=_Sending(progress))
    if as_json:
        show_json({"id": done.datapack, "created": done.made, "sent": done.sent, "kept": done.kept})
        return
    kept = f", {done.kept} there already" if done.kept else ""
    write_lines([f"{fs.url(done.path)}: {counted(done.sent, 'file')} sent{kept}; its id is {done.datapack}"])


def document_of(url: str) -> str:
    """Return the URL of a datapack's document, given its own URL or that of its folder."""
    here = locate(url)
    if not here.fs.isdir(here.path):
        return url
    document = here.below(DOCUMENT_NAME)
    if not here.fs.exists(document.path):
        raise CommandError(f"no {DOCUMENT_NAME} in this folder", url, "`rinofs datapack new` writes one")
    return document.url


class _Sending(FileProgress):
    """Reports the amount of work as soon as it is known."""

    def set_size(self, size: int) -> None:
        super().set_size(size)
        self._progress.expect(size)


@click.command()
@click.argument("datapack", type=URL)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Replace a document that is there, and files of these names.")
@_quiet
@_json
def pull(datapack: str, folder: Path, force: bool, quiet: bool, as_json: bool) -> None:
    """Download DATAPACK (repovizz://NAME) into FOLDER: its files by their names, and datapack.json.

    `push` creates an equal datapack from what `pull` writes.
    """
    fs, path = _service(datapack)
    if not force and (folder / DOCUMENT_NAME).exists():
        raise CommandError("already exists", str(folder / DOCUMENT_NAME), "--force replaces it")
    fs.info(path)  # report a missing datapack before creating the folder
    folder.mkdir(parents=True, exist_ok=True)
    names = LocalNames(NameRules.of(folder))
    plan = fs.plan_pull(path, names.path)
    problems = Problems()
    for lacking in plan.lacking:
        problems.report(f"{datapack.rstrip('/')}/{lacking}: no content was uploaded yet")
    _fetch(fs, plan, folder, problems, shown=not quiet and sys.stderr.isatty())
    (folder / DOCUMENT_NAME).write_text(plan.document(), "utf-8", newline="")
    if as_json:
        show_json({"document": str(folder / DOCUMENT_NAME), "files": plan.files, "lacking": plan.lacking})
    else:
        write_lines([f"{folder / DOCUMENT_NAME}: {counted(len(plan.files), 'file')} beside it"])
    problems.exit_if_any()


def _fetch(fs: RepovizzFileSystem, plan: PullPlan, folder: Path, problems: Problems, *, shown: bool) -> None:
    infos = fs.find(f"{plan.datapack.id}", detail=True).values()
    sizes = {info["link"].removeprefix("repovizz:"): info["size"] or 0 for info in infos}
    sources = [f"{plan.datapack.id}/repovizz:{content_hash}" for content_hash in plan.files]
    targets = [str(folder / name) for name in plan.files.values()]
    with Progress("downloading", sum(sizes.get(each, 0) for each in plan.files), shown=shown) as progress:

        def fail(path: str, error: Exception) -> None:
            with progress.aside():
                problems.report(error, fs.url(path))

        fs.get(sources, targets, callback=progress, on_error=fail)


def _service(url: str) -> tuple[RepovizzFileSystem, str]:
    if split_protocol(url)[0] not in RepovizzFileSystem.protocol:
        raise CommandError("not a repovizz2 datapack", url, "use repovizz://NAME")
    fs, path = fsspec.url_to_fs(url)
    return fs, str(path)
