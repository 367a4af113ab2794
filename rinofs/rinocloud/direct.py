"""Read contents directly from a server's object store (extension ``direct``).

The server returns an address that is valid for some minutes, and vouches for the version and the digests. An
expired address is renewed, even in the middle of a content. After any other failure of the store, the rest is
read from the server itself.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from rinofs.errors import InvalidOptionError, RinofsError
from rinofs.fs.files.reader import RemoteSource, Sequential
from rinofs.fs.process import Registry
from rinofs.http.connection.response import etag_header
from rinofs.http.content.content import Content
from rinofs.http.content.slices import read_content
from rinofs.http.session.session import HttpSession
from rinofs.protocol.digests import DIGESTS, repr_digest
from rinofs.protocol.extensions import REPR_DIGEST
from rinofs.protocol.limits import MAX_BUNDLED_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.options import Options

__all__ = ["DirectReads", "DirectSource"]

Result = TypeVar("Result")

_RENEWED_BEFORE = 30.0  # seconds before an address expires
_REFUSED = frozenset({400, 401, 403, 404})  # expired address, or moved object
_UNREACHABLE_FOR = 60.0  # seconds for which an unreachable store is not tried again
_FEW = 64 * 1024
"""Maximum size in bytes of a range that is read from the server while its address in the store is unknown."""


class _NoAuth:
    """No authorization: a signed address contains its own."""

    def header(self) -> str:
        return ""

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - the protocol's signature
        return False


class _Unsigned(logging.Filter):
    """Redacts signatures in urllib3's log: anyone who has one can read the content."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                _SIGNATURE.sub(r"\1***", value) if isinstance(value, str) else value for value in record.args
            )
        return True


_SIGNATURE = re.compile(r"((?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token)=)[^&\s]*")
logging.getLogger("urllib3.connectionpool").addFilter(_Unsigned())

_sessions: Registry[HttpSession] = Registry()


@dataclass(frozen=True, slots=True)
class _StoreContent(Content):
    """A content in the store; its parameters are as good as a password, so they are not shown."""

    def __repr__(self) -> str:
        return f"_StoreContent({self.label!r})"


@dataclass(frozen=True, slots=True)
class _Grant:
    """Where a version can be read, and until when."""

    session: HttpSession
    content: Content
    until: float
    renewed: bool = False


class DirectReads:
    """Remembers where recently requested versions of contents are.

    Parameters
    ----------
    ask : callable
        Takes the id of a record and a name for messages, and returns the server's answer.
    options : Options
        Timeouts and limits.
    """

    def __init__(self, ask: Callable[[int, str], Mapping[str, Any]], options: Options) -> None:
        self._ask = ask
        self._options = options
        self._grants: dict[str, _Grant] = {}
        self._none_until = 0.0

    def known(self, key: str) -> _Grant | None:
        """Return where a version can be read, if that is known without a request."""
        grant = self._grants.get(key)
        return grant if grant is not None and time.monotonic() < grant.until else None

    def find(self, source: DirectSource) -> _Grant | None:
        """Return where a version can be read; None if it must be read from the server."""
        grant = self.known(source.key)
        if grant is not None or time.monotonic() < self._none_until:
            return grant
        try:
            grant = self._new(self._ask(source.number, source.content.label), source)
        except RinofsError:
            return None  # if the error concerns the content, reading it from the server raises it again
        if grant is not None:
            self._forget_expired()
            self._grants[source.key] = grant
        return grant

    def forget(self, key: str, *, unreachable: bool) -> None:
        """Forget the address of a version and, if `unreachable`, avoid the store for a while."""
        self._grants.pop(key, None)
        if unreachable:
            self._none_until = time.monotonic() + _UNREACHABLE_FOR

    def _elsewhere(
        self, source: DirectSource, content: Content, error: RinofsError
    ) -> tuple[HttpSession, Content]:
        """Return where to continue reading a version whose `content` in the store has become unreadable."""
        grant = self._grants.get(source.key)
        if grant is not None and grant.content.params == content.params:
            is_refused = getattr(error, "status", None) in _REFUSED
            may_have_expired = not grant.renewed or time.monotonic() > grant.until
            self.forget(source.key, unreachable=not (is_refused and may_have_expired))
            grant = self.find(source)
            if grant is not None:
                grant = self._grants[source.key] = replace(grant, renewed=True)
        # Otherwise another thread already has a new address, or knows that there is none.
        return (source.session, source.content) if grant is None else (grant.session, grant.content)

    def _forget_expired(self) -> None:
        now = time.monotonic()
        self._grants = {key: grant for key, grant in self._grants.items() if now < grant.until}

    def _new(self, answer: Mapping[str, Any], source: DirectSource) -> _Grant | None:
        content = source.content
        url, etag, seconds = answer.get("url"), answer.get("store_etag"), answer.get("expires_in")
        if not isinstance(url, str) or not isinstance(etag, str) or not isinstance(seconds, int):
            return None
        # Another version: reading from the server raises the error.
        if answer.get("etag") != content.etag or answer.get("size") != content.size:
            return None
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        timeout, most = self._options.timeout, self._options.max_concurrency
        try:
            session = _sessions.get(
                (origin, timeout, most),
                lambda: HttpSession(origin, _NoAuth(), timeout=timeout, max_concurrency=most),
            )
        except InvalidOptionError:
            return None
        session.no_multiranges = True
        digests = {name: answer[name] for name in DIGESTS if isinstance(answer.get(name), str)}
        stored = _StoreContent(
            parts.path.lstrip("/"),
            tuple(parse_qsl(parts.query, keep_blank_values=True)),
            content.label,
            size=content.size,
            etag=etag,
            conditional=True,
            version_of=etag_header,
            vouched={REPR_DIGEST: repr_digest(digests)},
            elsewhere=partial(self._elsewhere, source),
        )
        return _Grant(session, stored, time.monotonic() + seconds - _RENEWED_BEFORE)


@dataclass(frozen=True, slots=True)
class DirectSource(RemoteSource):
    """A content that is read from the server's object store if possible.

    Attributes
    ----------
    number : int
        Id of the record.
    direct : DirectReads
        Knows the addresses in the store.
    """

    number: int = 0
    direct: DirectReads = field(kw_only=True, repr=False)

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as in a slice; verify them if they are the whole content."""
        return self._tried(
            lambda grant: read_content(grant.session, grant.content, start, stop, verify=self.verify),
            lambda: super(DirectSource, self).read(start, stop),
        )

    def load(self, start: int, stop: int) -> bytes:
        """Download the bytes [start, stop)."""
        if stop - start <= _FEW and self.direct.known(self.key) is None:
            return super(DirectSource, self).load(start, stop)
        return self._tried(
            lambda grant: read_content(grant.session, grant.content, start, stop),
            lambda: super(DirectSource, self).load(start, stop),
        )

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several ranges: small ones from the server in one request, others from the store."""
        if sum(stop - start for start, stop in spans) <= MAX_BUNDLED_FILE:
            return super(DirectSource, self).load_many(spans)
        return [self.load(start, stop) for start, stop in spans]

    def stream(self, start: int, before: Iterable[bytes | None]) -> Sequential:
        """Start a sequential download of everything from `start` on, after `before`."""
        return self._tried(
            lambda grant: Sequential.open(grant.session, grant.content, start, before, verify=self.verify),
            lambda: super(DirectSource, self).stream(start, before),
        )

    def whole(self) -> tuple[HttpSession, Content]:
        """Return the best place to read the whole content from."""
        grant = self.direct.find(self)
        return (self.session, self.content) if grant is None else (grant.session, grant.content)

    def elsewhere(self) -> RemoteSource | None:
        """Return the server itself as the source, after a failure in the store."""
        self.direct.forget(self.key, unreachable=True)
        return RemoteSource(self.session, self.content, self.key, self.verify)

    def _tried(self, there: Callable[[_Grant], Result], here: Callable[[], Result]) -> Result:
        """Read from the store, or from the server if that fails."""
        grant = self.direct.find(self)
        if grant is not None:
            try:
                return there(grant)
            except RinofsError:
                self.direct.forget(self.key, unreachable=True)
        return here()
