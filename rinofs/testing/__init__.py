"""Servers for tests of rinofs and of programs that use it.

`live_server` runs in this process and records its requests; `server_process` runs the real command::

    from rinofs.testing import live_server

    with live_server() as server:
        fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)
        fs.pipe_file("exp1/a.csv", b"1,2")
        assert [request.path for request in server.requests] == ["/api/1/files/upload_multipart/"]
"""

from __future__ import annotations

try:
    from rinofs.testing.live import LiveServer, live_server
    from rinofs.testing.process import ServerProcess, server_process
    from rinofs.testing.recording import Fault, SeenRequest
except ModuleNotFoundError as error:
    if (error.name or "").startswith("rinofs"):
        raise
    if error.name == "fcntl":
        raise ImportError(
            "rinofs.testing does not run on this system: the server needs the file locks of Linux or macOS"
        ) from error
    raise ModuleNotFoundError(
        f"rinofs.testing needs {(error.name or '').partition('.')[0]}: pip install 'rinofs[server]'",
        name=error.name,
    ) from error

__all__ = ["Fault", "LiveServer", "SeenRequest", "ServerProcess", "live_server", "server_process"]
