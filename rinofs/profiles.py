"""Stored logins, in a file that only its owner can read and several processes can change safely."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import stat
import tempfile
import threading
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import platformdirs

from rinofs.endpoints import check_endpoint, same_endpoint
from rinofs.errors import CredentialsError, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DEFAULT_PROFILE", "SERVICES", "Profile", "ProfileStore", "check_profile_name"]

DEFAULT_PROFILE = "default"
"""Name of the default profile."""

SERVICES = ("rino", "repovizz")
_FORMAT = 1
_LOCK_TIMEOUT = 120.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_log = logging.getLogger("rinofs")

_Entries: TypeAlias = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Profile:
    """A stored login, for one endpoint only.

    Attributes
    ----------
    service : str
        ``rino`` or ``repovizz``.
    name : str
        Name of the profile; the default is ``default``.
    endpoint_url : str
        Server that issued the token, which is sent to no other server.
    username : str or None
        Owner of the token, if the server reported it.
    token : str
        API or access token. No secret is in the repr, and a profile cannot be pickled.
    refresh_token : str or None
        Used to get a new token.
    expires_at : float or None
        Expiry of the token in Unix seconds; None if it does not expire.
    client_id, client_secret : str or None
        OAuth client that the token was issued to.

    Raises
    ------
    InvalidOptionError
        If the service is unknown, the name is not 1 to 64 letters, digits, ``.``, ``_``, ``@`` or ``-``, the
        endpoint is not an http or https URL, or the token is empty.
    """

    service: str
    name: str
    endpoint_url: str
    username: str | None = None
    token: str = field(default="", repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_service(self.service)
        check_profile_name(self.name)
        if not self.token:
            raise InvalidOptionError(f"the profile {self.name!r} has no token")
        check_endpoint(self.endpoint_url)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a profile cannot be pickled: it holds secrets; load it where it is needed")

    def is_for(self, endpoint_url: str) -> bool:
        """Return whether the token may be sent to `endpoint_url`."""
        return same_endpoint(self.endpoint_url, endpoint_url)


class ProfileStore:
    """The file of stored logins.

    Reading needs no lock, since the file is only replaced as a whole.

    Parameters
    ----------
    path : Path, optional
        The file. By default ``profiles.json`` in the folder ``RINOFS_CONFIG_DIR``, or else in the system's
        folder for user settings.
    """

    def __init__(self, path: Path | None = None) -> None:
        # Keep symbolic links, which dotfile managers create: replace the file that they lead to.
        self.path = Path(os.path.realpath(path if path is not None else _default_path()))
        self._mine = threading.local()

    def load(self, service: str, name: str | None = None) -> Profile | None:
        """Return the profile `name` (by default ``default``), or None.

        Raises
        ------
        CredentialsError
            If the file cannot be read or is not valid.
        """
        _check_service(service)
        chosen = DEFAULT_PROFILE if name is None else name
        entry = self._profiles(self._read()).get(service, {}).get(chosen)
        return None if entry is None else self._profile(service, chosen, entry)

    def names(self, service: str) -> list[str]:
        """Return the names of the profiles of `service`, sorted."""
        _check_service(service)
        return sorted(self._profiles(self._read()).get(service, {}))

    def save(self, profile: Profile) -> None:
        """Store `profile`, replacing an earlier one with the same name; all others are kept.

        Raises
        ------
        CredentialsError
            If the file is not valid. It is not changed then.
        """
        values = {f.name: getattr(profile, f.name) for f in fields(profile)}
        entry = {k: v for k, v in values.items() if v is not None and k not in {"service", "name"}}
        with self.locked():
            document = self._read()
            self._profiles(document).setdefault(profile.service, {})[profile.name] = entry
            self._write(document)

    def remove(self, service: str, name: str) -> bool:
        """Delete a profile; returns whether it existed."""
        _check_service(service)
        with self.locked():
            document = self._read()
            removed = self._profiles(document).get(service, {}).pop(name, None) is not None
            if removed:
                self._write(document)
        return removed

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file against changes by other threads and processes.

        For operations that must not happen twice, such as using a refresh token: inside the context, load the
        profile, check whether another process was faster, and save. The lock is reentrant.

        Raises
        ------
        CredentialsError
            If the lock cannot be taken.
        """
        depth = getattr(self._mine, "depth", 0)
        with contextlib.ExitStack() as stack:
            if depth == 0:
                stack.enter_context(self._file_lock())
            self._mine.depth = depth + 1
            try:
                yield
            finally:
                self._mine.depth = depth

    @contextlib.contextmanager
    def _file_lock(self) -> Iterator[None]:
        import filelock  # takes longer to import than everything else, and most programs change no profile

        lock = filelock.FileLock(f"{self.path}.lock", timeout=_LOCK_TIMEOUT, mode=0o600)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout as error:
            message = (
                f"cannot change profiles: another process has held the lock for over {_LOCK_TIMEOUT:g} s"
            )
            raise CredentialsError(message, str(self.path)) from error
        except (OSError, NotImplementedError) as error:
            what = getattr(error, "strerror", None) or "the file cannot be locked"
            hint = "is RINOFS_CONFIG_DIR a folder on a local disk that can be written?"
            raise CredentialsError(f"cannot change profiles: {what}; {hint}", str(self.path)) from error
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> dict[str, Any]:
        try:
            text = self.path.read_text("utf-8")
            self._warn_if_open_to_others()
        except FileNotFoundError:
            return {"version": _FORMAT, "profiles": {}}
        except UnicodeDecodeError:
            self._damaged("it is not text")
        except OSError as error:
            raise CredentialsError(f"cannot read profiles: {error.strerror}", str(self.path)) from error
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            # json's message contains no text of the file, and therefore no secret.
            where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its values"
            self._damaged(f"it is not JSON ({where})")
        if not isinstance(document, dict) or document.get("version") != _FORMAT:
            self._damaged("it is not of this version of rinofs")
        return document

    def _profiles(self, document: dict[str, Any]) -> _Entries:
        profiles = document.get("profiles")
        if not isinstance(profiles, dict) or not all(isinstance(named, dict) for named in profiles.values()):
            self._damaged("it holds no profiles")
        return profiles

    def _profile(self, service: str, name: str, entry: Mapping[str, Any]) -> Profile:
        known = {f.name for f in fields(Profile)} - {"service", "name"}
        try:
            values = {key: value for key, value in entry.items() if key in known}
            _check_values(values)
            profile = Profile(service, name, **values)
        except (TypeError, ValueError, AttributeError):
            profile = None  # raised below, without this error as its context: it may contain a secret
        if profile is None:
            self._damaged(f"the {service} profile {name!r} is not complete")
        return profile

    def _damaged(self, why: str) -> NoReturn:
        raise CredentialsError(
            f"cannot read the stored logins: {why}; nothing was changed; "
            "repair the file, or move it away and log in again",
            str(self.path),
        )

    def _warn_if_open_to_others(self) -> None:
        if os.name == "posix" and stat.S_IMODE(self.path.stat().st_mode) & 0o077:
            _log.warning("other users may read the tokens in %s: run chmod 600 on it", self.path)

    def _write(self, document: Mapping[str, Any]) -> None:
        """Replace the file. The lock is held, so any other temporary file is left from a crash."""
        prefix = f".{self.path.name}-"
        for left_behind in self.path.parent.glob(f"{prefix}*.tmp"):
            left_behind.unlink(missing_ok=True)
        try:
            descriptor, temporary = tempfile.mkstemp(".tmp", prefix, self.path.parent)  # O_EXCL, 0600
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(document, file, indent=2)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _sync_folder(self.path.parent)
        except OSError as error:
            raise CredentialsError(f"cannot store profiles: {error.strerror}", str(self.path)) from error


def check_profile_name(name: str) -> None:
    """Raise an error for an invalid name of a profile.

    Raises
    ------
    InvalidOptionError
        If it is not 1 to 64 letters, digits, ``.``, ``_``, ``@`` or ``-``, the first a letter or digit.
    """
    if not _NAME.fullmatch(name):
        raise InvalidOptionError(
            f"invalid profile name {name!r}; use 1 to 64 letters, digits, '.', '_', '@' or '-'"
        )


def _default_path() -> Path:
    folder = os.environ.get("RINOFS_CONFIG_DIR")
    return Path(folder or platformdirs.user_config_dir("rinofs", appauthor=False)) / "profiles.json"


def _check_service(service: str) -> None:
    if service not in SERVICES:
        raise InvalidOptionError(f"unknown service {service!r}; choose one of {', '.join(SERVICES)}")


def _check_values(values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        kinds = (int, float) if key == "expires_at" else (str,)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise TypeError(key)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
