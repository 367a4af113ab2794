"""The commands `query` and `search`, which find files by their metadata."""

from __future__ import annotations

import csv
import json
import sys
import warnings
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from rinofs.cli.errors import CommandError, complain
from rinofs.cli.expressions import condition
from rinofs.cli.locations import URL, locate
from rinofs.cli.output import as_json as to_json
from rinofs.cli.output import show_json, write_lines
from rinofs.errors import visible
from rinofs.rinocloud.filesystem import RinoFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rinofs.cli.locations import Info, Location


@dataclass(frozen=True, slots=True)
class _Results:
    """Which objects to find, and how to show them: the values of `_result_options`."""

    sort: str | None
    descending: bool
    limit: int | None
    columns: str | None
    scan: bool
    as_csv: bool
    as_json: bool

    def order(self) -> dict[str, Any]:
        """Return the common arguments of `query` and `search`."""
        if self.descending and not self.sort:
            raise click.UsageError("--descending needs --sort")
        return {"sort": self.sort, "descending": self.descending, "limit": self.limit, "scan": self.scan}


def _result_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the commands that find objects, as the argument `results`."""
    options = (
        click.option("--sort", metavar="FIELD", help="Sort by a field; objects without it are left out."),
        click.option("--descending", is_flag=True, help="The largest first."),
        click.option("--limit", type=click.IntRange(min=0), help="Find this many at most."),
        click.option(
            "--columns", metavar="FIELD,...", help="Show these, in a table: url, path, size, metadata..."
        ),
        click.option(
            "--scan", is_flag=True, help="Look through everything below URL, for servers without queries."
        ),
        click.option("--csv", "as_csv", is_flag=True, help="Print a table as CSV."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    )

    @wraps(command)
    def run(**given: Any) -> None:
        results = _Results(**{each.name: given.pop(each.name) for each in fields(_Results)})
        command(results=results, **given)

    for option in reversed(options):
        run = option(run)
    return run


@click.command()
@click.argument("url", type=URL)
@click.argument("conditions", metavar="[CONDITION]...", nargs=-1)
@_result_options
def query(url: str, conditions: tuple[str, ...], results: _Results) -> None:
    """Find files, folders and objects below URL by their metadata and other fields.

    All conditions must hold: subject=A22, 'rate_hz>=100', 'device.gain!=2', 'name~.csv', 'tags=pilot',
    'created>2026-01-31', 'x in [1, 2]', 'x exists true'. Values that are JSON literals are parsed as
    such, others are text. x=null finds objects without x.
    """
    here = _rinocloud(url)
    filters, written = _filters(conditions)
    order = results.order()

    def find() -> Iterable[Info]:
        try:
            found: Iterable[Info] = here.fs.query(here.path, **order, **filters)
        except (TypeError, ValueError) as error:
            keyword, _, problem = str(error).partition(": ")
            message = f"{written[keyword]!r}: {problem}" if keyword in written else str(error)
            raise click.UsageError(message) from error
        return found

    _show(here, find, results)


@click.command()
@click.argument("url", type=URL)
@click.argument("text")
@_result_options
def search(url: str, text: str, results: _Results) -> None:
    """Find files, folders and objects below URL by words: 'cold spike*', '"exact phrase"', 'rate_hz:>=100'.

    Words match whole words of names, tags, and keys and values of the metadata, whatever their case; one of
    several is enough. '+must -mustnot', AND, OR, NOT, (...), field:word, field:[1 TO 5}, created:2026-01-31.
    """
    here = _rinocloud(url)
    order = results.order()
    _show(here, lambda: here.fs.search(text, here.path, **order), results)


def _show(here: Location, find: Callable[[], Iterable[Info]], results: _Results) -> None:
    if results.as_csv and results.as_json:
        raise click.UsageError("--csv and --json exclude each other")
    try:
        infos = find()
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    found = ({"url": here.at(info["name"]).url, **info} for info in infos)
    names = [name.strip() for name in results.columns.split(",")] if results.columns else []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        if results.as_json:
            show_json([_only(info, names) for info in found] if names else list(found))
        elif results.as_csv:
            _write_csv(found, names or ["url"])
        elif names:
            write_lines(
                _aligned([names, *([_text(value_at(info, name)) for name in names] for info in found)])
            )
        else:
            write_lines(info["url"] for info in found)
    for line in dict.fromkeys(str(warning.message) for warning in told):
        complain(line)


def _rinocloud(url: str) -> Location:
    here = locate(url)
    if not isinstance(here.fs, RinoFileSystem):
        raise CommandError("queries are not supported here", url, "use a rino:// URL")
    return here


def _filters(conditions: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return conditions as arguments of `query`, and the text of each."""
    filters: dict[str, Any] = {}
    written: dict[str, str] = {}
    for text in conditions:
        field, operator, value = condition(text)
        keyword = f"{field}__{operator}"
        if keyword in filters:
            raise click.UsageError(f"{text!r}: duplicate condition on {field}")
        filters[keyword] = value
        written[keyword] = text
    return filters, written


def value_at(info: Info, name: str) -> Any:
    """Return the value of a field in an info: its own, or one of the metadata, which may be dotted."""
    own = {**info, "path": info["name"]}
    if name in own:
        return own[name]
    metadata: dict[str, Any] = info["metadata"]
    inner = name.removeprefix("metadata.")
    if inner in metadata:
        return metadata[inner]
    value: Any = metadata
    for part in inner.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _only(info: Info, names: Sequence[str]) -> dict[str, Any]:
    return {name: value_at(info, name) for name in names}


def _text(value: Any) -> str:
    plain = to_json(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


_FORMULA = ("=", "+", "-", "@")  # https://owasp.org/www-community/attacks/CSV_Injection


def _write_csv(found: Iterable[Info], names: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(_csv_cell, names))
    for info in found:
        writer.writerow([_csv_cell(value_at(info, name)) for name in names])


def _csv_cell(value: Any) -> str:
    """Return a CSV cell that a spreadsheet does not take for a formula."""
    text = "\n".join("\t".join(map(visible, line.split("\t"))) for line in _text(value).split("\n"))
    return f"'{text}" if isinstance(value, str) and text.lstrip().startswith(_FORMULA) else text


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
