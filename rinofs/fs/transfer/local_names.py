"""Local names for remote names that the local system does not allow."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LocalNames", "NameRules", "local_paths", "refuse_same"]

_MAX_BYTES = 255
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_REFUSED_BY_WINDOWS = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_REFUSED = re.compile(r"[/\x00]")


@dataclass(frozen=True, slots=True)
class NameRules:
    """Rules for file names on a local filesystem.

    Attributes
    ----------
    windows : bool
        Whether the rules of Windows apply
        (https://learn.microsoft.com/windows/win32/fileio/naming-a-file#naming-conventions).
    folds_case : bool
        Whether names that differ only in case or in the encoding of accents are the same name.
    normalizes : bool
        Whether names that differ only in the encoding of accents (Unicode normalization) are the same name.
    """

    windows: bool
    folds_case: bool
    normalizes: bool = False

    @classmethod
    def of(cls, folder: Path) -> NameRules:
        """Find out the rules for `folder`, which need not exist yet, by creating files."""
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        try:
            with tempfile.NamedTemporaryFile(prefix=".rinofs-Case-\u00e9-", dir=folder) as probe:
                made = Path(probe.name)
                folds = made.with_name(made.name.swapcase()).exists()
                normalizes = made.with_name(unicodedata.normalize("NFD", made.name)).exists()
        except OSError as error:  # without a cause, which names a temporary file
            raise OSError(error.errno, error.strerror, str(folder)) from None
        except UnicodeEncodeError:  # the filesystem encoding has no accents
            return cls(windows=os.name == "nt", folds_case=True, normalizes=True)
        return cls(windows=os.name == "nt", folds_case=folds, normalizes=normalizes)

    def can_hold(self, name: str) -> bool:
        """Return whether a file can have this name."""
        try:
            length = len(name.encode())
        except UnicodeEncodeError:
            return False
        if name in {"", ".", ".."} or length > _MAX_BYTES or _REFUSED.search(name):
            return False
        if not self.windows:
            return True
        return not (_REFUSED_BY_WINDOWS.search(name) or _RESERVED.fullmatch(name) or name[-1] in " .")

    def key(self, name: str) -> str:
        """Return a key that is equal for two names if the filesystem treats them as the same name."""
        if not (self.folds_case or self.normalizes):
            return name
        plain = unicodedata.normalize("NFC", name)
        # Upper and lower case, since filesystems fold in either direction.
        return unicodedata.normalize("NFC", plain.upper().casefold()) if self.folds_case else plain

    def substitute(self, name: str, attempt: int = 0) -> str:
        """Return an allowed name for one that is not allowed.

        The result is the same for each download: the allowed characters of the name, ``~``, a digest of the
        whole name, and the extension.
        """
        digest = hashlib.sha256(f"{attempt or ''}{name}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
        refused = _REFUSED_BY_WINDOWS if self.windows else _REFUSED
        plain = refused.sub("_", name.encode("utf-8", "replace").decode())
        suffix = PurePosixPath(plain).suffix
        if len(suffix.encode()) > 20 or (self.windows and suffix[-1:] in {" ", "."}):
            suffix = ""
        stem = plain.removesuffix(suffix) if suffix else plain
        room = _MAX_BYTES - len(f"~{digest}{suffix}".encode())
        if self.windows and _RESERVED.fullmatch(stem):
            stem = f"_{stem}"
        stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .")
        return f"{stem}~{digest}{suffix}"


@dataclass
class LocalNames:
    """Assign to each remote path a local path, no two of them the same.

    Attributes
    ----------
    rules : NameRules
        Rules for names.
    renamed : dict of str to str
        Paths that had to be changed, with their local paths.
    """

    rules: NameRules
    renamed: dict[str, str] = field(default_factory=dict)
    _taken: dict[str, dict[str, str]] = field(default_factory=dict)
    _given: dict[str, str] = field(default_factory=dict)

    def path(self, relative: str) -> str:
        """Return the local path for a relative remote path; always the same for the same path."""
        if not relative:
            return ""
        if relative not in self._given:
            parent, _, name = relative.rpartition("/")
            folder = self.path(parent)
            local = self._name(folder, name)
            self._given[relative] = f"{folder}/{local}" if folder else local
            if local != name:
                self.renamed[relative] = self._given[relative]
        return self._given[relative]

    def _name(self, folder: str, name: str) -> str:
        taken = self._taken.setdefault(folder, {})
        candidate, attempt = name, 0
        while not self.rules.can_hold(candidate) or taken.get(self.rules.key(candidate), name) != name:
            candidate = self.rules.substitute(name, attempt)
            attempt += 1
        taken[self.rules.key(candidate)] = name
        return candidate


def local_paths(paths: Sequence[str], folder: str) -> list[str]:
    """Return allowed local paths for local paths whose names below a folder come from a service.

    Parameters
    ----------
    paths : sequence of str
        Local paths, separated by slashes; paths that are not below the folder are not changed.
    folder : str
        Folder; it need not exist yet.
    """
    root = f"{folder.rstrip('/')}/"
    relative = [path.removeprefix(root) if path.startswith(root) else "" for path in paths]
    if _are_plain(relative):
        return list(paths)
    names = LocalNames(NameRules.of(Path(folder)))
    return [root + names.path(name) if name else path for path, name in zip(paths, relative, strict=True)]


def refuse_same(targets: Sequence[str]) -> None:
    """Refuse local paths of which two are the same file.

    Raises
    ------
    FileExistsError
        If two are the same: one file would overwrite the other.
    """
    strictest = NameRules(windows=os.name == "nt", folds_case=True)
    alike: dict[str, list[str]] = {}
    for target in targets:
        alike.setdefault(strictest.key(target), []).append(target)
    for some in alike.values():
        if len(some) > 1:
            rules = NameRules.of(Path(some[0]).parent)
            if len({rules.key(target) for target in some}) < len(some):
                problem = "another file to download has the same name here; choose another target"
                raise FileExistsError(errno.EEXIST, problem, some[1])


def _are_plain(relative: Sequence[str]) -> bool:
    """Return whether paths are allowed on every filesystem, without looking at the target."""
    strictest = NameRules(windows=os.name == "nt", folds_case=True)
    parts = {name for path in relative for name in path.split("/") if path}
    if not all(map(strictest.can_hold, parts)):
        return False
    prefixes: set[str] = set()
    for path in relative:
        while path and path not in prefixes:
            prefixes.add(path)
            path = path.rpartition("/")[0]
    return len({strictest.key(path) for path in prefixes}) == len(prefixes)
