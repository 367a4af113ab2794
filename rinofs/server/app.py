"""The server as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from rinofs.protocol.extensions import (
    REPOVIZZ_EXTENSIONS,
    RINOCLOUD_EXTENSIONS,
    RepovizzExtension,
    RinocloudExtension,
)
from rinofs.server.api.calls import Workers
from rinofs.server.api.repovizz import routes as repovizz
from rinofs.server.api.rinocloud import routes as rinocloud
from rinofs.server.auth import routes as oauth
from rinofs.server.blobs.mixed import MixedBlobStore
from rinofs.server.errors import ApiError
from rinofs.server.maintenance import gc_in_turn, take_sha256s
from rinofs.server.readiness import READY, Readiness
from rinofs.server.services import open_services
from rinofs.server.web.proxies import BelowPath, TrustedProxies
from rinofs.server.web.responses import (
    AnswerFailures,
    AnswerHeaders,
    HostGuard,
    MergeSlashes,
    error_response,
    json_response,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ExceptionHandler

    from rinofs.server.blobs.store import BlobStore
    from rinofs.server.services import Services
    from rinofs.server.settings import ServerSettings

__all__ = ["COLLECT_EVERY", "REFUSALS", "answering", "create_app"]

HEALTH = "/health"
"""Path of the liveness check, which accepts any host name."""

COLLECT_EVERY = 3600.0
"""Seconds between collections of unreferenced contents, from the start on; one worker does it for all."""

_EARLY = 60.0
"""Seconds by which a process may be early to collect for all, if the last collection was its own."""

COLLECTOR_ENDS = 3.0
"""Seconds that a collection may take to end when the server stops; the next one does the rest."""

_log = logging.getLogger("rinofs.server")


def create_app(settings: ServerSettings, *, blobs: BlobStore | None = None) -> Starlette:
    """Open a server's folder, and create its application.

    Parameters
    ----------
    settings : ServerSettings
        Settings of the server.
    blobs : BlobStore, optional
        Store for contents; by default in the folder.

    Returns
    -------
    Starlette
        The application; ``state.services`` are its services, which are closed when its lifespan ends, and
        ``state.readiness`` its readiness.
    """
    services, workers = open_services(settings, blobs=blobs), Workers(settings.max_body_bytes)
    readiness = Readiness(services)
    app = Starlette(
        routes=[
            Route(HEALTH, _health),
            Route(READY, readiness.answer),
            *rinocloud.routes(services, workers),
            *repovizz.routes(services, workers),
            *oauth.routes(services.database, services.accounts, services.clients, services.grants),
        ],
        middleware=answering(settings, direct=isinstance(services.blobs, MixedBlobStore)),
        exception_handlers=REFUSALS,
        lifespan=_lifespan,
    )
    # A path without its slash gets an error that says so: after a redirect, clients would send bodies twice.
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.state.services = services
    app.state.readiness = readiness
    app.state.workers = workers
    return app


def answering(settings: ServerSettings, *, direct: bool = False) -> list[Middleware]:
    """Return the middleware between the network and the routes, outermost first.

    Parameters
    ----------
    settings : ServerSettings
        Settings of the server.
    direct : bool
        Whether contents can be read directly from the store.
    """
    stamps = [Middleware(AnswerHeaders, headers={"x-content-type-options": "nosniff"})]
    if settings.extensions:
        # Not on other paths: the response of a wrong endpoint must not look like one of the API.
        named = [one for one in RinocloudExtension if direct or one != RinocloudExtension.DIRECT]
        extensions = {RINOCLOUD_EXTENSIONS: ", ".join(named)}
        stamps.append(Middleware(AnswerHeaders, headers=extensions, below="/api/1/"))
    if settings.repovizz_extensions:
        extensions = {REPOVIZZ_EXTENSIONS: ", ".join(RepovizzExtension)}
        stamps.append(Middleware(AnswerHeaders, headers=extensions, below=f"{repovizz.BASE}/"))
    outermost = []
    if settings.trusted_proxies:
        outermost.append(Middleware(TrustedProxies, proxies=settings.trusted_proxies))
    if settings.root_path:
        outermost.append(Middleware(BelowPath, root_path=settings.root_path))
    return [
        *outermost,
        # The default settings of an early published Python client double the first slash.
        Middleware(MergeSlashes, below=(rinocloud.BASE, "/o/")),
        *stamps,
        Middleware(AnswerFailures),
        Middleware(HostGuard, allowed=settings.allowed_hosts, exempt=(HEALTH, READY)),
    ]


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    services: Services = app.state.services
    stopping = asyncio.Event()
    collecting = asyncio.create_task(_collect_regularly(services, stopping))
    ending = threading.Event()
    taking = threading.Thread(target=take_sha256s, args=(services, ending), name="rinofs-sha256", daemon=True)
    taking.start()
    try:
        yield
    finally:
        stopping.set()
        ending.set()
        services.without_sha256.set()
        await asyncio.wait([collecting], timeout=min(COLLECTOR_ENDS, services.settings.shutdown_timeout))
        await to_thread.run_sync(taking.join)
        services.close()


async def _collect_regularly(services: Services, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            report = await to_thread.run_sync(gc_in_turn, services, COLLECT_EVERY - _EARLY)
        except Exception:  # noqa: BLE001 (the next one may succeed, and serving goes on meanwhile)
            _log.exception("collecting contents that nobody refers to failed")
        else:
            _log.info("collected %d contents, %d bytes", report.blobs_removed, report.bytes_removed)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), COLLECT_EVERY)


async def _health(_request: Request) -> Response:
    return json_response({"status": "ok"})


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = dict(error.headers)
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Token")
    return error_response(error.status, error.message, headers)


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    of_repovizz = path.startswith(f"{repovizz.BASE}/")
    message = error.detail
    shown = f"{request.app.state.settings.root_path}{path}"
    if error.status_code == 404:
        hint = "; the endpoints of the Rinocloud API end with a slash"
        message = f"{shown} does not exist on this server{'' if path.endswith('/') or of_repovizz else hint}"
    elif error.status_code == 405:
        message = f"{shown} does not support {request.method}"
    refuse = repovizz.refusal if of_repovizz else error_response
    return refuse(error.status_code, message, error.headers)


REFUSALS: dict[Any, ExceptionHandler] = {ApiError: _refused, HTTPException: _not_routed}
"""Handlers of exceptions, by type."""
