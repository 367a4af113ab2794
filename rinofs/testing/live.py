"""A server in this process."""

from __future__ import annotations

import secrets
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rinofs.server.app import create_app
from rinofs.server.auth.account_tokens import new_token
from rinofs.server.runner import Server, endpoint_url, exclusive, listen
from rinofs.server.settings import ServerSettings
from rinofs.testing.recording import Recorder, droppable_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from rinofs.server.blobs.store import BlobStore
    from rinofs.server.catalog.records import User
    from rinofs.server.services import Services
    from rinofs.server.web.connections import GuardedProtocol
    from rinofs.testing.recording import Faults, SeenRequest

__all__ = ["LiveServer", "live_server", "serving"]

USERNAME = "rino"


class LiveServer:
    """A running server, created by `live_server`.

    Attributes
    ----------
    endpoint_url : str
        URL of the server.
    username : str
        Name of the first user.
    token : str
        Token of that user.
    data_dir : Path
        Data directory.
    extensions : bool
        Whether the server has extensions of the published API.
    """

    def __init__(self, endpoint_url: str, services: Services, recorder: Recorder, token: str) -> None:
        self.endpoint_url = endpoint_url
        self.username = USERNAME
        self.token = token
        self.data_dir = services.settings.data_dir
        self.extensions = services.settings.extensions
        self._services = services
        self._recorder = recorder
        self._password: str | None = None
        self._user = self._services.accounts.user(USERNAME) or services.accounts.add_user(USERNAME)
        services.accounts.tokens.set_primary(self._user, token)

    @property
    def password(self) -> str:
        """Password of the first user."""
        if self._password is None:
            # Created on demand: its hash takes a tenth of a second, and most tests do not use it.
            self._password = secrets.token_urlsafe(12)
            self._services.accounts.set_password(self._user, self._password)
        return self._password

    @property
    def requests(self) -> list[SeenRequest]:
        """Requests that were answered since the start or the last `reset`, in order."""
        return self._recorder.requests

    @property
    def faults(self) -> Faults | None:
        """Injects faults: takes method and path of a request, and returns a `Fault` or None."""
        return self._recorder.faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        self._recorder.faults = faults

    def reset(self) -> None:
        """Clear the recorded requests and the faults. Data is kept."""
        self._recorder.requests.clear()
        self._recorder.faults = None

    def add_user(self, name: str, *, password: str | None = None) -> str:
        """Create another user; returns a token."""
        user: User = self._services.accounts.add_user(name, password=password)
        return self._services.accounts.tokens.create(user)

    def add_client(self, name: str, *redirect_uris: str, public: bool = False) -> tuple[str, str | None]:
        """Register an OAuth client; returns its id and secret.

        Parameters
        ----------
        name : str
            Name shown to users.
        *redirect_uris : str
            URLs to which users may be redirected.
        public : bool
            Whether the client has no secret.
        """
        client, secret = self._services.clients.add(name, redirect_uris, public=public)
        return client.client_id, secret

    def remove_client(self, client_id: str) -> bool:
        """Remove an OAuth client and all its grants; returns whether it existed."""
        return self._services.clients.remove(client_id)


@contextmanager
def live_server(
    *,
    extensions: bool = True,
    repovizz_extensions: bool | None = None,
    data_dir: Path | None = None,
    token: str | None = None,
    configure: Callable[[ServerSettings], ServerSettings] | None = None,
    blobs: BlobStore | None = None,
) -> Iterator[LiveServer]:
    """Run a server in a thread of this process, on a free port of the loopback interface.

    Parameters
    ----------
    extensions : bool
        False for the published APIs only.
    repovizz_extensions : bool, optional
        The same for the repovizz2 API, if different.
    data_dir : Path, optional
        Data directory; by default a temporary one.
    token : str, optional
        Token of the user ``rino``; random by default.
    configure : callable, optional
        Takes the settings and returns changed ones, made with ``dataclasses.replace``.
    blobs : BlobStore, optional
        Blob store, such as a `rinofs.server.blobs.memory.MemoryBlobStore`; by default in the data directory.

    Yields
    ------
    LiveServer
        Server, ready for requests.
    """
    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rinofs-")))
        settings = ServerSettings(
            folder,
            extensions=extensions,
            repovizz_extensions=extensions if repovizz_extensions is None else repovizz_extensions,
            shutdown_timeout=1.0,
        )
        settings = configure(settings) if configure else settings
        stack.enter_context(exclusive(folder))
        app = create_app(settings, blobs=blobs)
        recorder = Recorder(app)
        protocol = droppable_protocol(settings)
        url = stack.enter_context(serving(recorder, settings, protocol=protocol))
        yield LiveServer(url, app.state.services, recorder, token or new_token())


@contextmanager
def serving(
    app: ASGIApp, settings: ServerSettings, *, protocol: type[GuardedProtocol] | None = None
) -> Iterator[str]:
    """Serve an application in a thread, on a free port of the loopback interface.

    Parameters
    ----------
    app : ASGIApp
        Application.
    settings : ServerSettings
        Provides the timeouts.
    protocol : type, optional
        Protocol class to use instead of the guarded protocol of the settings.

    Yields
    ------
    str
        URL of the server, which is ready for requests.
    """
    with listen("127.0.0.1", 0) as listener:
        url = endpoint_url(listener, "127.0.0.1")
        ready = threading.Event()
        server = Server(app, settings, on_ready=ready.set, protocol=protocol)
        thread = threading.Thread(target=server.run, args=([listener],), name="rinofs-server", daemon=True)
        thread.start()
        try:
            if not ready.wait(30):
                raise RuntimeError(f"the server at {url} did not start")
            yield url
        finally:
            server.stop()
            thread.join()
