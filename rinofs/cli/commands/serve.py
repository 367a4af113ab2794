"""``rinofs serve``."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rinofs.cli.errors import CommandError
from rinofs.server.app import create_app
from rinofs.server.auth.initial import prepare_user
from rinofs.server.errors import ApiError
from rinofs.server.logs import configure_logging
from rinofs.server.runner import (
    DataDirBusyError,
    PortBusyError,
    Server,
    endpoint_url,
    exclusive,
    is_exposed,
    is_wildcard,
    listen,
)
from rinofs.server.settings import ServerSettings
from rinofs.server.web.proxies import check_network, check_root_path

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from rinofs.server.auth.initial import InitialCredentials

USERNAME = "rino"


@click.command(short_help="Serve a folder of this machine.")
@click.option(
    "--data",
    "data_dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder that keeps everything; made where missing.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8440,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 for a free one.",
)
@click.option("--token", help="API token of the user rino; by default the one that it has, or a random one.")
@click.option(
    "--password", help="Password of the user rino; by default the one that it has, or a random one."
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name that clients reach the server by, besides those of this machine; may be repeated.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    callback=lambda _context, _option, values: tuple(_checked(check_network, value) for value in values),
    help="Address or network of a proxy whose X-Forwarded-For, -Proto and -Host (or Forwarded) are believed; "
    "may be repeated.",
)
@click.option(
    "--root-path",
    default="",
    metavar="PATH",
    callback=lambda _context, _option, value: _checked(check_root_path, value),
    help="The path below which a proxy serves this server, such as /lab.",
)
@click.option("--allow-insecure", is_flag=True, help="Listen on other addresses than loopback, unencrypted.")
@click.option("--no-extensions", is_flag=True, help="Speak the published APIs and nothing more.")
def serve(
    data_dir: Path,
    host: str,
    port: int,
    token: str | None,
    password: str | None,
    allowed_hosts: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    root_path: str,
    allow_insecure: bool,
    no_extensions: bool,
) -> None:
    """Serve a folder over the APIs of Rinocloud and repovizz2, until SIGTERM or Ctrl-C."""
    if is_exposed(host) and not allow_insecure:
        raise click.UsageError(
            f"tokens and data would cross the network unencrypted on {host}; put a proxy with TLS in front "
            "of a loopback address, or add --allow-insecure"
        )
    names = allowed_hosts if is_wildcard(host) else (*allowed_hosts, host)
    settings = ServerSettings(
        data_dir.absolute(),
        allowed_hosts=names,
        trusted_proxies=trusted_proxies,
        root_path=root_path,
        extensions=not no_extensions,
        repovizz_extensions=not no_extensions,
    )
    try:
        with exclusive(settings.data_dir), listen(host, port) as listener:
            _run(settings, listener, endpoint_url(listener, host, allowed_hosts), token, password)
    except (DataDirBusyError, PortBusyError) as error:
        raise CommandError(str(error)) from error


def _checked(check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def _run(
    settings: ServerSettings, listener: socket.socket, url: str, token: str | None, password: str | None
) -> None:
    app = create_app(settings)
    try:
        known = prepare_user(app.state.services.accounts, USERNAME, token=token, password=password)
    except ApiError as error:
        raise click.UsageError(error.message) from error
    debugging = logging.getLogger("rinofs").isEnabledFor(logging.DEBUG)
    configure_logging("debug" if debugging else "warning", [token or "", password or ""])
    made_password = known.password if password is None else None
    server = Server(app, settings, on_ready=lambda: click.echo(_greeting(url, known, made_password)))
    server.run_until_signalled(listener)


def _greeting(url: str, known: InitialCredentials, made_password: str | None) -> str:
    lines = [f"endpoint: {url}", f"username: {USERNAME}"]
    if made_password is not None:
        lines.append(f"password: {made_password} (not shown again)")
    for service in ("RINO", "REPOVIZZ"):
        lines.append(f"export FSSPEC_{service}_ENDPOINT_URL={url}")
        if known.token is not None:
            lines.append(f"export FSSPEC_{service}_TOKEN={shlex.quote(known.token)}")
    lines.append("Press Ctrl-C to stop.")
    return "\n".join(lines)
