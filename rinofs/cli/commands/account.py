"""Commands for stored logins and for accounts: `whoami`, `logout`, `token`, `passwd`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from fsspec.config import conf

from rinofs.cli.credentials import lifetime_option, read_secrets, show_tokens
from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.output import show_json, write_lines
from rinofs.errors import AuthenticationError, visible
from rinofs.profiles import DEFAULT_PROFILE, Profile, ProfileStore

if TYPE_CHECKING:
    from rinofs.credentials import Credentials
    from rinofs.fs.filesystem import RemoteFileSystem
    from rinofs.rinocloud.tokens import UserTokens

SERVICES = ("rino", "repovizz")


@click.command()
@click.argument("services", metavar="[rino|repovizz]...", type=click.Choice(SERVICES), nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: a list.")
def whoami(services: tuple[str, ...], as_json: bool) -> None:
    """Show which user each service takes you for, its endpoint, and where the token comes from.

    Asks the servers. Without a SERVICE, asks those for which there is a token.
    """
    problems = Problems()
    found: list[dict[str, str | None]] = []
    for name in services or [each for each in SERVICES if _has_login(each)]:
        with problems.collected(f"{name}://"):
            found.append(_account(name))
    if as_json:
        show_json(found)
    elif not found and not problems.lines:
        raise CommandError(
            "not logged in to any service", hint="use `rinofs login rino` or `rinofs login repovizz`"
        )
    else:
        write_lines(
            f"{one['service']}: {one['username'] or 'unknown user'} at {one['endpoint_url']} "
            f"(token of {one['token_from']})"
            for one in found
        )
    problems.exit_if_any()


def _kind(name: str) -> type[RemoteFileSystem]:
    if name == "rino":
        from rinofs.rinocloud.filesystem import RinoFileSystem

        return RinoFileSystem
    from rinofs.repovizz.filesystem import RepovizzFileSystem

    return RepovizzFileSystem


def _has_login(name: str) -> bool:
    configured = {key for protocol in _kind(name).service.protocols for key in conf.get(protocol, {})}
    return bool(configured & {"token", "profile"}) or bool(ProfileStore().names(name))


def _given(name: str) -> dict[str, Any]:
    from rinofs.credentials import configured_options

    service = _kind(name).service
    configured = {key: value for each in service.protocols for key, value in conf.get(each, {}).items()}
    options = {**configured, **configured_options(service, {}, conf)}
    return {key: options.get(key) or None for key in ("endpoint_url", "token", "profile")}


def _account(name: str) -> dict[str, str | None]:
    from rinofs.credentials import find_credentials

    given = _given(name)
    credentials = find_credentials(_kind(name).service, **given)
    if name == "rino":
        from rinofs.rinocloud.login import account_of

        username: str | None = account_of(credentials.endpoint_url, credentials.token).username
    else:
        from rinofs.repovizz.filesystem import RepovizzFileSystem

        fs = RepovizzFileSystem(**{key: value for key, value in given.items() if value})
        username = fs._backend.client.account().username  # noqa: SLF001 - its token renews itself
    stored = credentials.profile
    return {
        "service": name,
        "username": username,
        "endpoint_url": credentials.endpoint_url,
        "token_from": f"profile {stored.name!r}" if stored else "the environment or fsspec's configuration",
    }


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, help="The name that the token is stored under."
)
def logout(service: str, profile: str) -> None:
    """Delete a stored token from this machine. The server is not asked to revoke it."""
    store = ProfileStore()
    if not store.remove(service, profile):
        names = ", ".join(store.names(service))
        raise CommandError(
            f"no stored login to {service} with the profile {profile!r}",
            hint=f"stored profiles: {names}" if names else None,
        )
    click.echo(f"Deleted the token of {service} (profile {profile!r}).")


def _credentials() -> Credentials:
    from rinofs.credentials import find_credentials

    return find_credentials(_kind("rino").service, **_given("rino"))


def _own_tokens() -> UserTokens:
    from rinofs.rinocloud.tokens import UserTokens

    found = _credentials()
    return UserTokens(found.endpoint_url, found.token)


@click.group()
def token() -> None:
    """Add, list and revoke your own API tokens.

    For servers of rinofs. The login is that of `rino://`: see `rinofs whoami rino`.
    """


@token.command("add")
@click.argument("name")
@click.option("--read-only", is_flag=True, help="Allow the token to read only.")
@lifetime_option
def add_token(name: str, read_only: bool, lifetime: int | None) -> None:
    """Create a token called NAME, and print it as JSON. It is not shown again.

    It has at most the rights of the token that you are logged in with, and expires no later.
    """
    made = _own_tokens().add(name, read_only=read_only, lifetime=lifetime)
    write_lines([json.dumps({"name": name, "token": made})])


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: a list.")
def list_tokens(as_json: bool) -> None:
    """List your tokens: name, expiry, last use. The tokens themselves are not stored."""
    show_tokens(_own_tokens().list(), as_json=as_json)


@token.command("revoke")
@click.argument("name_or_id")
def revoke_token(name_or_id: str) -> None:
    """Revoke one of your tokens."""
    _own_tokens().revoke(name_or_id)
    click.echo(f"Revoked the token {visible(name_or_id)}.")


@click.command()
@click.option(
    "--passwords-file",
    metavar="FILE",
    help="Read the current and the new password from two lines of a file; - is standard input.",
)
def passwd(passwords_file: str | None) -> None:
    """Change your password at a server of rinofs.

    This ends your browser sessions, the access of programs, and tokens from earlier password logins. A stored
    login that ends with them is replaced by a new one.
    """
    from rinofs.rinocloud.login import account_of, log_in
    from rinofs.rinocloud.tokens import UserTokens

    found = _credentials()
    username = account_of(found.endpoint_url, found.token).username
    if passwords_file is None:
        present = click.prompt("Present password", hide_input=True, err=True)
        new = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        present, new = read_secrets("passwords", passwords_file, 2)
    UserTokens(found.endpoint_url, found.token).change_password(present, new)
    click.echo(visible(f"Changed the password of {username} at {found.endpoint_url}."))
    if found.profile is not None:
        try:
            account_of(found.endpoint_url, found.token)
        except AuthenticationError:
            fresh = log_in(found.endpoint_url, username, new)
            name = found.profile.name
            ProfileStore().save(Profile("rino", name, found.endpoint_url, username, fresh.token))
            click.echo(f"Logged in again (profile {name!r}).")
