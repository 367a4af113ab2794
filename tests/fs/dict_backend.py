"""A third service, as small as one can be: files and folders in a dict."""

from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING, Any

from rinofs.credentials import Service
from rinofs.errors import NotFoundError
from rinofs.fs.backend import Backend, Pinned
from rinofs.fs.files.unstreamed import MemorySource
from rinofs.fs.filesystem import RemoteFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.credentials import Credentials
    from rinofs.fs.backend import Info, Upload


class DictBackend(Backend):
    """Contents by path; a folder has None."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes | None] = {"": None}

    def _get(self, path: str) -> bytes | None:
        if path not in self.contents:
            raise NotFoundError(path=path)
        return self.contents[path]

    def _describe(self, path: str, content: bytes | None) -> Info:
        return {
            "name": path,
            "size": len(content or b""),
            "type": "directory" if content is None else "file",
        }

    def info(self, path: str) -> Info:
        return self._describe(path, self._get(path))

    def list_folder(self, path: str) -> list[Info]:
        if self._get(path) is not None:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", path)
        children = [name for name in self.contents if name and name.rpartition("/")[0] == path]
        return [self._describe(name, self.contents[name]) for name in children]

    def pin(self, path: str, version_id: int | str | None = None, *, fresh: bool = False) -> Pinned:
        content = self._get(path)
        if content is None:
            raise IsADirectoryError(errno.EISDIR, "is a folder", path)
        source = MemorySource.of(content)
        return Pinned(source, self._describe(path, content), source.key)

    def ukey(self, path: str) -> str:
        return hashlib.sha256(self._get(path) or b"").hexdigest()

    def send(self, upload: Upload) -> None:
        if upload.exclusive and upload.path in self.contents:
            raise FileExistsError(errno.EEXIST, "already exists", upload.path)
        if self.contents.get(upload.path, b"") is None:
            raise IsADirectoryError(errno.EISDIR, "is a folder", upload.path)
        self.make_folder(upload.path.rpartition("/")[0], exist_ok=True)
        source = upload.source
        self.contents[upload.path] = source if isinstance(source, bytes) else source.read()

    def make_folder(self, path: str, *, exist_ok: bool) -> None:
        if path in self.contents and (not exist_ok or self.contents[path] is not None):
            raise FileExistsError(errno.EEXIST, "already exists", path)
        parts = path.split("/")
        for above in ("/".join(parts[:count]) for count in range(1, len(parts))):
            if self.contents.setdefault(above, None) is not None:
                raise NotADirectoryError(errno.ENOTDIR, "not a folder", above)
        self.contents[path] = None

    def delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        for path in paths:
            if self._get(path) is None and not recursive:
                raise IsADirectoryError(errno.EISDIR, "is a folder", path)
        for name in list(self.contents):
            if any(name == path or name.startswith(f"{path}/") for path in paths):
                del self.contents[name]


class DictFileSystem(RemoteFileSystem):
    """A filesystem over a `DictBackend`."""

    protocol = "kept"
    service = Service("kept", ("kept",), "http://kept.invalid")
    cachable = False

    def _connect(self, credentials: Credentials, url: Callable[[str], str]) -> Any:
        return DictBackend()
