"""The repovizz2 HTTP API, version 1.0: one method for each endpoint."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rinofs.datapack.links import REPOVIZZ
from rinofs.errors import ProtocolError, ServiceError
from rinofs.http.connection.response import etag_header
from rinofs.http.content.content import Content
from rinofs.protocol.digests import BLAKE3, best_digest
from rinofs.protocol.extensions import (
    IDEMPOTENCY_KEY,
    REPOVIZZ_EXTENSIONS,
    RepovizzExtension,
    extensions_in,
)
from rinofs.repovizz.records import Account, Datapack, parse_account, parse_datapack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.datapack import Document
    from rinofs.http.connection.response import Response
    from rinofs.http.content.upload import UploadBody
    from rinofs.http.session.session import HttpSession

_API = "/api/v1.0/"
_DATAPACKS = f"{_API}datapacks"

MISSING = frozenset({404, 405, 501})
"""Statuses of responses to requests for an endpoint that a server does not have."""


class Features:
    """What is known about a server; shared by all filesystem objects of an endpoint.

    Each attribute is replaced as a whole, so no lock is needed.

    Attributes
    ----------
    extensions : frozenset of str
        Extensions of the published API, from the last response.
    lacking : frozenset of str
        What this server is known not to support: ``list``, ``sizes``, ``delete``.
    sha1 : bool
        Whether the server is known to use SHA-1 as hash of contents.
    """

    def __init__(self) -> None:
        self.extensions: frozenset[str] = frozenset()
        self.lacking: frozenset[str] = frozenset()
        self.sha1 = False

    def observe(self, status: int, headers: Mapping[str, str]) -> None:  # noqa: ARG002 - as sessions call it
        """Read the server's extensions from a response."""
        named = headers.get(REPOVIZZ_EXTENSIONS)
        if named is not None:
            self.extensions = extensions_in(named)
            self.sha1 = self.sha1 or RepovizzExtension.SHA1 in self.extensions

    @property
    def repeats(self) -> bool:
        """Whether the server carries out a request with an ``Idempotency-Key`` only once."""
        return RepovizzExtension.IDEMPOTENCY in self.extensions

    @property
    def stores(self) -> bool:
        """Whether the server accepts contents that no node links to yet."""
        return RepovizzExtension.STORE in self.extensions

    @property
    def digest(self) -> str | None:
        """Name of the digest that uploads can end with, beside the service's own SHA-1, or None."""
        return best_digest([BLAKE3]) if RepovizzExtension.BLAKE3 in self.extensions else None

    def lacks(self, what: str) -> None:
        """Record that the server does not support something."""
        self.lacking |= {what}


class RepovizzClient:
    """Sends requests to a repovizz2 server.

    Parameters
    ----------
    session : HttpSession
        Sends the requests.
    features : Features
        What is known about the server.
    """

    def __init__(self, session: HttpSession, features: Features) -> None:
        self.session = session
        self.features = features

    def account(self) -> Account:
        """Return the current user."""
        answer = self.session.request("GET", f"{_API}user", repeatable=True)
        return parse_account(answer.json(), answer.url)

    # Reads

    def datapacks(self, name: str | None = None) -> list[Datapack] | None:
        """Return the user's datapacks.

        Parameters
        ----------
        name : str, optional
            Return at least the datapack with this name; servers without a search return all.

        Returns
        -------
        list of Datapack or None
            None if the server cannot list datapacks.
        """
        if "list" in self.features.lacking:
            return None
        params = None if name is None else {"name": name}
        try:
            answer = self.session.request("GET", _DATAPACKS, params=params, repeatable=True)
        except ServiceError as error:
            if error.status not in MISSING:
                raise
            self.features.lacks("list")
            return None
        body = answer.json()
        items = body.get("items") if isinstance(body, dict) else body
        if not isinstance(items, list):
            raise ProtocolError("not a list of datapacks; is this a repovizz2 server?", answer.url)
        if not all(isinstance(item, dict) and "structure" in item for item in items):
            self.features.lacks("list")  # the response is incomplete
            return None
        return [parse_datapack(item, _etag_in(item), answer.url) for item in items]

    def datapack(self, identifier: str, known: Datapack | None, label: str) -> Datapack:
        """Return a datapack.

        Parameters
        ----------
        identifier : str
            Id of the datapack.
        known : Datapack, optional
            An earlier state, returned if it is still current.
        label : str
            Name of the datapack for messages.

        Raises
        ------
        NotAllowedError
            If it does not exist or belongs to another user.
        """
        etag = known.etag if known is not None else None
        headers = {"If-None-Match": f'"{etag}"'} if etag else None
        answer = self.session.request(
            "GET",
            _path(identifier),
            headers=headers,
            repeatable=True,
            expect={200, 304} if etag else {200},
            label=label,
        )
        if answer.status == 304:
            assert known is not None
            return known
        return parse_datapack(answer.json(), etag_header(answer.headers), answer.url)

    def sizes(self, identifier: str, label: str) -> dict[str, int]:
        """Return the sizes of a datapack's contents in bytes by link, as far as the server reports them."""
        answer = self.session.request("GET", f"{_path(identifier)}/content", repeatable=True, label=label)
        body = answer.json()
        if not isinstance(body, dict):
            raise ProtocolError("not a list of contents; is this a repovizz2 server?", answer.url)
        found = {link: node.get("size") for link, node in body.items() if isinstance(node, dict)}
        return {link: size for link, size in found.items() if type(size) is int and size >= 0}

    def content(self, identifier: str, content_hash: str, label: str, size: int | None = None) -> Content:
        """Return a content; its hash identifies it, so it never changes."""
        return Content(
            f"{_path(identifier)}/content/{quote(content_hash, safe='')}",
            (),
            label,
            size=size,
            etag=content_hash,
            version_of=lambda _headers: content_hash,
        )

    # Changes

    def create(self, name: str, owner: int | str, document: Document, label: str) -> Datapack:
        """Create a datapack.

        Raises
        ------
        ConflictError
            If the user has another one with this name.
        """
        body = {"name": name, "owner": owner, "structure": document.to_json()}
        answer = self._post(_DATAPACKS, body, {}, label)
        made = answer.json()
        item = made.get("item", made) if isinstance(made, dict) else made
        return parse_datapack(item, etag_header(answer.headers), answer.url)

    def edit(
        self, datapack: Datapack, label: str, *, name: str | None = None, document: Document | None = None
    ) -> str | None:
        """Change the name or the document of a datapack, or both, if its state is still the known one.

        Returns
        -------
        str or None
            Etag of the new state, if the server reports it.

        Raises
        ------
        PreconditionError
            If its state has changed and the server supports conditional edits.
        """
        body: dict[str, Any] = {} if name is None else {"name": name}
        if document is not None:
            body["structure"] = document.to_json()
        answer = self._post(_path(datapack.id), body, _only_as_known(datapack), label)
        return etag_header(answer.headers)

    def delete(self, identifier: str, label: str) -> None:
        """Delete a datapack.

        Raises
        ------
        NotImplementedError
            If the server cannot delete datapacks.
        """
        refusal = NotImplementedError(
            f"{label}: this server cannot delete datapacks; delete what is in it, or ask the administrator"
        )
        if "delete" in self.features.lacking:
            raise refusal
        try:
            self.session.request("DELETE", _path(identifier), repeatable=False, label=label)
        except ServiceError as error:
            if error.status not in MISSING:
                raise
            self.features.lacks("delete")
            raise refusal from None

    def store(self, datapack: Datapack, body: UploadBody, label: str) -> str:
        """Upload a content that no node links to yet, if the server supports that.

        Parameters
        ----------
        datapack : Datapack
            Datapack that the content belongs to.
        body : UploadBody
            Content.
        label : str
            Name of the content for messages.

        Returns
        -------
        str
            Hash of the content, which is kept for a limited time until a node links to it.
        """
        answer = self.session.upload(f"{_path(datapack.id)}/content", body, repeatable=True, label=label)
        return _hash_in(answer, label)

    def upload(self, datapack: Datapack, link: str, body: UploadBody, label: str) -> str:
        """Upload a content for the nodes with a link.

        Parameters
        ----------
        datapack : Datapack
            Datapack of the nodes.
        link : str
            Link of the nodes.
        body : UploadBody
            Content.
        label : str
            Name of the content for messages.

        Returns
        -------
        str
            Hash of the content; the nodes link to it from now on.

        Raises
        ------
        NotFoundError
            If no node has this link.
        """
        path = f"{_path(datapack.id)}/content/{quote(link, safe='/:')}"
        answer = self.session.upload(
            path, body, headers=self._once(), repeatable=self.features.repeats, label=label
        )
        return _hash_in(answer, label)

    def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], label: str) -> Response:
        return self.session.request(
            "POST",
            path,
            json=body,
            headers={**self._once(), **headers},
            repeatable=self.features.repeats,
            label=label,
        )

    def _once(self) -> dict[str, str]:
        return {IDEMPOTENCY_KEY: secrets.token_hex(16)} if self.features.repeats else {}


def _path(identifier: str) -> str:
    return f"{_DATAPACKS}/{quote(identifier, safe='')}"


def _only_as_known(datapack: Datapack) -> dict[str, str]:
    return {"If-Match": f'"{datapack.etag}"'} if datapack.etag else {}


def _hash_in(answer: Response, label: str) -> str:
    made = answer.json()
    found = made.get("id") if isinstance(made, dict) else None
    if not isinstance(found, str) or not found:
        raise ProtocolError("the response to the upload has no content hash", label)
    return found.removeprefix(REPOVIZZ)


def _etag_in(item: Mapping[str, Any]) -> str | None:
    etag = item.get("etag")
    return etag if isinstance(etag, str) and etag else None
