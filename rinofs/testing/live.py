"""A server in this process."""

from __future__ import annotations

import secrets
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rinofs.server.app import create_app
from rinofs.server.auth.accounts import new_token
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
    """A running server; made by `live_server`.

    Attributes
    ----------
    endpoint_url : str
        Where it answers.
    username : str
        Its first user.
    token : str
        The token of that user.
    data_dir : Path
        Where it keeps everything.
    extensions : bool
        Whether it speaks more than the published API.
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
        services.accounts.set_token(self._user, token)

    @property
    def password(self) -> str:
        """The password of the first user."""
        if self._password is None:
            # Its hash takes a tenth of a second, which most tests have no use for.
            self._password = secrets.token_urlsafe(12)
            self._services.accounts.set_password(self._user, self._password)
        return self._password

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests that were answered since the start or the last `reset`, in that order."""
        return self._recorder.requests

    @property
    def faults(self) -> Faults | None:
        """What goes wrong: takes method and path of a request, and returns a `Fault` or None."""
        return self._recorder.faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        self._recorder.faults = faults

    def reset(self) -> None:
        """Forget the requests seen so far, and let nothing go wrong any more. Data stay."""
        self._recorder.requests.clear()
        self._recorder.faults = None

    def add_user(self, name: str, *, password: str | None = None) -> str:
        """Make a further user, and return a token of that user."""
        user: User = self._services.accounts.add_user(name, password=password)
        return self._services.accounts.mint_token(user)

    def add_client(self, name: str, *redirect_uris: str, public: bool = False) -> tuple[str, str | None]:
        """Register a program that may ask users for access, and return its id and secret.

        Parameters
        ----------
        name : str
            What users are to see.
        *redirect_uris : str
            Where users may be sent back to.
        public : bool
            Whether it gets no secret.
        """
        client, secret = self._services.clients.add(name, redirect_uris, public=public)
        return client.client_id, secret

    def remove_client(self, client_id: str) -> bool:
        """Remove a program with all that was granted to it; tell whether there was one."""
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
        False for the published APIs and nothing more.
    repovizz_extensions : bool, optional
        The same for the repovizz2 API alone, where that is to differ.
    data_dir : Path, optional
        Where to keep everything; by default in a folder that goes away with the server.
    token : str, optional
        The token of the user ``rino``; a random one by default.
    configure : callable, optional
        Takes the settings and returns those to use, made by ``dataclasses.replace``.
    blobs : BlobStore, optional
        Where contents are kept, such as a
        `rinofs.server.blobs.memory.MemoryBlobStore`; by default in the folder.

    Yields
    ------
    LiveServer
        The server, ready to answer.
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
        The application.
    settings : ServerSettings
        Where deadlines come from.
    protocol : type, optional
        What talks to clients in place of the guarded protocol of these settings.

    Yields
    ------
    str
        The URL of the server, which answers by now.
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
