"""``rinofs admin backup`` and ``rinofs admin restore``."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rinofs.cli.errors import FAILED, CommandError
from rinofs.cli.output import counted, human, show_json, write_lines
from rinofs.cli.progress import Progress
from rinofs.server import maintenance
from rinofs.server.auth.accounts import COMMAND_LINE
from rinofs.server.backups import BackupError, BackupReport, back_up
from rinofs.server.backups import restore as restore_backup
from rinofs.server.blobs.folders import FolderInUseError
from rinofs.server.catalog.audit import AuditEvent
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress bar.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("destination", metavar="DEST", type=_FOLDER)
@click.option(
    "--data",
    "data_dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder that `rinofs serve` keeps everything in.",
)
@click.option("--copy", is_flag=True, help="Copy contents on the same disk too, in place of hard links.")
@click.option("--verify", is_flag=True, help="Read again what earlier backups have copied.")
@_quiet
@_json
def backup(destination: Path, data_dir: Path, copy: bool, verify: bool, quiet: bool, as_json: bool) -> None:
    """Back up everything to the folder DEST, also while the server runs.

    The same command again copies only what is new, and replaces the backup when all of it is there.
    Until then, the earlier one stays whole. A backup that was interrupted continues. Exits with 1 if
    a content is missing or damaged.
    """
    with _reported(), Progress("backing up", 0, shown=_watched(quiet, as_json=as_json)) as progress:
        report = back_up(data_dir, destination, progress, link=not copy, verify=verify)
    _show(report, "copied", as_json=as_json)


@click.command()
@click.argument("source", metavar="BACKUP", type=_FOLDER)
@click.argument("data_dir", metavar="DATA", type=_FOLDER)
@_quiet
@_json
def restore(source: Path, data_dir: Path, quiet: bool, as_json: bool) -> None:
    """Make the new folder DATA, to be served, of a BACKUP.

    Everything is read and checked. Exits with 1 if anything is missing or damaged; the rest is restored. A
    restore that was interrupted continues.
    """
    with _reported(), Progress("restoring", 0, shown=_watched(quiet, as_json=as_json)) as progress:
        report = restore_backup(source, data_dir, progress)
        services = open_services(ServerSettings(data_dir.absolute()))
        try:
            problems = maintenance.check_catalog(services)
            told = {"action": "restore", "problems": len(report.problems) + len(problems)}
            with services.database.write() as connection:
                services.database.note(connection, AuditEvent.ADMIN, None, COMMAND_LINE, **told)
        finally:
            services.close()
    _show(report, "restored", as_json=as_json, more=problems)


def _watched(quiet: bool, *, as_json: bool) -> bool:
    return not quiet and not as_json and sys.stderr.isatty()


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (BackupError, FolderInUseError) as error:
        raise CommandError(str(error)) from error


def _show(report: BackupReport, done: str, *, as_json: bool, more: Sequence[str] = ()) -> None:
    problems = [*report.problems, *more]
    if as_json:
        show_json({**asdict(report), "problems": problems})
    else:
        whole = f"{counted(report.contents, 'content')} ({human(report.bytes)}B)"
        new = f"{report.copied:,} {done} ({human(report.bytes_copied)}B)"
        write_lines([*problems, f"{whole}, {new}: {counted(len(problems), 'problem')}"])
    if problems:
        sys.exit(FAILED)
