"""The servers that the room's own tests have."""

from tests.repovizz.conftest import (
    api,
    extended,
    extended_server,
    fs,
    name,
    options,
    pack,
    plain_server,
    server,
)

__all__ = ["api", "extended", "extended_server", "fs", "name", "options", "pack", "plain_server", "server"]
