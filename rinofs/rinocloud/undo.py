"""Changes that take several requests, and what is done when one of them fails midway."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rinofs.errors import DeadlineError, RinofsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.rinocloud.client import RinocloudClient
    from rinofs.rinocloud.records import Record


def move_in_steps(client: RinocloudClient, record: Record, folder: int | None, name: str, label: str) -> None:
    """Move and rename an object, under a name that nobody else has meanwhile: no folder can be in the way.

    Parameters
    ----------
    client : RinocloudClient
        Sends the requests.
    record : Record
        The object.
    folder : int or None
        Where it goes; None is the top level.
    name : str
        What it is called there.
    label : str
        What it is called in messages.

    Raises
    ------
    RinofsError
        If a step failed; the object was then put back, or a note says where it is.
    """
    between = _unused_name()

    def rename(to: str) -> None:
        client.update(record.id, {"name": to}, label)

    def move(to: int | None) -> None:
        client.move([record.id], to, None, label)

    try:
        rename(between)
        move(folder)
        rename(name)
    except BaseException as error:
        # What failed may have been carried out nevertheless, so all of it is undone.
        back = (partial(rename, between), partial(move, record.parent), partial(rename, record.name))
        _undo(error, record, *back)
        raise


@contextmanager
def kept_aside(client: RinocloudClient, record: Record, label: str) -> Iterator[None]:
    """Give an object a name that nobody else has while something else takes its place.

    Parameters
    ----------
    client : RinocloudClient
        Sends the requests.
    record : Record
        The object; it gets its name back if what is done meanwhile fails.
    label : str
        What it is called in messages.
    """
    try:
        client.update(record.id, {"name": _unused_name()}, label)
        yield
    except BaseException as error:
        _undo(error, record, lambda: client.update(record.id, {"name": record.name}, label))
        raise


def _undo(error: BaseException, record: Record, *steps: Callable[[], object]) -> None:
    """Take each step, as far as the service lets it; a note on the error says if that was not all."""
    undone = True
    for step in steps:
        try:
            step()
        except RinofsError as failure:
            undone = False
            if isinstance(failure, DeadlineError):
                break  # the next one would take as long
    if not undone:
        error.add_note(
            f"{record.name!r} may have another name or place by now; find it as rino://@{record.id}"
        )


def _unused_name() -> str:
    return f".rinofs-{secrets.token_hex(8)}"
