"""The command `plot`: streams and datapacks as pictures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rinofs.cli.errors import CommandError, complain
from rinofs.cli.locations import URL, locate
from rinofs.cli.output import write_lines
from rinofs.plotting import plot as draw
from rinofs.plotting import save

if TYPE_CHECKING:
    from rinofs.cli.locations import Location

_DATA = {".json", ".csv", ".tsv", ".txt", ".wav", ".flac", ".ogg", ".mp3", ".npy"}
_WIDTH = click.FloatRange(min=3, max=100)


@click.command()
@click.argument("url", type=URL)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .png, .svg or .pdf file, replaced if it is there. By default a new NAME.png in this folder.",
)
@click.option("--start", type=float, metavar="SECONDS", help="Begin here.")
@click.option("--stop", type=float, metavar="SECONDS", help="End here.")
@click.option(
    "--width", type=_WIDTH, default=9.0, show_default=True, metavar="INCHES", help="Of the picture."
)
@click.option(
    "--dpi",
    type=click.FloatRange(min=10, max=2400),
    default=110.0,
    show_default=True,
    metavar="DPI",
    help="Pixels an inch of a .png.",
)
@click.option("--datatype", help="Name or UUID of a datatype, for a single file that does not say its own.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="HZ", help="Its sampling rate.")
def plot(
    url: str,
    output: Path | None,
    start: float | None,
    stop: float | None,
    width: float,
    dpi: float,
    datatype: str | None,
    rate: float | None,
) -> None:
    """Plot URL: a stream, a file of annotations, or a whole datapack on one time axis.

    Channels of one stream share a panel. Long signals are drawn by their minimum and maximum in each moment,
    so that no peak is lost. Only the part between --start and --stop is read, if the format allows that.
    """
    here = locate(url)
    target = output or _default_target(here)
    if target.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise CommandError("unknown picture format", str(target), "use .png, .svg or .pdf")
    if not target.absolute().parent.is_dir():
        raise CommandError("no such folder", str(target.absolute().parent), "create it first")
    given = {"datatype": datatype, "rate": rate}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        figure = draw(url, start=start, stop=stop, width=width, **options)
    for one in told:
        complain(str(one.message))
    save(figure, target, dpi=dpi)
    write_lines([str(target)])


def _default_target(here: Location) -> Path:
    stem = here.name.partition("::")[0] or "plot"
    if stem == "datapack.json":
        stem = here.path.rstrip("/").split("/")[-2] if "/" in here.path else "datapack"
    name = Path(stem)
    target = Path(f"{name.stem if name.suffix.lower() in _DATA else stem}.png")
    if target.exists():
        raise CommandError("already exists", str(target), f"-o {target} replaces it")
    return target
