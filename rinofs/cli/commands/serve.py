"""``rinofs serve``."""

from __future__ import annotations

import logging
import shlex
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rinofs.cli.commands.admin import gc_delay_option
from rinofs.cli.credentials import chosen_secret, password_options
from rinofs.cli.database_options import database_option, database_url
from rinofs.cli.errors import CommandError, complain
from rinofs.server.access_log import writes_access_log
from rinofs.server.app import create_app
from rinofs.server.auth.initial import InitialCredentials, prepare_user
from rinofs.server.blobs.store import BucketError
from rinofs.server.catalog.database import CONNECTIONS
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.errors import ApiError
from rinofs.server.exchanges import Observed
from rinofs.server.folder import DataDirError, prepare_folder, private_files
from rinofs.server.logs import FORMATS, configure_logging
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
from rinofs.server.services import FOLDER
from rinofs.server.settings import CACHE_SIZE, ServerSettings
from rinofs.server.web.proxies import check_network, check_root_path

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from rinofs.server.auth.accounts import Accounts
    from rinofs.server.services import Services


USERNAME = "rino"


@click.command(short_help="Serve a folder of this machine.")
@click.option(
    "--data",
    "data_dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for all data: new, empty, or from an earlier run.",
)
@database_option
@click.option(
    "--database-connections",
    default=CONNECTIONS,
    show_default=True,
    metavar="COUNT",
    type=click.IntRange(2, 1000),
    help="The maximum number of connections to PostgreSQL.",
)
@click.option(
    "--blobs",
    "blobs_url",
    metavar="URL",
    envvar="RINOFS_BLOBS",
    show_envvar=True,
    help="Where to store new contents: an S3 store, s3://BUCKET/PREFIX, configured by AWS's own variables "
    "(AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...), or the folder (`folder`). By default, where they were "
    "stored before.",
)
@click.option(
    "--cache-size",
    default=CACHE_SIZE,
    show_default=True,
    metavar="BYTES",
    type=click.IntRange(0),
    help="The maximum size of local copies of contents in an S3 store.",
)
@gc_delay_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8440,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 for a free one.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Read the API token of the user rino from a file; - is standard input. "
    "By default the user keeps its token, or gets a random one.",
)
@password_options
@click.option(
    "--token",
    envvar="RINOFS_TOKEN",
    show_envvar=True,
    help="The token itself, for tests: other users of this machine see it in the list of processes.",
)
@click.option(
    "--password",
    envvar="RINOFS_PASSWORD",
    show_envvar=True,
    help="The password of the user rino itself, for tests; as visible as --token.",
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
@click.option(
    "--access-log",
    metavar="FILE",
    help="Write a line of JSON for each request to a file, or to standard output (-).",
)
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="The format of messages on standard error; json is one JSON document per line.",
)
@click.option(
    "--metrics-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Serve metrics for Prometheus on this port; 0 for a free one. Needs the extra metrics.",
)
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    metavar="HOST",
    help="The address to listen on for Prometheus. Metrics contain no names of files or users.",
)
@click.option(
    "--shutdown-delay",
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, 3600),
    help="When told to stop, go on answering requests for this long while /ready returns 503: "
    "as long as a load balancer takes to notice.",
)
@click.option(
    "--shutdown-timeout",
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, 3600),
    help="Then wait this long for running requests, and cut off those that have not ended.",
)
@click.option("--allow-insecure", is_flag=True, help="Listen on addresses other than loopback, unencrypted.")
@click.option("--no-extensions", is_flag=True, help="Serve the published APIs and nothing more.")
def serve(
    data_dir: Path,
    database_connections: int,
    blobs_url: str | None,
    cache_size: int,
    gc_delay: float,
    host: str,
    port: int,
    token_file: str | None,
    password_file: str | None,
    ask_password: bool,
    token: str | None,
    password: str | None,
    allowed_hosts: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    root_path: str,
    access_log: str | None,
    log_format: str,
    metrics_port: int | None,
    metrics_host: str,
    shutdown_delay: float,
    shutdown_timeout: float,
    allow_insecure: bool,
    no_extensions: bool,
) -> None:
    """Run a server that keeps its data in a folder, until SIGTERM or Ctrl-C.

    It serves the APIs of Rinocloud and repovizz2. The folder is new, empty, or from an earlier run.
    A second SIGTERM or Ctrl-C stops it at once, and cuts off running requests.
    Contents can be in an S3 store instead (--blobs), and the database in PostgreSQL (--database): then this
    is one of any number of workers. `rinofs admin init` prepares the database.
    """
    if token_file == password_file == "-":  # noqa: S105 (a place)
        raise click.UsageError("standard input holds one secret: the token or the password")
    if is_exposed(host) and not allow_insecure:
        raise click.UsageError(
            f"tokens and data would cross the network unencrypted on {host}; put a proxy with TLS in front "
            "of a loopback address, or add --allow-insecure"
        )
    names = allowed_hosts if is_wildcard(host) else (*allowed_hosts, host)
    settings = ServerSettings(
        data_dir.absolute(),
        database_url=database_url(),
        database_connections=database_connections,
        blobs_url=blobs_url,
        cache_size=cache_size,
        gc_delay=gc_delay,
        allowed_hosts=names,
        trusted_proxies=trusted_proxies,
        root_path=root_path,
        extensions=not no_extensions,
        repovizz_extensions=not no_extensions,
        shutdown_delay=shutdown_delay,
        shutdown_timeout=shutdown_timeout,
    )
    has_secret = token or token_file or password or password_file or ask_password
    if has_secret and not settings.has_own_database:
        raise click.UsageError(
            "a worker sets no token or password; `rinofs admin init` and `rinofs admin token` do"
        )
    given = _Given(
        chosen_secret("token", token, file=token_file),
        chosen_secret("password", password, file=password_file, ask=ask_password),
        shown=token_file is None and not _from_environment("token"),
    )
    reports = _Reports(access_log, log_format, metrics_host, metrics_port)
    try:
        with private_files(), _own_folder(settings), listen(host, port) as listener:
            _run(settings, listener, endpoint_url(listener, host, allowed_hosts), given, reports)
    except (DataDirBusyError, DataDirError, PortBusyError) as error:
        raise CommandError(str(error)) from error
    except (BucketError, UnusableDatabaseError) as error:
        raise click.UsageError(str(error)) from error


def _checked(check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


@contextmanager
def _own_folder(settings: ServerSettings) -> Iterator[None]:
    for warning in prepare_folder(settings.data_dir, has_database=settings.has_own_database):
        complain(warning)
    # Workers of one machine may share a folder of contents, but not one with copies of what is elsewhere.
    in_folder = settings.blobs_url in {None, FOLDER}
    may_share = in_folder and not settings.has_own_database
    with nullcontext() if may_share else exclusive(settings.data_dir):
        yield


@dataclass(frozen=True, slots=True)
class _Given:
    """The secrets on the command line, and whether the token may be printed."""

    token: str | None = field(repr=False)
    password: str | None = field(repr=False)
    shown: bool


@dataclass(frozen=True, slots=True)
class _Reports:
    """The options for logs and metrics."""

    access_log: str | None
    log_format: str
    metrics_host: str
    metrics_port: int | None


def _from_environment(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.ENVIRONMENT


def _run(
    settings: ServerSettings, listener: socket.socket, url: str, given: _Given, reports: _Reports
) -> None:
    secrets = [given.token or "", given.password or ""]
    app = create_app(settings)
    observed = Observed(app)
    if reports.access_log is not None:
        try:
            observed.observers.append(writes_access_log(reports.access_log, secrets))
        except OSError as error:
            what = f"cannot write the access log: {error.strerror}"
            raise CommandError(what, reports.access_log) from error
    metrics_url = _serve_metrics(observed, app.state.services, reports)
    known = _first_user(app.state.services.accounts, given) if settings.has_own_database else None
    debugging = logging.getLogger("rinofs").isEnabledFor(logging.DEBUG)
    configure_logging("debug" if debugging else "warning", secrets, form=reports.log_format)
    server = Server(
        observed,
        settings,
        on_ready=lambda: click.echo(_greeting(url, metrics_url, known)),
        on_stop=app.state.readiness.stop,
    )
    server.run_until_signalled(listener)


def _first_user(accounts: Accounts, given: _Given) -> InitialCredentials:
    """Create the first user if missing; return the credentials that may be printed."""
    try:
        known = prepare_user(accounts, USERNAME, token=given.token, password=given.password)
    except ApiError as error:
        raise click.UsageError(error.message) from error
    return InitialCredentials(
        known.token if given.token is None or given.shown else None,
        known.password if given.password is None else None,
    )


def _serve_metrics(observed: Observed, services: Services, reports: _Reports) -> str | None:
    if reports.metrics_port is None:
        return None
    try:
        from rinofs.server.metrics import ServerMetrics, serve_metrics
    except ModuleNotFoundError as error:
        hint = "pip install 'rinofs[metrics]'"
        raise CommandError("--metrics-port needs prometheus-client", hint=hint) from error
    return serve_metrics(ServerMetrics(observed, services), reports.metrics_host, reports.metrics_port)


def _greeting(url: str, metrics_url: str | None, known: InitialCredentials | None) -> str:
    lines = [f"endpoint: {url}"]
    if known is not None:
        lines.append(f"username: {USERNAME}")
    if metrics_url is not None:
        lines.append(f"metrics: {metrics_url}")
    if known is not None and known.password is not None:
        lines.append(f"password: {known.password} (not shown again)")
    for service in ("RINO", "REPOVIZZ"):
        lines.append(f"export FSSPEC_{service}_ENDPOINT_URL={url}")
        if known is not None and known.token is not None:
            lines.append(f"export FSSPEC_{service}_TOKEN={shlex.quote(known.token)}")
    lines.append("Press Ctrl-C to stop.")
    return "\n".join(lines)
