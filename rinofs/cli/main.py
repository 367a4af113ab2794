"""The command `rinofs`: finds each command's module only when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

try:
    import click
except ModuleNotFoundError:
    raise SystemExit("rinofs: the command line needs click: pip install 'rinofs[cli]'") from None

from rinofs import __version__
from rinofs.cli import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is not loaded yet.

    Attributes
    ----------
    target : str
        Where it is: ``module:name``, in `rinofs.cli.commands`.
    help : str
        One line on what it does.
    extra : str
        The extra of the package that brings what the command imports.
    """

    target: str
    help: str
    extra: str = "cli"


COMMANDS: dict[str, LazyCommand] = {
    "ls": LazyCommand("listing:ls", "List folders."),
    "tree": LazyCommand("listing:tree", "Show a folder and its contents as a tree."),
    "find": LazyCommand("listing:find", "List everything below a folder."),
    "du": LazyCommand("listing:du", "Add up the sizes of files."),
    "query": LazyCommand("query:query", "Find files and folders by name, size, time or metadata."),
    "search": LazyCommand("query:search", "Find files and folders by words, as in a search box."),
    "meta": LazyCommand("meta:meta", "Show and change metadata."),
    "info": LazyCommand("content:info", "Show details of files and folders."),
    "cat": LazyCommand("content:cat", "Write the content of files to standard output."),
    "get": LazyCommand("transfer:get", "Download files and folders."),
    "put": LazyCommand("transfer:put", "Upload files and folders."),
    "cp": LazyCommand("transfer:cp", "Copy files and folders."),
    "sync": LazyCommand("sync:sync", "Make a folder equal to another, copying what is different."),
    "mkdir": LazyCommand("changes:mkdir", "Create folders."),
    "mv": LazyCommand("changes:mv", "Move or rename files and folders."),
    "rm": LazyCommand("changes:rm", "Delete files and folders."),
    "versions": LazyCommand("content:versions", "List the versions of a file."),
    "restore": LazyCommand("content:restore", "Make an earlier version of a file current."),
    "datapack": LazyCommand(
        "datapack:datapack", "Create, check, import, push and pull datapacks.", "datapack"
    ),
    "plot": LazyCommand("plot:plot", "Plot a stream, or a datapack on one time axis.", "plot"),
    "login": LazyCommand("login:login", "Log in to a service and store the token."),
    "logout": LazyCommand("account:logout", "Delete a stored token."),
    "token": LazyCommand("account:token", "Add, list and revoke your own API tokens."),
    "passwd": LazyCommand("account:passwd", "Change your password at a server."),
    "whoami": LazyCommand("account:whoami", "Show which user each service takes you for."),
    "demo": LazyCommand("demo:demo", "Run a tour on a generated experiment.", "all"),
    "serve": LazyCommand("serve:serve", "Run a server that keeps its data in a folder.", "server"),
    "admin": LazyCommand("admin:admin", "Administer the data of a server.", "server"),
}


_PROTOCOLS = ("rino", "rinocloud", "repovizz", "repovizz2")
_REPLACED = {"token", "endpoint_url"}  # by what `--profile` brings


class LazyGroup(click.Group):
    """A group of commands that are imported when they are used.

    Parameters
    ----------
    entries : mapping of str to LazyCommand
        The commands by name, in the order in which ``--help`` shows them.
    """

    def __init__(self, *args: Any, entries: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return [*self._entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        below, _, name = entry.target.partition(":")
        module = f"rinofs.cli.commands.{below}"
        try:
            command = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name == module or (error.name or "").startswith("rinofs"):
                raise
            if error.name == "fcntl":
                raise errors.CommandError(
                    f"`rinofs {cmd_name}` does not run on this system",
                    hint="the server needs the file locks of Linux or macOS (fcntl)",
                ) from error
            raise errors.CommandError(
                f"`rinofs {cmd_name}` needs {error.name}", hint=f"pip install 'rinofs[{entry.extra}]'"
            ) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self._entries.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with errors.ended_from_outside():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command line and exit: 0 done, 1 failed, 2 wrong use, 130 interrupted.

        Every failure is one line on standard error.
        """
        kwargs["standalone_mode"] = False
        with errors.reported():
            result = super().main(*args, **kwargs)
        sys.exit(result if isinstance(result, int) else 0)


@click.group(cls=LazyGroup, entries=COMMANDS)
@click.version_option(__version__, prog_name="rinofs")
@click.option("--profile", metavar="NAME", help="Use the token that `rinofs login --profile NAME` stored.")
@click.option("--debug", is_flag=True, help="Log each request, and show where an error was raised.")
@click.pass_context
def main(ctx: click.Context, profile: str | None, debug: bool) -> None:
    """Work with research data on Rinocloud and repovizz2.

    A URL is any URL that fsspec supports, or a local path:
    rino://exp1/run.csv, repovizz://MYO/IMU, file:///tmp/run.csv, run.csv.
    """
    if debug:
        logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
        logging.getLogger("rinofs").setLevel(logging.DEBUG)
    if profile is not None:
        ctx.with_resource(_chosen(profile))


@contextlib.contextmanager
def _chosen(profile: str) -> Iterator[None]:
    """Have all filesystems use a stored login, in place of any token and endpoint that is configured."""
    from fsspec.config import conf

    before = {protocol: conf.get(protocol) for protocol in _PROTOCOLS}
    for protocol, options in before.items():
        kept = {key: value for key, value in (options or {}).items() if key not in _REPLACED}
        conf[protocol] = {**kept, "profile": profile}
    try:
        yield
    finally:
        for protocol, options in before.items():
            conf.pop(protocol)
            if options is not None:
                conf[protocol] = options
