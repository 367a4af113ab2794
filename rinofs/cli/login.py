"""The command `login`: one subcommand for each service."""

from __future__ import annotations

import sys

import click

from rinofs.cli.errors import printable
from rinofs.profiles import DEFAULT_PROFILE, Profile, ProfileStore, check_profile_name


@click.group()
def login() -> None:
    """Log in to a service, and keep the token for later commands and programs.

    Tokens are kept in a file that only you can read, each for the server that gave it and for no other.
    """


@login.command()
@click.option(
    "--endpoint-url",
    default="https://rinocloud.com",
    envvar="FSSPEC_RINO_ENDPOINT_URL",
    show_default=True,
    show_envvar=True,
    help="The server.",
)
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, help="The name to keep the token under."
)
@click.option("--username", help="Who logs in; asked for by default.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--token-stdin", is_flag=True, help="Read an API token from standard input, in place of a password."
)
@click.option("--client-id", help="The OAuth client to log in as, where a server wants a certain one.")
def rino(
    endpoint_url: str,
    profile: str,
    username: str | None,
    password_stdin: bool,
    token_stdin: bool,
    client_id: str | None,
) -> None:
    """Log in to Rinocloud, or to a server that speaks its API."""
    from rinofs.rinocloud.login import CLIENT_ID, account_of, log_in

    check_profile_name(profile)
    if token_stdin and (password_stdin or username):
        raise click.UsageError("--token-stdin needs no --username and no --password-stdin")
    store = ProfileStore()
    store.names("rino")  # a file that cannot be used is better found before a password is typed
    if token_stdin:
        account = account_of(endpoint_url, _from_stdin("token"))
    else:
        username = username or click.prompt("Username", err=True)
        password = _from_stdin("password") if password_stdin else _ask_password()
        account = log_in(endpoint_url, username, password, client_id=client_id or CLIENT_ID)
    store.save(Profile("rino", profile, endpoint_url, account.username, account.token))
    click.echo(printable(f"Logged in to {endpoint_url} as {account.username}; the token is in {store.path}."))
    if profile != DEFAULT_PROFILE:
        click.echo(
            f"Use it with profile={profile!r} among the storage options, or FSSPEC_RINO_PROFILE={profile}."
        )


def _ask_password() -> str:
    password: str = click.prompt("Password", hide_input=True, err=True)
    return password


def _from_stdin(what: str) -> str:
    text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise click.UsageError(f"no {what} came on standard input")
    return text
