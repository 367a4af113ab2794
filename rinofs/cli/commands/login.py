"""The command `login`: one subcommand for each service."""

from __future__ import annotations

import click

from rinofs.cli.credentials import read_secret
from rinofs.endpoints import check_endpoint
from rinofs.errors import visible
from rinofs.profiles import DEFAULT_PROFILE, Profile, ProfileStore, check_profile_name


@click.group()
def login() -> None:
    """Log in to a service, and store the token for later commands and programs.

    Tokens are stored in a file that only you can read. Each is only sent to the server that issued it.
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
@click.option("--password-file", metavar="FILE", help="Read the password from a file; - is standard input.")
@click.option(
    "--token-file",
    metavar="FILE",
    help="Read an API token from a file, in place of a password; - is standard input.",
)
@click.option("--password-stdin", is_flag=True, help="The same as --password-file -.")
@click.option("--token-stdin", is_flag=True, help="The same as --token-file -.")
@click.option("--client-id", help="The OAuth client to log in as, where a server wants a certain one.")
def rino(
    endpoint_url: str,
    profile: str,
    username: str | None,
    password_file: str | None,
    token_file: str | None,
    password_stdin: bool,
    token_stdin: bool,
    client_id: str | None,
) -> None:
    """Log in to Rinocloud, or to a server that speaks its API."""
    from rinofs.rinocloud.login import CLIENT_ID, account_of, log_in

    check_profile_name(profile)
    check_endpoint(endpoint_url)
    password_file, token_file = (
        _one_place("password", password_file, password_stdin),
        _one_place("token", token_file, token_stdin),
    )
    if token_file and (password_file or username):
        raise click.UsageError("a token needs no username and no password")
    store = ProfileStore()
    store.names("rino")  # report an unusable file before asking for the password
    if token_file:
        account = account_of(endpoint_url, read_secret("token", token_file))
    else:
        username = username or click.prompt("Username", err=True)
        password = read_secret("password", password_file) if password_file else _ask_password()
        account = log_in(endpoint_url, username, password, client_id=client_id or CLIENT_ID)
    store.save(Profile("rino", profile, endpoint_url, account.username, account.token))
    click.echo(visible(f"Logged in to {endpoint_url} as {account.username}; the token is in {store.path}."))
    if profile != DEFAULT_PROFILE:
        click.echo(
            f"Use it with profile={profile!r} among the storage options, or FSSPEC_RINO_PROFILE={profile}."
        )


@login.command()
@click.option(
    "--endpoint-url",
    default="https://repovizz2.upf.edu",
    envvar="FSSPEC_REPOVIZZ_ENDPOINT_URL",
    show_default=True,
    show_envvar=True,
    help="The server.",
)
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, help="The name to keep the tokens under."
)
@click.option("--client-id", help="The OAuth client to log in as; that of the last login by default.")
@click.option(
    "--client-secret",
    envvar="REPOVIZZ_CLIENT_SECRET",
    show_envvar=True,
    help="Its secret, if it has one. Other users of the machine can see it among the processes.",
)
@click.option(
    "--client-secret-file",
    metavar="FILE",
    help="Read the secret of the client from a file; - is standard input.",
)
@click.option("--no-browser", is_flag=True, help="Print the address, and take the code that it leads to.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=50009,
    show_default=True,
    help="Wait for the browser at http://localhost:PORT, as it is registered.",
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=300, show_default=True, help="Seconds to wait for it."
)
def repovizz(
    endpoint_url: str,
    profile: str,
    client_id: str | None,
    client_secret: str | None,
    client_secret_file: str | None,
    no_browser: bool,
    port: int,
    timeout: float,
) -> None:
    """Log in to repovizz2, or to a server that speaks its API, with a browser."""
    from rinofs.repovizz.login.login import find_client, log_in, log_in_by_hand, store

    check_profile_name(profile)
    if client_secret_file is not None:
        client_secret = read_secret("client secret", client_secret_file)
    profiles = ProfileStore()
    profiles.names("repovizz")  # report an unusable file before opening the browser
    client = find_client(endpoint_url, client_id, client_secret, profile)
    if no_browser:
        tokens = log_in_by_hand(client, _ask_code)
    else:
        tokens = log_in(client, _open, port=port, timeout=timeout)
    stored = store(client, tokens, profile)
    click.echo(
        visible(f"Logged in to {client.endpoint_url} as {stored.username}; tokens are in {profiles.path}.")
    )
    if profile != DEFAULT_PROFILE:
        click.echo(
            f"Use it with profile={profile!r} among the storage options, "
            f"or FSSPEC_REPOVIZZ_PROFILE={profile}."
        )


def _open(url: str) -> None:
    import webbrowser

    click.echo(f"Log in here, if no browser opens by itself: {url}", err=True)
    webbrowser.open(url)


def _ask_code(url: str) -> str:
    click.echo(f"Log in here: {url}", err=True)
    code: str = click.prompt("The code that is shown then", err=True)
    return code


def _ask_password() -> str:
    password: str = click.prompt("Password", hide_input=True, err=True)
    return password


def _one_place(what: str, file: str | None, stdin: bool) -> str | None:
    if stdin and file not in {None, "-"}:
        raise click.UsageError(f"the {what} can come from one place only")
    return "-" if stdin else file
