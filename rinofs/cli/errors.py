"""Report failures: one line on standard error, and an exit code."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sys
from typing import TYPE_CHECKING

import click

from rinofs.errors import NotFoundError, RinofsError, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "PIPE_CLOSED",
    "WRONG_USE",
    "CommandError",
    "Problems",
    "complain",
    "describe",
    "ended_from_outside",
    "reported",
]

FAILED = 1
WRONG_USE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
PIPE_CLOSED = 141  # 128 + SIGPIPE

_log = logging.getLogger("rinofs")

# Up to the last @ if the password has a slash, so that what follows the user is no port. The paths of
# rino:// and others may have an @.
_LOGIN = re.compile(
    r"\b(https?|ftps?|sftp|ssh|smb)://(?:[^\s/]*|[^\s/:\[]+:(?!\d*(?:[/\s]|$))\S*)@", re.IGNORECASE
)

# Raised for a group of commands without a command, which shows the help; other class before click 8.2.
_NO_ARGUMENTS: tuple[type[click.UsageError], ...] = (
    (click.exceptions.NoArgsIsHelpError,) if hasattr(click.exceptions, "NoArgsIsHelpError") else ()
)


class CommandError(Exception):
    """A command failed.

    Parameters
    ----------
    what : str
        What happened.
    path : str, optional
        The path or URL.
    hint : str, optional
        What to do next.
    """

    def __init__(self, what: str, path: str | None = None, hint: str | None = None) -> None:
        told = f"{path}: {what}" if path else what
        super().__init__(f"{told}; {hint}" if hint else told)


class Problems:
    """Collects the failures of a command that continues after them.

    Attributes
    ----------
    lines : list of str
        Reported failures, in order.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, problem: BaseException | str, path: str | None = None) -> None:
        """Report a failure to the user at once."""
        line = problem if isinstance(problem, str) else describe(problem, path)
        self.lines.append(line)
        complain(line)

    @contextlib.contextmanager
    def collected(self, path: str | None = None) -> Iterator[None]:
        """Report an exception in the context, and continue."""
        try:
            yield
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest goes on
            _log.debug("traceback", exc_info=True)
            self.report(error, path)

    def exit_if_any(self) -> None:
        """Exit with code 1 if a failure was reported."""
        if self.lines:
            sys.exit(FAILED)


def describe(error: BaseException, path: str | None = None) -> str:
    """Return an error as one line: the path or URL, what happened, and what to do next.

    Parameters
    ----------
    error : BaseException
        Exception.
    path : str, optional
        The path or URL as the user typed it; by default the error's own.
    """
    if isinstance(error, CommandError):
        return visible(str(error))
    own = getattr(error, "filename", None)
    # The URL in an error is more specific: it tells whether the source or the target failed.
    named = own if path is None or "://" in str(own) else path
    what = _what(error, path)
    if not named or str(named) in what:
        return visible(what)
    return visible(f"{named}: {what}")


def _what(error: BaseException, path: str | None) -> str:
    if isinstance(error, NotFoundError):
        what = _in_words_of_commands(error.message[:1].lower() + error.message[1:])
        return f"{what} ({error.detail})" if error.detail else what
    if isinstance(error, RinofsError):
        return _in_words_of_commands(str(getattr(error, "message", error)))
    if isinstance(error, OSError):
        if error.strerror:
            return error.strerror[0].lower() + error.strerror[1:]
        for kind, text in _PLAIN_OSERRORS.items():
            if isinstance(error, kind):
                # fsspec's filesystems raise these with only a path, or without one.
                return text if path else f"{text}: {error}".removesuffix(": ")
    if isinstance(error, ImportError):
        return f"a package is missing: {error}"
    if isinstance(error, (ValueError, NotImplementedError, OSError)) and str(error):
        return _in_words_of_commands(str(error))
    return f"unexpected {type(error).__name__}: {error}".removesuffix(": ")


def _in_words_of_commands(text: str) -> str:
    for python, command in _WORDS_OF_COMMANDS.items():
        text = text.replace(python, command)
    return text


# Errors of filesystems name Python arguments; the command line has options instead.
_WORDS_OF_COMMANDS = {
    "pass token=..., set FSSPEC": "set FSSPEC",
    "`rinofs login`, or pass a token": "`rinofs login`",
    "with replace=True": "with `rinofs meta set --replace`",
    "scan=True": "--scan",
    "overwrite=True": "--force",
    "; see versions()": "; `rinofs versions` lists them",
}

_PLAIN_OSERRORS: dict[type[OSError], str] = {
    FileNotFoundError: "no such file or folder",
    FileExistsError: "already exists",
    IsADirectoryError: "is a folder",
    NotADirectoryError: "is not a folder",
    PermissionError: "permission denied",
}


def complain(line: str) -> None:
    """Write a line to standard error."""
    with contextlib.suppress(OSError):
        click.echo("rinofs: " + _LOGIN.sub(r"\1://***@", visible(line)), err=True)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Report any exception of a command as one line on standard error, and exit with its code."""
    try:
        yield
    except click.UsageError as error:
        if isinstance(error, _NO_ARGUMENTS):
            click.echo(error.format_message(), err=True)
            sys.exit(WRONG_USE)
        command = error.ctx.command_path if error.ctx else "rinofs"
        message = _with_suggestion(error).rstrip(".")
        complain(f"{message[:1].lower()}{message[1:]} (see `{command} --help`)")
        sys.exit(WRONG_USE)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(FAILED)
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__ or error.__context__, EOFError):
            complain("the input ended before everything was answered")
            sys.exit(FAILED)
        complain("interrupted")
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - a command ends in one line, whatever went wrong
        _log.debug("traceback", exc_info=True)
        complain(describe(error))
        sys.exit(FAILED)


def _with_suggestion(error: click.UsageError) -> str:
    """Return the message of a usage error, with suggestions for an unknown command."""
    unknown = re.fullmatch(r"No such command '(.+)'\.", error.message)
    if unknown is None or error.ctx is None or not isinstance(error.ctx.command, click.Group):
        return error.format_message()
    import difflib

    known = error.ctx.command.list_commands(error.ctx)
    # A typing error in the two letters of `ls` is below the default cutoff.
    near = difflib.get_close_matches(unknown[1], known, n=1, cutoff=0.5)
    return f"{error.message.rstrip('.')}; did you mean {near[0]!r}?" if near else error.message


@contextlib.contextmanager
def ended_from_outside() -> Iterator[None]:
    """End the command on Ctrl-C, and when the reader of a pipe exits, as in ``rinofs cat x | head``."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            click.echo(nl=sys.stderr.isatty(), err=True)  # after ^C on the terminal
        complain("interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        # Otherwise Python writes its buffers at exit, and reports an error.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
