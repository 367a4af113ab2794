"""One session per process, endpoint and identity: every request of rinofs goes through here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rinofs.http.answers import Answer
    from rinofs.http.auth import Auth
    from rinofs.http.raw import RawAnswer
    from rinofs.http.upload import UploadBody

Params = Mapping[str, str | int] | Sequence[tuple[str, str]]


class HttpSession:
    """HTTP to one endpoint as one user.

    Parameters
    ----------
    endpoint_url : str
        Base of every path, ``https://host[:port][/prefix]``.
    auth : Auth
        Gives the ``Authorization`` header; sent to no other origin.
    timeout : float
        Seconds that an answer may be silent.
    max_concurrency : int
        Connections in use at a time.
    headers : Mapping, optional
        Sent with every request to the endpoint.
    """

    def __init__(
        self,
        endpoint_url: str,
        auth: Auth,
        *,
        timeout: float = 30.0,
        max_concurrency: int = 8,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        raise NotImplementedError

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Mapping[str, str] | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool,
        expect: Collection[int] | None = None,
        label: str = "",
    ) -> Answer:
        """Send a request and read the whole answer.

        Parameters
        ----------
        method, path : str
            The path is below the endpoint, percent-encoded.
        json : object, optional
            Body, sent as JSON.
        data : Mapping, optional
            Body, sent as a form.
        params, headers : optional
            Query and further headers.
        repeatable : bool
            Whether doing it twice is the same as once; such requests are sent again after failures.
        expect : collection of int, optional
            Statuses that are returned; 2xx by default. Others raise.
        label : str
            What the request is about, for messages.

        Raises
        ------
        ServiceError
            If the service refused; a subclass says how.
        OutcomeUnknownError
            If the request is not repeatable and no answer says whether it was carried out.
        ConnectionFailedError, DeadlineError, ProtocolError
            If no (usable) answer came.
        """
        raise NotImplementedError

    def upload(
        self,
        path: str,
        body: UploadBody,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
        expect: Collection[int] | None = None,
        label: str = "",
    ) -> Answer:
        """POST a body that is sent as it is read."""
        raise NotImplementedError

    def stream(
        self,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        expect: Collection[int] = (200, 206),
        label: str = "",
    ) -> RawAnswer:
        """Send a repeatable request and return as soon as its headers are there."""
        raise NotImplementedError

    def close(self) -> None:
        """Close idle connections; the session can be used further."""
        raise NotImplementedError
