"""Commands for stored logins: `whoami`, `logout`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from fsspec.config import conf

from rinofs.cli.errors import CommandError, Problems
from rinofs.cli.output import show_json, write_lines
from rinofs.profiles import DEFAULT_PROFILE, ProfileStore

if TYPE_CHECKING:
    from rinofs.fs.filesystem import RemoteFileSystem

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


def _account(name: str) -> dict[str, str | None]:
    from rinofs.credentials import configured_options, find_credentials

    service = _kind(name).service
    configured = {key: value for each in service.protocols for key, value in conf.get(each, {}).items()}
    options = {**configured, **configured_options(service, {}, conf)}
    given = {key: options.get(key) or None for key in ("endpoint_url", "token", "profile")}
    credentials = find_credentials(service, **given)
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
