"""Sends one request over one connection: urllib3's pools, as requests configures them.

Requests go to the pools directly, which costs less than half of what ``requests.Session`` does. A
proxy, or an adapter that was mounted on the session, takes the way through requests. Imported at the
first request only: requests is slow to import.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connectionpool import HTTPConnectionPool

from rinofs.http.connection.direct import request_head
from rinofs.http.connection.paced import POOL_CLASSES, DirectPool
from rinofs.http.session.retry import Fault, Limits, Unanswered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.http.connection.paced import DirectAnswer
    from rinofs.http.content.upload import UploadBody

_NO_RETRY = urllib3.Retry(total=False, redirect=False)
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# `Slots` bounds what is in use; a pool that is smaller than that would throw connections away.
_POOL_SIZE = 256


class PooledAdapter(HTTPAdapter):
    """requests' adapter with connections that notice a trickling peer."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools, with our connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pools behind a proxy, with our connections."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = POOL_CLASSES
        return manager

    def pool_for(self, url: str, verify: str | bool) -> HTTPConnectionPool:
        """Return the pool for a URL's origin, TLS settings and all."""
        request = requests.PreparedRequest()
        request.prepare_method("GET")
        request.prepare_url(url, None)
        pool: Any = self.get_connection_with_tls_context(request, verify)
        configure: Any = self.cert_verify
        configure(pool, url, verify, None)
        assert isinstance(pool, HTTPConnectionPool)
        return pool


@dataclass(frozen=True, slots=True)
class Sent:
    """What came back: status, headers, and urllib3's response to read the body from."""

    status: int
    headers: Mapping[str, str]
    raw: Any


class Transport:
    """The connections of one process to an endpoint, and to where it redirects.

    Attributes
    ----------
    session : requests.Session
        Holds the adapters; others may be mounted on it.
    """

    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False  # ~/.netrc would replace the Authorization header
        self._adapter = PooledAdapter(pool_maxsize=_POOL_SIZE, max_retries=0)
        self.session.mount("http://", self._adapter)
        self.session.mount("https://", self._adapter)
        self._verify = next((os.environ[v] for v in _CA_VARIABLES if os.environ.get(v)), True)
        self._pools: dict[str, HTTPConnectionPool | None] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | UploadBody | None,
        limits: Limits,
    ) -> Sent:
        """Send a request once and return its answer, whose body is still to be read.

        Raises
        ------
        Unanswered
            If none came.
        """
        origin, target = split_target(url)
        try:
            pool = self._pool(origin)
            if pool is None or self.session.get_adapter(url) is not self._adapter:
                return self._send_by_requests(method, url, headers, body, limits)
            answer = _send_directly(pool, method, origin, target, headers, body, limits)
            if answer is not None:
                return Sent(answer.status, answer.headers, answer)
            response = pool.urlopen(
                method,
                target,
                body=body,  # type: ignore[arg-type]
                headers=headers,
                retries=_NO_RETRY,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(connect=limits.connect, read=limits.silence),
                preload_content=False,
                decode_content=False,
            )
        except (
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            requests.RequestException,
            OSError,
        ) as error:
            raise unanswered(error, origin) from root_of(error)
        return Sent(response.status, response.headers, response)

    def close(self) -> None:
        """Close idle connections."""
        self.session.close()

    def _pool(self, origin: str) -> HTTPConnectionPool | None:
        """Return the pool for an origin, None where a proxy is between."""
        try:
            return self._pools[origin]
        except KeyError:
            pass
        pool = None
        if select_proxy(origin, get_environ_proxies(origin)) is None:
            pool = self._adapter.pool_for(origin, self._verify)
        self._pools[origin] = pool
        return pool

    def _send_by_requests(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | UploadBody | None,
        limits: Limits,
    ) -> Sent:
        # Not Session.send: it would follow redirects, keep cookies and look for credentials.
        request = requests.PreparedRequest()
        request.prepare_method(method)
        request.prepare_url(url, None)
        request.headers = CaseInsensitiveDict(headers)
        request.body = body  # type: ignore[assignment]
        if method not in {"GET", "HEAD"}:
            request.headers["Content-Length"] = str(len(body or b""))
        response = self.session.get_adapter(url).send(
            request,
            stream=True,
            timeout=(limits.connect, limits.silence),
            verify=self._verify,
            proxies=get_environ_proxies(url),
        )
        return Sent(response.status_code, response.headers, response.raw)


def _send_directly(
    pool: HTTPConnectionPool,
    method: str,
    origin: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | UploadBody | None,
    limits: Limits,
) -> DirectAnswer | None:
    """Send what is small over a connection that stands; None where that cannot be, and nothing was sent."""
    if not isinstance(pool, DirectPool) or not (body is None or isinstance(body, bytes)):
        return None
    head = request_head(method, origin, target, headers, body)
    return None if head is None else pool.send_directly(method, head + (body or b""), limits.silence)


def split_target(url: str) -> tuple[str, str]:
    """Split a URL into its origin and the rest."""
    slash = url.find("/", 8)
    return (url, "/") if slash < 0 else (url[:slash], url[slash:])


def root_of(error: BaseException) -> BaseException:
    """Return what is behind the wrappings of urllib3 and requests; those hold the request's headers."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (arg for arg in error.args if isinstance(arg, Exception)), None
        )
        if not isinstance(inner, Exception):
            return error
        error = inner


def _reason(root: BaseException) -> str:
    """Return why a try failed: in the system's words where it has some."""
    words = str(root).rpartition("): ")[2]
    from_system = re.search(r"\[Errno -?\d+\] ([^()]+)", words)
    return from_system[1].strip() if from_system else words or type(root).__name__


def unanswered(error: Exception, origin: str) -> Unanswered:
    """Say what a failed try means for the next one."""
    root = root_of(error)
    host = urlsplit(origin).netloc
    kinds = {type(error), type(root)}
    reason = _reason(root)

    def has(*wanted: type) -> bool:
        return any(issubclass(kind, wanted) for kind in kinds)

    if has(urllib3.exceptions.ProxyError, requests.exceptions.ProxyError):
        return Unanswered(Fault.NOT_SENT, f"the proxy for {host} did not connect ({reason})")
    is_cut_off = isinstance(root, ssl.SSLEOFError)  # which says nothing about trust
    if has(urllib3.exceptions.SSLError, requests.exceptions.SSLError) and not is_cut_off:
        advice = "name your certificates in REQUESTS_CA_BUNDLE"
        if "WRONG_VERSION_NUMBER" in reason:
            advice = f"what answers there does not speak https: is it http://{host}?"
        return Unanswered(Fault.UNTRUSTED, f"no trusted connection to {host} ({reason}); {advice}")
    if has(
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        requests.exceptions.ConnectTimeout,
    ):
        return Unanswered(
            Fault.NOT_SENT,
            f"could not connect to {host} ({reason}); is the server running, and is endpoint_url right?",
        )
    if has(TimeoutError, urllib3.exceptions.TimeoutError, requests.exceptions.Timeout):
        return Unanswered(Fault.SLOW, f"no answer from {host} in time")
    return Unanswered(Fault.LOST, f"the connection to {host} broke ({reason})")
