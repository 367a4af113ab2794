"""``rinofs admin``: looking after a folder that is served, also while it is."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rinofs.cli.errors import FAILED, CommandError
from rinofs.cli.output import human, show_json, write_lines
from rinofs.server import maintenance
from rinofs.server.auth.accounts import new_token
from rinofs.server.errors import ApiError
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.services import Services

data_option = click.option(
    "--data",
    "data_dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder that `rinofs serve` keeps everything in.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def admin() -> None:
    """Look after a served folder. All of it may be done while a server runs."""


@admin.group()
def user() -> None:
    """Users."""


@user.command("add")
@click.argument("name")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read a password from standard input. By default the user has none.",
)
@data_option
def add_user(name: str, password_stdin: bool, data_dir: Path) -> None:
    """Add a user, and print the name and a token as JSON. The token is not shown again."""
    password = None
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise click.UsageError("the password on standard input is empty")
    token = new_token()
    with opened(data_dir) as services:
        made = services.accounts.add_user(name, password=password)
        services.accounts.set_token(made, token)
    write_lines([json.dumps({"username": name, "token": token})])


@admin.group()
def client() -> None:
    """Programs that may ask users to let them work with their datapacks."""


@client.command("add")
@click.argument("name")
@click.option(
    "--redirect-uri",
    "redirect_uris",
    required=True,
    multiple=True,
    metavar="URI",
    help="Where users are sent back to, to the letter; may be repeated.",
)
@click.option("--public", is_flag=True, help="Give it no secret, since it cannot keep one.")
@data_option
def add_client(name: str, redirect_uris: tuple[str, ...], public: bool, data_dir: Path) -> None:
    """Register a program, and print its id and secret as JSON. The secret is not shown again."""
    with opened(data_dir) as services:
        made, secret = services.clients.add(name, redirect_uris, public=public)
    write_lines([json.dumps({"client_id": made.client_id, "client_secret": secret})])


@client.command("list")
@data_option
@json_option
def list_clients(data_dir: Path, as_json: bool) -> None:
    """List the programs."""
    with opened(data_dir) as services:
        found = services.clients.all()
    if as_json:
        show_json(
            [
                {
                    "client_id": one.client_id,
                    "name": one.name,
                    "redirect_uris": one.redirect_uris,
                    "public": one.public,
                }
                for one in found
            ]
        )
        return
    for one in found:
        kind = "public" if one.public else "with a secret"
        write_lines([f"{one.client_id}  {one.name} ({kind})", *(f"    {uri}" for uri in one.redirect_uris)])


@client.command("remove")
@click.argument("client_id")
@data_option
def remove_client(client_id: str, data_dir: Path) -> None:
    """Remove a program; the tokens that users let it have are void at once."""
    with opened(data_dir) as services:
        removed = services.clients.remove(client_id)
    if not removed:
        raise CommandError("no such program", client_id, "`rinofs admin client list` shows them all")


@admin.command()
@data_option
@json_option
def gc(data_dir: Path, as_json: bool) -> None:
    """Remove contents that nobody refers to any more."""
    with opened(data_dir) as services:
        report = maintenance.gc(services)
    if as_json:
        show_json(asdict(report))
        return
    contents = f"{report.blobs_removed} contents ({human(report.bytes_removed)}) that nobody refers to"
    write_lines([f"removed {contents}, and {report.temporary_removed} temporary files"])


@admin.command()
@data_option
@json_option
def fsck(data_dir: Path, as_json: bool) -> None:
    """Read and check everything. Exits with 1 if anything is wrong, and repairs nothing."""
    with opened(data_dir) as services:
        report = maintenance.fsck(services)
    if as_json:
        show_json(asdict(report))
    else:
        contents = f"{report.blobs_checked} contents ({human(report.bytes_checked)})"
        checked = f"{report.objects_checked} objects, {report.datapacks_checked} datapacks and {contents}"
        found = f"checked {checked}: {len(report.problems)} problems"
        write_lines([*report.problems, found])
    if report.problems:
        sys.exit(FAILED)


@contextmanager
def opened(data_dir: Path) -> Iterator[Services]:
    """Open a served folder beside the server; what it refuses becomes the command's error."""
    services = open_services(ServerSettings(data_dir.absolute()))
    try:
        yield services
    except ApiError as error:
        raise CommandError(error.message) from error
    finally:
        services.close()
