"""``rinofs admin backup``, ``restore``, ``check-storage``, ``copy-blobs``, ``copy``: data in other places."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rinofs.cli.database_options import (
    database_option,
    database_url,
    refuse_shared_database,
    target_database_option,
)
from rinofs.cli.errors import FAILED, CommandError
from rinofs.cli.output import counted, human, show_json, write_lines
from rinofs.cli.progress import Progress
from rinofs.server import maintenance
from rinofs.server.backups import BackupError, BackupReport, back_up
from rinofs.server.backups import restore as restore_backup
from rinofs.server.blobs.folders import CopyError, FolderInUseError
from rinofs.server.blobs.mixed import MixedBlobStore
from rinofs.server.blobs.object_store import checked
from rinofs.server.blobs.store import BucketError
from rinofs.server.catalog.postgres.database_copy import DatabaseCopyError
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.users.audit import COMMAND_LINE, AuditEvent
from rinofs.server.errors import ApiError
from rinofs.server.folder import DataDirError, prepare_folder, private_files
from rinofs.server.moving import MoveReport, check_copy, copy_folder, move_contents
from rinofs.server.runner import DataDirBusyError, exclusive
from rinofs.server.services import BLOBS_URL, FOLDER, NEW_CONTENTS, OBJECT_STORE, open_database, open_services
from rinofs.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rinofs.server.services import Services

_quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress bar.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_data = click.option(
    "--data",
    "data_dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The data folder of `rinofs serve`.",
)

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("destination", metavar="DEST", type=_FOLDER)
@_data
@click.option(
    "--copy", is_flag=True, help="Copy contents on the same disk too, instead of making hard links."
)
@click.option("--verify", is_flag=True, help="Verify the contents of earlier backups again.")
@_quiet
@_json
def backup(destination: Path, data_dir: Path, copy: bool, verify: bool, quiet: bool, as_json: bool) -> None:
    """Back up everything to the folder DEST, also while the server runs.

    Run again, it copies only what is new, and replaces the former backup when the new one is complete. An
    interrupted backup continues when it is run again. Contents in an S3 store are not copied. Exits with 1 if
    a content is missing or damaged.
    """
    refuse_shared_database("back it up with pg_dump, and then the contents")
    with _reported(), Progress("backing up", 0, shown=_watched(quiet, as_json=as_json)) as progress:
        report = back_up(data_dir, destination, progress, link=not copy, verify=verify)
    _show(report, "copied", report.problems, as_json=as_json)
    if report.problems:
        sys.exit(FAILED)


@click.command()
@click.argument("source", metavar="BACKUP", type=_FOLDER)
@click.argument("data_dir", metavar="DATA", type=_FOLDER)
@_quiet
@_json
def restore(source: Path, data_dir: Path, quiet: bool, as_json: bool) -> None:
    """Restore a BACKUP to the new folder DATA.

    Everything is read and checked. Exits with 1 if anything is missing or damaged; the rest is restored. An
    interrupted restore continues when it is run again.
    """
    refuse_shared_database("restore the contents, and then the database with pg_restore")
    with _reported(), Progress("restoring", 0, shown=_watched(quiet, as_json=as_json)) as progress:
        report = restore_backup(source, data_dir, progress)
    settings = ServerSettings(data_dir.absolute())
    with private_files(), closing(open_database(settings)) as database:
        problems = [*report.problems, *maintenance.check_catalog(database)]
        told = {"action": "restore", "problems": len(problems)}
        with database.write() as connection:
            database.note(connection, AuditEvent.ADMIN, None, COMMAND_LINE, **told)
    _show(report, "restored", problems, as_json=as_json)
    _try_store(settings)
    if problems:
        sys.exit(FAILED)


def _try_store(settings: ServerSettings) -> None:
    """Open a restored folder as a server does, which needs its object store if it has one."""
    try:
        with private_files():
            open_services(settings).close()
    except BucketError as error:
        hint = f"then run `rinofs admin fsck --data {settings.data_dir}`: the folder itself is restored"
        raise CommandError(str(error), hint=hint) from error
    except ApiError as error:
        raise CommandError(error.message) from error


def _watched(quiet: bool, *, as_json: bool) -> bool:
    return not quiet and not as_json and sys.stderr.isatty()


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (
        BackupError,
        CopyError,
        DataDirBusyError,
        DataDirError,
        FolderInUseError,
        UnusableDatabaseError,
    ) as error:
        raise CommandError(str(error)) from error


def _show(report: BackupReport, done: str, problems: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        show_json({**asdict(report), "problems": problems})
        return
    whole = f"{counted(report.contents, 'content')} ({human(report.bytes)}B)"
    new = f"{report.copied:,} {done} ({human(report.bytes_copied)}B)"
    elsewhere = f"{counted(report.in_object_store, 'content')} in the object store, not copied"
    lines = [*problems, f"{whole}, {new}: {counted(len(problems), 'problem')}"]
    write_lines([*lines, *([elsewhere] if report.in_object_store else [])])


@click.command("check-storage")
@click.argument("url", metavar="URL")
@_json
def check_storage(url: str, as_json: bool) -> None:
    """Check that the S3 store at URL, s3://BUCKET/PREFIX, does all that a server needs.

    The store is configured by AWS's own variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION). Objects that the check writes are deleted again. It stops at the first
    failure, and exits with 1.
    """
    try:
        found = list(checked(url))
    except BucketError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        show_json([asdict(check) for check in found])
    else:
        lines = (
            f"{check.name}: {check.problem or 'works'} ({check.seconds * 1000:.0f} ms)" for check in found
        )
        write_lines(lines)
    if any(check.problem is not None for check in found):
        sys.exit(FAILED)


@click.command("copy-blobs")
@_data
@database_option
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL",
    help="The S3 store, s3://BUCKET/PREFIX; or `folder`, to move contents back.",
)
@_quiet
@_json
def copy_blobs(data_dir: Path, target: str, quiet: bool, as_json: bool) -> None:
    """Move the contents of a data folder to an S3 store, or back, and verify each.

    A server may run meanwhile if it was started with `--blobs` and the same place. An interrupted move
    continues when it is run again. Exits with 1 if a content was left where it was.
    """
    with ExitStack() as stack:
        stack.enter_context(private_files())
        try:
            settings = ServerSettings(data_dir.absolute(), database_url=database_url())
            prepare_folder(settings.data_dir, has_database=settings.has_own_database)
            services = stack.enter_context(_opened_for(settings, target))
        except DataDirError as error:
            raise CommandError(str(error)) from error
        except (BucketError, UnusableDatabaseError) as error:
            raise click.UsageError(str(error)) from error
        shown = _watched(quiet, as_json=as_json)
        progress = stack.enter_context(Progress("moving", 0, shown=shown))
        report = MoveReport(0, 0, 0, ())
        if isinstance(services.blobs, MixedBlobStore):
            report = move_contents(services, progress, to_objects=target != FOLDER)
        told = {"action": "copy-blobs", "moved": report.moved, "left": report.left}
        with services.database.write() as connection:
            services.database.note(connection, AuditEvent.ADMIN, None, COMMAND_LINE, **told)
    if as_json:
        show_json(asdict(report))
    else:
        moved = f"moved {counted(report.moved, 'content')} ({human(report.bytes_moved)}B)"
        write_lines([*report.problems, f"{moved}, {report.left} left"])
    if report.left:
        sys.exit(FAILED)


@click.command("copy")
@click.option(
    "--from",
    "data_dir",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The data folder, on which no server may run meanwhile.",
)
@target_database_option
@_quiet
@_json
def copy_to_database(data_dir: Path, quiet: bool, as_json: bool) -> None:
    """Copy the database of a folder to PostgreSQL, and check everything.

    All ids, versions, tokens and datapacks stay as they are. Contents stay where they are: in the folder, or
    in the S3 store that `rinofs admin copy-blobs` has moved them to. An interrupted copy continues when
    it is run again. Exits with 1 if the check finds anything wrong.
    """
    shown = _watched(quiet, as_json=as_json)
    data_dir, url = data_dir.absolute(), database_url()
    assert url is not None
    try:
        with private_files(), exclusive(data_dir):
            with Progress("copying", 0, shown=shown, unit=" rows") as progress:
                report = copy_folder(data_dir, url, progress)
            checked = check_copy(data_dir, url, report)
    except ApiError as error:
        raise CommandError(error.message) from error
    except (DataDirBusyError, DataDirError, DatabaseCopyError) as error:
        raise CommandError(str(error)) from error
    except (BucketError, UnusableDatabaseError) as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        show_json({**asdict(report), "problems": checked.problems})
    else:
        told = f"copied {counted(report.copied, 'row')}, {report.rows:,} in all"
        write_lines([*checked.problems, f"{told}: {counted(len(checked.problems), 'problem')}"])
    if checked.problems:
        sys.exit(FAILED)


@contextmanager
def _opened_for(settings: ServerSettings, target: str) -> Iterator[Services]:
    """Open a folder whose new contents go to a place, also those that a server gets meanwhile."""
    with ExitStack() as alone:
        if settings.has_own_database:  # others may serve a database that workers share
            with suppress(DataDirBusyError):
                alone.enter_context(exclusive(settings.data_dir))
                settings = replace(settings, blobs_url=target)
        services = open_services(settings)
        # From here on, a server that starts finds where new contents go in the database.
    try:
        place = FOLDER if target == FOLDER else OBJECT_STORE
        known = services.database.get_property(BLOBS_URL)
        if settings.blobs_url is None and (
            services.database.get_property(NEW_CONTENTS) != place or target not in {FOLDER, known}
        ):
            raise CommandError(
                "is being served, and new contents go elsewhere",
                str(settings.data_dir),
                f"stop the server, or start it again with `--blobs {target}`",
            )
        yield services
    finally:
        services.close()
