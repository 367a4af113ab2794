"""Secrets and tokens on the command line: how they are given, and how tokens are listed."""

from __future__ import annotations

import re
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rinofs.cli.errors import CommandError, complain
from rinofs.cli.output import show_json, write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "chosen_secret",
    "lifetime_option",
    "password_options",
    "read_secret",
    "read_secrets",
    "show_tokens",
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_LIFETIME = re.compile(r"(\d{1,9})([smhdw])")
_LONGEST_LINE = 64 * 1024


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Return a time span in seconds: a number and a unit, as in ``30d``."""
    if value is None:
        return None
    match = _LIFETIME.fullmatch(value)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{value!r} is not a time span; examples: 12h, 30d, 52w")
    return int(match[1]) * _UNITS[match[2]]


lifetime_option = click.option(
    "--expires-in",
    "lifetime",
    callback=_seconds,
    metavar="SPAN",
    help="When the token expires, as in 12h, 30d or 52w. By default it does not.",
)


def password_options(command: F) -> F:
    """Add the options that say where a password is read from."""
    ask = click.option("--ask-password", is_flag=True, help="Ask for the password on the terminal.")
    file = click.option(
        "--password-file", metavar="FILE", help="Read the password from a file; - is standard input."
    )
    return file(ask(command))


def chosen_secret(
    what: str, value: str | None = None, *, file: str | None = None, ask: bool = False
) -> str | None:
    """Return a secret from the place that was named for it; None where there is none.

    Parameters
    ----------
    what : str
        ``password`` or ``token``: which secret it is.
    value : str, optional
        The secret itself, of an option or the environment.
    file : str, optional
        A file to read it from.
    ask : bool
        Whether to ask for it.

    Raises
    ------
    UsageError
        If there are several places.
    CommandError
        If the file cannot be read.
    """
    if sum((file is not None, ask)) > 1:
        raise click.UsageError(f"the {what} can come from one place only")
    if file is not None:
        return read_secret(what, file)
    if ask:
        secret: str = click.prompt(what.capitalize(), hide_input=True, confirmation_prompt=True, err=True)
        return secret
    return value


def read_secret(what: str, file: str) -> str:
    """Return the first line of a file, or of standard input (``-``)."""
    return read_secrets(what, file, 1)[0]


def read_secrets(what: str, file: str, count: int) -> list[str]:
    """Return the first lines of a file, or of standard input (``-``).

    Raises
    ------
    UsageError
        If one of them is empty.
    CommandError
        If the file cannot be read.
    """
    if file == "-":
        lines, where = [sys.stdin.readline(_LONGEST_LINE) for _ in range(count)], "standard input"
    else:
        lines, where = _lines_of(what, file, count), file
    secrets = [line.rstrip("\r\n") for line in lines]
    if not all(secrets):
        raise click.UsageError(f"{where} is empty; expected the {what}")
    return secrets


def _lines_of(what: str, file: str, count: int) -> list[str]:
    try:
        with Path(file).open(encoding="utf-8") as opened:
            lines = [opened.readline(_LONGEST_LINE) for _ in range(count)]
        mode = Path(file).stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CommandError(f"cannot read the {what}: {reason}", file) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        complain(f"{file}: other users of this machine can read this {what}; `chmod 600` prevents that")
    return lines


def show_tokens(tokens: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Write a list of tokens, as `users/tokens/` answers them."""
    if as_json:
        show_json(list(tokens))
        return
    for token in tokens:
        name = token["name"] or f"({token['kind']})"
        scope = "read-only" if token["scope"] == "read" else "all"
        ends = "no end" if token["expires"] is None else f"ends {_date(token['expires'])}"
        used = "never used" if token["last_used"] is None else f"last used {_date(token['last_used'])}"
        current = ["this one"] if token.get("current") else []
        write_lines(["\t".join([str(token["id"]), name, scope, ends, used, *current])])


def _date(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
