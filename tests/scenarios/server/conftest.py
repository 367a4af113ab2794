"""The servers that the room's own tests have."""

from tests.server.conftest import api, extended, more, server, services, user

__all__ = ["api", "extended", "more", "server", "services", "user"]
