"""The database of a server that workers share, on the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from rinofs.cli.errors import CommandError
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError, has_secret, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "DATABASE_VARIABLE",
    "database_option",
    "database_url",
    "refuse_shared_database",
    "target_database_option",
]

DATABASE_VARIABLE = "RINOFS_DATABASE"

_KEY = f"{__name__}.url"


def _noted(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if not value:
        return None
    try:
        parsed = parse_url(value)
    except UnusableDatabaseError as error:
        raise click.UsageError(str(error)) from error
    given = parameter.name is not None and context.get_parameter_source(parameter.name)
    if given == ParameterSource.COMMANDLINE and has_secret(parsed):
        raise click.UsageError(
            f"{parameter.opts[0]}: other users of this machine would see the password in the list of "
            f"processes; give the URL by {DATABASE_VARIABLE}, or the password by PGPASSFILE"
        )
    context.meta[_KEY] = value
    return value


def database_option(command: F) -> F:
    """Add the option that names a PostgreSQL database; `database_url` returns what it says."""
    option = click.option(
        "--database",
        metavar="URL",
        envvar=DATABASE_VARIABLE,
        show_envvar=True,
        expose_value=False,
        is_eager=True,
        callback=_noted,
        help="The PostgreSQL database that workers share, postgresql://USER@HOST/NAME. By default the folder "
        "has a database of its own. A URL with a password has to come from the environment.",
    )
    return option(command)


def target_database_option(command: F) -> F:
    """Add the option that names a PostgreSQL database to fill; `database_url` returns what it says."""
    option = click.option(
        "--to-database",
        metavar="URL",
        required=True,
        envvar=DATABASE_VARIABLE,
        show_envvar=True,
        expose_value=False,
        callback=_noted,
        help="The PostgreSQL database, postgresql://USER@HOST/NAME, with tables and nothing in them: run "
        "`rinofs admin init` first. A URL with a password has to come from the environment.",
    )
    return option(command)


def database_url() -> str | None:
    """Return the URL of the database that the running command was given; None for that of a folder."""
    url: str | None = click.get_current_context().meta.get(_KEY)
    return url


def refuse_shared_database(instead: str) -> None:
    """Refuse a command for folders with a database of their own where the environment names another one.

    Raises
    ------
    CommandError
        Which says what to do instead.
    """
    if os.environ.get(DATABASE_VARIABLE):
        what = f"{DATABASE_VARIABLE} names a PostgreSQL database, and this is for folders that have their own"
        raise CommandError(what, hint=instead)
