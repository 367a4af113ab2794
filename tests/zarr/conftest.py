"""The servers of the tests with other libraries."""

from __future__ import annotations

from tests.ecosystem.conftest import _servers, configured, fs, mode, options, server

__all__ = ["_servers", "configured", "fs", "mode", "options", "server"]
