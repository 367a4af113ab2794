"""The command `sync`, which makes a folder equal to another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.locations import URL, locate
from rinofs.cli.output import counted, human, show_json, write_lines
from rinofs.cli.progress import Progress
from rinofs.fs.transfer.resume import kept_sizes
from rinofs.fs.tree_sync import SyncSide, plan_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.cli.locations import Location
    from rinofs.fs.tree_sync import SyncPlan


@click.command()
@click.argument("source", type=URL)
@click.argument("dest", type=URL)
@click.option("--delete", is_flag=True, help="Delete what only DEST has, once everything is copied.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option(
    "--exclude",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Leave alone on both sides what matches: *.tmp, or raw/*.bin from the top; repeatable.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress bar and no summary.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: what was done, or would be.")
def sync(
    source: str,
    dest: str,
    delete: bool,
    dry_run: bool,
    patterns: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Make the folder DEST equal to the folder SOURCE, copying only the differences.

    Both may be local or on a server. Files are compared by size and digest, without downloading them if the
    server has the digest. Metadata is not compared. Repeat the command to finish after an interruption. If a
    file cannot be copied, the others are copied and nothing is deleted (exit code 1).
    """
    here, there = locate(source), locate(dest)
    problems = Problems()
    plan = _plan(here, there, delete=delete, patterns=patterns)
    if dry_run:
        for path, error in plan.errors.items():
            problems.report(error, _shown(here, there, path))
    else:
        _carry_out(plan, here, there, problems, shown=not quiet and sys.stderr.isatty())
    if as_json:
        show_json({**_document(plan), "dry_run": dry_run, "problems": problems.lines})
    elif dry_run:
        write_lines(_planned(plan, there))
    elif not quiet:
        write_lines([_summary(plan)])
    problems.exit_if_any()


def _plan(here: Location, there: Location, *, delete: bool, patterns: tuple[str, ...]) -> SyncPlan:
    sides = [SyncSide(one.fs, one.path) for one in (here, there)]
    for one, side in zip((here, there), sides, strict=True):
        try:
            found = side.is_there()
        except NotADirectoryError:
            raise CommandError("is a file", one.url, "sync takes folders; `rinofs cp` copies files") from None
        if one is here and not found:
            raise CommandError("no such folder", one.url)
    try:
        return plan_sync(*sides, delete=delete, exclude=patterns)
    except ValueError as error:
        raise CommandError("one of the two folders is in the other", f"{here.url}, {there.url}") from error


def _carry_out(plan: SyncPlan, here: Location, there: Location, problems: Problems, *, shown: bool) -> None:
    with Progress("syncing", plan.size, shown=shown) as progress:

        def fail(path: str, error: Exception) -> None:
            with progress.aside():
                problems.report(error, _shown(here, there, path))

        if there.is_local:
            sizes = {plan.target.at(one): plan.source_entries[one].size or 0 for one in plan.copied}
            progress.begin_at(kept_sizes(sizes))
        plan.carry_out(on_error=fail, callback=progress)
    if plan.errors and plan.comparison.extra and not plan.deleted:
        problems.report("nothing was deleted, because not everything could be copied")


def _shown(here: Location, there: Location, path: str) -> str:
    side = here if path.startswith(here.path) else there
    return side.at(path).url


def _planned(plan: SyncPlan, there: Location) -> Iterator[str]:
    new = set(plan.comparison.new)
    for relative in plan.copied:
        yield f"{'new' if relative in new else 'changed'}\t{there.below(relative).url}"
    for relative in plan.comparison.extra:
        yield f"delete\t{there.below(relative).url}"
    deleted = f", {len(plan.comparison.extra):,} to delete" if plan.comparison.extra else ""
    to_copy = f"{counted(len(plan.copied), 'file')} to copy ({human(plan.size)})"
    yield f"{to_copy}{deleted}, {plan.unchanged:,} unchanged"


def _summary(plan: SyncPlan) -> str:
    deleted = f", {plan.deleted:,} deleted" if plan.deleted else ""
    failed = f", {len(plan.errors):,} failed" if plan.errors else ""
    done = len(plan.copied) - sum(plan.source.at(one) in plan.errors for one in plan.copied)
    return f"{counted(done, 'file')} copied{deleted}, {plan.unchanged:,} unchanged{failed}"


def _document(plan: SyncPlan) -> dict[str, object]:
    found = plan.comparison
    return {
        "new": found.new,
        "changed": found.changed,
        "delete": found.extra,
        "unchanged": plan.unchanged,
        "bytes": plan.size,
    }
