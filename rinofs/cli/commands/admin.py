"""``rinofs admin``: administration of a server's data, also while the server runs."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rinofs.cli.commands.backup import backup, check_storage, copy_blobs, copy_to_database, restore
from rinofs.cli.credentials import chosen_secret, lifetime_option, password_options, show_tokens
from rinofs.cli.database_options import DATABASE_VARIABLE, database_option, database_url
from rinofs.cli.errors import FAILED, CommandError
from rinofs.cli.output import counted, human, show_json, write_lines
from rinofs.errors import visible
from rinofs.server import maintenance
from rinofs.server.auth.account_tokens import READ, new_token
from rinofs.server.auth.accounts import Accounts
from rinofs.server.auth.initial import prepare_user
from rinofs.server.blobs.store import BucketError
from rinofs.server.catalog.migrations import initialize, schema_problem, turn
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.queries.indexes import FieldIndexes, indexed, shown
from rinofs.server.catalog.users.audit import COMMAND_LINE, AuditEvent, entries
from rinofs.server.errors import ApiError, Conflict
from rinofs.server.folder import DATABASE, DataDirError, prepare_folder, private_files
from rinofs.server.services import open_database, open_services
from rinofs.server.settings import GC_DELAY, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.server.catalog.database import Database
    from rinofs.server.catalog.records import User
    from rinofs.server.services import Services

    F = TypeVar("F", bound=Callable[..., Any])

_data = click.option(
    "--data",
    "data_dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The data folder of `rinofs serve`.",
)


def data_option(command: F) -> F:
    """Add the options that name the data of a server."""
    return _data(database_option(command))


gc_delay_option = click.option(
    "--gc-delay",
    default=GC_DELAY,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="How long to keep an object in an S3 store after nothing refers to it any more. "
    "A backup of the database that is not older finds all its contents.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def admin() -> None:
    """Administer the data of a server, also while it runs."""


admin.add_command(backup)
admin.add_command(restore)
admin.add_command(check_storage)
admin.add_command(copy_blobs)
admin.add_command(copy_to_database)


@admin.command()
@click.option("--username", default="rino", show_default=True, help="The first user, created if missing.")
@click.option(
    "--token-file",
    metavar="FILE",
    help="Read the API token of the first user from a file; - is standard input. By default the user keeps "
    "its token, or gets a random one.",
)
@password_options
@click.option(
    "--finish", is_flag=True, help="Apply the changes that only workers of this release can work with."
)
@database_option
def init(
    username: str, token_file: str | None, password_file: str | None, ask_password: bool, finish: bool
) -> None:
    """Create or upgrade the tables of a PostgreSQL database.

    It is safe while workers run, and from several places at once. Workers of the previous release go on; run
    it again with --finish once all workers are of this release. Prints JSON with the new token and password
    of the first user, which are not shown again.
    """
    if database_url() is None:
        raise click.UsageError(
            f"name a PostgreSQL database: {DATABASE_VARIABLE}, or --database; a folder needs no preparation"
        )
    token = chosen_secret("token", file=token_file)
    password = chosen_secret("password", file=password_file, ask=ask_password)
    with _opened_database() as database, turn(database):
        schema = initialize(database, finish=finish)
        with database.read() as connection:
            problem = schema_problem(connection)
        if problem is not None:
            raise CommandError(problem, database.name)
        accounts = Accounts(database)
        known = prepare_user(accounts, username, token=token, password=password)
        accounts.close()
    shown: dict[str, object] = {"schema": schema, "username": username}
    made = {"token": known.token if token is None else None}
    made["password"] = known.password if password is None else None
    write_lines([json.dumps(shown | {name: secret for name, secret in made.items() if secret is not None})])


@admin.group()
def user() -> None:
    """Add, list and remove users, and set passwords."""


@user.command("add")
@click.argument("name")
@password_options
@click.option("--password-stdin", is_flag=True, help="The same as --password-file -.")
@data_option
def add_user(
    name: str, password_file: str | None, ask_password: bool, password_stdin: bool, data_dir: Path
) -> None:
    """Add a user, and print the name and a token as JSON. The token is not shown again.

    By default the user has no password.
    """
    password = chosen_secret("password", file="-" if password_stdin else password_file, ask=ask_password)
    token = new_token()
    with opened(data_dir, may_be_new=True) as services:
        made = services.accounts.add_user(name, password=password)
        services.accounts.tokens.set_primary(made, token)
    write_lines([json.dumps({"username": name, "token": token})])


@user.command("list")
@data_option
@json_option
def list_users(data_dir: Path, as_json: bool) -> None:
    """List the users: whether they have a password, and how many tokens, objects and datapacks."""
    with opened(data_dir) as services:
        found = services.accounts.summaries()
    if as_json:
        show_json(
            [
                {
                    "username": one.user.username,
                    "email": one.user.email,
                    "created_on": one.created_on,
                    "password": one.has_password,
                    "tokens": one.tokens,
                    "objects": one.objects,
                    "datapacks": one.datapacks,
                }
                for one in found
            ]
        )
        return
    for one in found:
        password = "a password" if one.has_password else "no password"
        stored = f"{counted(one.objects, 'object')}, {counted(one.datapacks, 'datapack')}"
        write_lines([f"{one.user.username}: {password}, {counted(one.tokens, 'token')}, {stored}"])


@user.command("remove")
@click.argument("name")
@click.option("--with-data", is_flag=True, help="Remove all objects and datapacks of the user as well.")
@data_option
def remove_user(name: str, with_data: bool, data_dir: Path) -> None:
    """Remove a user; one who has data only with --with-data. This cannot be undone."""
    with opened(data_dir) as services:
        found = _user(services, name)
        try:
            services.accounts.remove_user(found, with_data=with_data)
        except Conflict as error:
            raise CommandError(error.message, hint="--with-data removes them as well") from error
    click.echo(f"Removed the user {visible(name)}.")


@user.command("password")
@click.argument("name")
@password_options
@data_option
def set_password(name: str, password_file: str | None, ask_password: bool, data_dir: Path) -> None:
    """Set the password of a user. Without an option, asks for it.

    This ends the user's browser sessions, the access of programs, and tokens from sign-ins with the former
    password.
    """
    ask = ask_password or (password_file is None and sys.stdin.isatty())
    password = chosen_secret("password", file=password_file, ask=ask)
    if password is None:
        raise click.UsageError("name the place of the password: --password-file FILE, - for standard input")
    with opened(data_dir) as services:
        services.accounts.set_password(_user(services, name), password)
    click.echo(f"Set the password of {visible(name)}.")


@admin.group()
def token() -> None:
    """Add, list and revoke API tokens of users."""


@token.command("add")
@click.argument("username")
@click.argument("name")
@click.option("--read-only", is_flag=True, help="Allow the token to read only.")
@lifetime_option
@data_option
def add_token(username: str, name: str, read_only: bool, lifetime: int | None, data_dir: Path) -> None:
    """Create a token called NAME for a user, and print it as JSON. It is not shown again."""
    with opened(data_dir) as services:
        made = services.accounts.tokens.create(
            _user(services, username), name=name, scope=READ if read_only else None, lifetime=lifetime
        )
    write_lines([json.dumps({"username": username, "name": name, "token": made})])


@token.command("list")
@click.argument("username")
@data_option
@json_option
def list_tokens(username: str, data_dir: Path, as_json: bool) -> None:
    """List the tokens of a user: name, expiry, last use. The tokens themselves are not stored."""
    with opened(data_dir) as services:
        found = services.accounts.tokens.of_user(_user(services, username))
    show_tokens([one.to_json() for one in found], as_json=as_json)


@token.command("revoke")
@click.argument("username")
@click.argument("name_or_id")
@data_option
def revoke_token(username: str, name_or_id: str, data_dir: Path) -> None:
    """Revoke a token of a user. A running server notices within seconds."""
    with opened(data_dir) as services:
        ended = services.accounts.tokens.revoke_by_name(_user(services, username), name_or_id)
    click.echo(f"Revoked the token {visible(ended.name or str(ended.id))} of {visible(username)}.")


@admin.group()
def client() -> None:
    """Register programs (OAuth2 clients), which may ask users for access to their datapacks."""


@client.command("add")
@click.argument("name")
@click.option(
    "--redirect-uri",
    "redirect_uris",
    required=True,
    multiple=True,
    metavar="URI",
    help="Where users are sent back to; compared exactly. May be repeated.",
)
@click.option("--public", is_flag=True, help="Give the program no secret, since it cannot keep one.")
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
    """Remove a program; its tokens become invalid at once."""
    with opened(data_dir) as services:
        removed = services.clients.remove(client_id)
    if not removed:
        raise CommandError("no such program", client_id, "`rinofs admin client list` shows them all")


@admin.group()
def index() -> None:
    """Indexes on fields of the metadata, which make queries fast."""


@index.command("add")
@click.argument("field")
@data_option
def add_index(field: str, data_dir: Path) -> None:
    """Create an index on FIELD, for the objects of all users.

    Queries use it for equality, ranges, `in` and sorting. A running server answers reads meanwhile, on
    PostgreSQL also writes, and uses the index within seconds. Ctrl-C removes what was made so far.
    """
    with opened(data_dir) as services:
        made = FieldIndexes(services.database).add(field)
        _note(services, "index add", field=made)
    click.echo(f"Made an index on {visible(shown(made))}.")


@index.command("list")
@data_option
@json_option
def list_indexes(data_dir: Path, as_json: bool) -> None:
    """List the fields that have an index."""
    with opened(data_dir) as services, services.database.read() as connection:
        found = [shown(field) for field in indexed(connection)]
    if as_json:
        show_json(found)
    else:
        write_lines(visible(field) for field in found)


@index.command("drop")
@click.argument("field")
@data_option
def drop_index(field: str, data_dir: Path) -> None:
    """Remove the index on FIELD. Queries return the same results without it."""
    with opened(data_dir) as services:
        removed = FieldIndexes(services.database).drop(field)
        _note(services, "index drop", field=removed)
    click.echo(f"Removed the index on {visible(shown(removed))}.")


@admin.command()
@click.option("--user", "username", help="Only entries about this user.")
@click.option(
    "--event", type=click.Choice([event.value for event in AuditEvent]), help="Only events of this kind."
)
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    help="How many of the latest entries to show.",
)
@data_option
@json_option
def audit(username: str | None, event: str | None, limit: int, data_dir: Path, as_json: bool) -> None:
    """Show who signed in, made or revoked tokens, deleted data, or administered the server."""
    with opened(data_dir) as services, services.database.read() as connection:
        found = entries(connection, limit=limit, username=username, event=event)
    if as_json:
        show_json([asdict(one) for one in found])
        return
    for one in found:
        details = " ".join(f"{key}={json.dumps(value)}" for key, value in one.details.items())
        moment = datetime.fromtimestamp(one.moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = (moment, one.event, one.username or "-", one.source or "-", details)
        write_lines(["\t".join(visible(field) for field in fields)])


@admin.command()
@gc_delay_option
@data_option
@json_option
def gc(gc_delay: float, data_dir: Path, as_json: bool) -> None:
    """Remove contents that nothing refers to any more."""
    with opened(data_dir, gc_delay=gc_delay) as services:
        report = maintenance.gc(services)
        _note(services, "gc", blobs_removed=report.blobs_removed)
    if as_json:
        show_json(asdict(report))
        return
    contents = f"{report.blobs_removed} contents ({human(report.bytes_removed)}) that nobody refers to"
    write_lines([f"removed {contents}, and {report.temporary_removed} temporary files"])


@admin.command()
@data_option
@json_option
def fsck(data_dir: Path, as_json: bool) -> None:
    """Check the database, and read all contents. Exits with 1 if anything is wrong.

    It repairs nothing. Contents stored by earlier releases get their BLAKE3, and those stored twice are
    merged.
    """
    with opened(data_dir) as services:
        report = maintenance.fsck(services)
        _note(services, "fsck", problems=len(report.problems))
    if as_json:
        show_json(asdict(report))
    else:
        contents = f"{report.blobs_checked} contents ({human(report.bytes_checked)})"
        checked = f"{report.objects_checked} objects, {report.datapacks_checked} datapacks and {contents}"
        found = f"checked {checked}: {len(report.problems)} problems"
        if report.blobs_filled or report.blobs_merged:
            found += f"; completed {report.blobs_filled} contents, merged {report.blobs_merged}"
        write_lines([*report.problems, found])
    if report.problems:
        sys.exit(FAILED)


@contextmanager
def opened(data_dir: Path, gc_delay: float = GC_DELAY, *, may_be_new: bool = False) -> Iterator[Services]:
    """Open the data of a server, which may be running; refusals become errors of the command.

    With `may_be_new`, a database is made where there is none.
    """
    settings = ServerSettings(data_dir.absolute(), database_url=database_url(), gc_delay=gc_delay)
    with private_files():
        try:
            prepare_folder(settings.data_dir, has_database=settings.has_own_database)
            if not may_be_new:
                _check_database(settings)
            services = open_services(settings)
        except DataDirError as error:
            raise CommandError(str(error)) from error
        except (BucketError, UnusableDatabaseError) as error:
            raise click.UsageError(str(error)) from error
        try:
            yield services
        except ApiError as error:
            raise CommandError(error.message) from error
        finally:
            services.close()


def _check_database(settings: ServerSettings) -> None:
    # A server would make one, and there would be nothing wrong with it.
    if settings.has_own_database and not (settings.data_dir / DATABASE).exists():
        hint = "name the folder of a server, or set RINOFS_DATABASE as its workers do"
        raise CommandError("there is no database in this folder", str(settings.data_dir), hint)


@contextmanager
def _opened_database() -> Iterator[Database]:
    """Open the database that workers share, whether or not it has tables."""
    settings = ServerSettings(Path(), database_url=database_url())
    try:
        database = open_database(settings, has_tables=False)
    except UnusableDatabaseError as error:
        raise click.UsageError(str(error)) from error
    try:
        yield database
    except ApiError as error:
        raise CommandError(error.message) from error
    finally:
        database.close()


def _user(services: Services, name: str) -> User:
    found = services.accounts.user(name)
    if found is None:
        raise CommandError("no such user", name, "`rinofs admin user list` shows them all")
    return found


def _note(services: Services, action: str, **details: object) -> None:
    with services.database.write() as connection:
        described = {"action": action, **details}
        services.database.note(connection, AuditEvent.ADMIN, None, COMMAND_LINE, **described)
