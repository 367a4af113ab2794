"""How filesystem objects are made, told apart and pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.config import conf
from fsspec.spec import AbstractFileSystem

from rinofs.credentials import ConfiguredToken, configured_options

if TYPE_CHECKING:
    from rinofs.credentials import Service


class Instances(type(AbstractFileSystem)):  # type: ignore[misc]
    """Make filesystem objects as fsspec does, keeping configured secrets out of what they remember.

    fsspec merges its configuration and environment into ``storage_options``, which are pickled and shown by
    ``to_json``. A token from there is taken out again: whoever loads the pickle has a configuration of its
    own. Two tokens never share an object, since the token, or its digest, is part of what tells them apart.
    """

    service: Service

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the filesystem with these options, made now or earlier by this thread."""
        if args or getattr(cls, "service", None) is None:
            return super().__call__(*args, **kwargs)
        filesystem = super().__call__(**configured_options(cls.service, kwargs, conf))
        filesystem.storage_options = {
            name: value
            for name, value in filesystem.storage_options.items()
            if not isinstance(value, ConfiguredToken) and not (name == "token" and value is None)
        }
        return filesystem
