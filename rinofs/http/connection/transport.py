"""Sends one request over one connection: through urllib3's pools, as requests configures them.

Requests go to the pools directly, which takes less than half the time of ``requests.Session``; a proxy is
one more pool. An adapter that was mounted on the session is used through requests. Imported at the first
request only: requests is slow to import.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection

from rinofs.http.connection.http1 import CONNECTIONS
from rinofs.http.connection.limits import Fault, Limits, Unanswered
from rinofs.http.connection.response import StreamedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from urllib3.connectionpool import HTTPConnectionPool

_NO_RETRY = urllib3.Retry(total=False, redirect=False)
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# `Slots` bounds what is in use; a pool that is smaller than that would throw connections away.
_POOL_SIZE = 256
_USUAL = (HTTPConnection, HTTPSConnection)


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
        self._adapter = HTTPAdapter(pool_maxsize=_POOL_SIZE, max_retries=0)
        self.session.mount("http://", self._adapter)
        self.session.mount("https://", self._adapter)
        self._verify = next((os.environ[v] for v in _CA_VARIABLES if os.environ.get(v)), True)
        self._pools: dict[str, tuple[HTTPConnectionPool, bool]] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview] | None,
        limits: Limits,
        *,
        label: str,
        on_close: Callable[[], None],
    ) -> StreamedResponse:
        """Send a request once and return its response, whose body is still to be read.

        Parameters
        ----------
        method, url, headers, body
            The request; a body that is not bytes is announced by its ``Content-Length``.
        limits : Limits
            How long it may take.
        label : str
            What the request is about, for messages.
        on_close : callable
            Called once, when the connection is no longer used.

        Raises
        ------
        Unanswered
            If there was no response. `on_close` is not called then.
        """
        origin, target = split_target(url)
        try:
            if self.session.get_adapter(url) is self._adapter:
                pool, forwarded = self._pools.get(origin) or self._pool(origin)
                raw: Any = pool.urlopen(
                    method,
                    url if forwarded else target,
                    body=body,  # type: ignore[arg-type]
                    headers=headers,
                    retries=_NO_RETRY,
                    redirect=False,
                    assert_same_host=False,
                    timeout=urllib3.Timeout(connect=limits.connect, read=limits.silence),
                    preload_content=False,
                    decode_content=False,
                )
                status, answered = raw.status, raw.headers
            else:
                response = self._send_by_requests(method, url, headers, body, limits)
                raw, status, answered = response.raw, response.status_code, response.headers
        except (
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            requests.RequestException,
            OSError,
        ) as error:
            raise unanswered(error, origin) from root_of(error)
        return StreamedResponse(raw, status, answered, method=method, url=url, label=label, on_close=on_close)

    def close(self) -> None:
        """Close idle connections."""
        self.session.close()

    def _pool(self, origin: str) -> tuple[HTTPConnectionPool, bool]:
        """Return the pool for an origin, and whether it belongs to a proxy that wants whole URLs."""
        request = requests.PreparedRequest()
        request.prepare_method("GET")
        request.prepare_url(origin, None)
        proxies = get_environ_proxies(origin)
        pool: Any = self._adapter.get_connection_with_tls_context(request, self._verify, proxies=proxies)
        configure: Any = self._adapter.cert_verify
        configure(pool, origin, self._verify, None)
        if pool.ConnectionCls in _USUAL:  # not behind a SOCKS proxy
            pool.ConnectionCls = CONNECTIONS[pool.scheme]
        proxy = select_proxy(origin, proxies)
        forwarded = proxy is not None and not proxy.startswith("socks") and not origin.startswith("https:")
        self._pools[origin] = pool, forwarded
        return pool, forwarded

    def _send_by_requests(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview] | None,
        limits: Limits,
    ) -> requests.Response:
        # Not Session.send: it would follow redirects, keep cookies and look for credentials.
        request = requests.PreparedRequest()
        request.prepare_method(method)
        request.prepare_url(url, None)
        request.headers = CaseInsensitiveDict(headers)
        request.body = body  # type: ignore[assignment]
        if method not in {"GET", "HEAD"} and "Content-Length" not in request.headers:
            assert body is None or isinstance(body, bytes)
            request.headers["Content-Length"] = str(len(body or b""))
        return self.session.get_adapter(url).send(
            request,
            stream=True,
            timeout=(limits.connect, limits.silence),
            verify=self._verify,
            proxies=get_environ_proxies(url),
        )


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
