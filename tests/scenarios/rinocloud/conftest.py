"""The servers that the room's own tests have."""

from tests.rinocloud.conftest import api, either_server, fs, options, server

__all__ = ["api", "either_server", "fs", "options", "server"]
