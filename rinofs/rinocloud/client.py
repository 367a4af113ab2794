"""The Rinocloud HTTP API: one method for each endpoint."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from rinofs.errors import NotFoundError, ProtocolError, ServiceError
from rinofs.http.connection.response import etag_header
from rinofs.http.content.content import Content
from rinofs.protocol.digests import BLAKE3, SHA256, best_digest, want_repr_digest
from rinofs.protocol.extensions import (
    IDEMPOTENCY_KEY,
    RINOCLOUD_EXTENSIONS,
    RINOCLOUD_RESULT,
    WANT_REPR_DIGEST,
    RinocloudExtension,
    extensions_in,
)
from rinofs.protocol.limits import CLIENT_PAGE, LARGEST_ID, MAX_JSON_BODY
from rinofs.rinocloud.children import Children
from rinofs.rinocloud.records import Record, all_pages, parse_page, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rinofs.http.connection.response import Response
    from rinofs.http.content.upload import UploadBody
    from rinofs.http.session.session import HttpSession
    from rinofs.rinocloud.records import Page

FILES = "/api/1/files/"

# Refusals also reveal whether the server has extensions, except statuses that a proxy or rate limiter may
# have sent in the server's place.
_TELLING = frozenset(range(200, 500)) - {401, 407, 408, 421, 425, 429}


NO_SUCH_ENDPOINT = frozenset({404, 405, 501})
"""Statuses of responses to requests for an endpoint that a server does not have."""

_EXTENSION_OF = {BLAKE3: RinocloudExtension.BLAKE3, SHA256: RinocloudExtension.DIGEST}


class Features:
    """What is known about a server; shared by all filesystem objects of an endpoint.

    Each attribute is replaced as a whole, so no lock is needed.

    Attributes
    ----------
    extensions : frozenset of str or None
        Extensions of the published API; None before the first response.
    lacking : frozenset of str
        Endpoints of the published API that this server is known not to have.
    """

    def __init__(self) -> None:
        self.extensions: frozenset[str] | None = None
        self.lacking: frozenset[str] = frozenset()
        self._said: tuple[str, frozenset[str]] = "", frozenset()

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Read the server's extensions from a response."""
        named = headers.get(RINOCLOUD_EXTENSIONS)
        if named is not None:
            said, extensions = self._said
            if named != said:
                extensions = extensions_in(named)
                self._said = named, extensions
            self.extensions = extensions
        elif status in _TELLING:
            # Even if it had some before: another server may have taken its place.
            self.extensions = frozenset()

    def has(self, extension: RinocloudExtension) -> bool:
        """Return whether the server is known to have an extension."""
        return self.extensions is not None and extension in self.extensions

    def may_have(self, extension: RinocloudExtension) -> bool:
        """Return whether an extended request is worth trying."""
        return self.extensions is None or extension in self.extensions

    @property
    def digest(self) -> str | None:
        """Name of the best digest that this server and this process have; None for a plain server."""
        return best_digest([name for name, extension in _EXTENSION_OF.items() if self.has(extension)])

    def lacks(self, endpoint: str) -> None:
        """Record that the server does not have an endpoint."""
        self.lacking |= {endpoint}


class RinocloudClient:
    """Sends requests to a Rinocloud server.

    Methods that take names use the server's extensions. They return None, and remember it, if the server
    turns out to have none.

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

    def _post(
        self,
        endpoint: str,
        body: Mapping[str, Any],
        *,
        repeatable: bool | Callable[[], bool],
        headers: Mapping[str, str] | None = None,
        label: str = "",
    ) -> Response:
        return self.session.request(
            "POST", f"{FILES}{endpoint}/", json=body, headers=headers, repeatable=repeatable, label=label
        )

    def _create(self, endpoint: str, body: Mapping[str, Any], label: str) -> Response:
        once, repeatable = self._once()
        return self._post(endpoint, body, repeatable=repeatable, headers=once, label=label)

    def _change(self, endpoint: str, body: Mapping[str, Any], label: str) -> Response:
        """Send a change that leads to the same state when it is repeated.

        With a key it is made once: a repeated one could otherwise undo what another client did meanwhile.
        """
        return self._post(endpoint, body, repeatable=True, headers=self._once()[0], label=label)

    def _once(self, digest: str | None = None) -> tuple[dict[str, str], Callable[[], bool]]:
        """Return the header with an idempotency key, and a function that returns whether to send again.

        There is no header if the server does not support it. The function is called before each repetition,
        since another server may have taken the place of the first. `digest` is the name of a digest in the
        request, which a server without its extension would take for metadata.
        """
        needed = [RinocloudExtension.IDEMPOTENCY, *([] if digest is None else [_EXTENSION_OF[digest]])]
        if self.features.has(RinocloudExtension.IDEMPOTENCY):
            return {IDEMPOTENCY_KEY: secrets.token_hex(16)}, lambda: all(map(self.features.has, needed))
        return {}, lambda: False

    def _record(self, endpoint: str, body: Mapping[str, Any], label: str) -> Record:
        answer = self._post(endpoint, body, repeatable=True, label=label)
        return parse_record(answer.json(), answer.url)

    def _try_extended(
        self, extension: RinocloudExtension, endpoint: str, body: Mapping[str, Any], label: str
    ) -> Response | None:
        if not self.features.may_have(extension):
            return None
        try:
            answer = self._post(endpoint, body, repeatable=True, label=label)
        except ServiceError:
            if self.features.may_have(extension):
                raise
            return None  # the response to this request revealed it
        return answer if self.features.has(extension) else None

    def discover(self) -> None:
        """Find out whether the server has extensions, unless known."""
        if self.features.extensions is None:
            try:
                self._post("children", {"limit": 1}, repeatable=True)
            except NotFoundError:
                raise self._no_api() from None

    # Metadata

    def metadata(self, record_id: int, label: str) -> Record:
        """Return the record of an object by id."""
        if record_id > LARGEST_ID:
            raise NotFoundError("No such file or folder", label)
        return self._record("get_metadata", {"id": record_id}, label)

    def metadata_at(self, names: Sequence[str], label: str) -> Record | None:
        """Return the record of an object by its path, a list of names from the top level."""
        answer = self._try_extended(RinocloudExtension.PATH, "get_metadata", {"path": list(names)}, label)
        return None if answer is None else parse_record(answer.json(), answer.url)

    def children(self, folder: int | None, label: str) -> Children:
        """Return the listing of a folder; None is the top level.

        Raises
        ------
        ProtocolError
            If even the top level is not found, which means that there is no Rinocloud API at the endpoint.
        """
        try:
            return self._listing({"id": folder}, label)
        except NotFoundError:
            if folder is not None:
                raise
        raise self._no_api()

    def _no_api(self) -> ProtocolError:
        problem = "no Rinocloud API at this address; check endpoint_url"
        return ProtocolError(problem, self.session.endpoint_url)

    def children_at(self, names: Sequence[str], label: str) -> Children | None:
        """Return the listing of a folder by its path, a list of names."""
        body = {"path": list(names)}
        answer = self._try_extended(
            RinocloudExtension.PATH, "children", {**body, "limit": CLIENT_PAGE}, label
        )
        return None if answer is None else self._listing(body, label, answer)

    def descendants(self, names: Sequence[str], label: str) -> Children | None:
        """Return the listing of everything below a folder by its path; the records have a `path`."""
        body = {"path": list(names), "recursive": True}
        answer = self._try_extended(
            RinocloudExtension.RECURSIVE, "children", {**body, "limit": CLIENT_PAGE}, label
        )
        return None if answer is None else self._listing(body, label, answer)

    def _listing(self, body: Mapping[str, Any], label: str, first: Response | None = None) -> Children:
        def ask(position: Mapping[str, Any]) -> Response:
            return self._post("children", {**body, **position}, repeatable=True, label=label)

        first = first or ask({"limit": CLIENT_PAGE})
        return Children(ask, first, self.features.extensions or frozenset())

    def lookup(self, name: str, folder: int | None, label: str) -> Record | None:
        """Return the record with a name in a folder, or None.

        Raises
        ------
        InvalidRequestError
            If the server does not support the query.
        """
        body = {"query": {"name": name, "parent": folder}}
        answer = self._post("query", {**body, "limit": CLIENT_PAGE}, repeatable=True, label=label)
        records = parse_page(answer.json(), answer.url).records
        # An unknown server may ignore a parent that does not exist, so check the records. Only a response
        # that contains other objects too can have more pages.
        found = [record for record in records if record.name == name and record.parent == folder]
        if len(found) < len(records):
            records = self._all_found(body, label, answer)
            found = [record for record in records if record.name == name and record.parent == folder]
        return max(found, key=lambda record: record.id, default=None)

    def _all_found(self, body: Mapping[str, Any], label: str, first: Response) -> list[Record]:
        """Return the matches of a query on all pages; `first` is the response for the first one."""
        waiting = [first]

        def fetch(position: Mapping[str, int]) -> Page:
            answer = (
                waiting.pop()
                if waiting
                else self._post("query", {**body, **position}, repeatable=True, label=label)
            )
            return parse_page(answer.json(), answer.url)

        return list(all_pages(fetch, by_id=False))

    def query(self, body: Mapping[str, Any], label: str) -> Page:
        """Return a page of matches for a query; raises NotImplementedError if the server has no queries."""
        answer = self._ask_query("query", body, label)
        return parse_page(answer.json(), answer.url)

    def count(self, query: Mapping[str, Any], label: str) -> int:
        """Return the number of matches for a query; raises NotImplementedError if the server cannot count."""
        answer = self._ask_query("query_count", {"query": query}, label)
        count = answer.json().get("count")
        if isinstance(count, bool) or not isinstance(count, int):
            raise ProtocolError("expected a count", answer.url)
        return count

    def _ask_query(self, endpoint: str, body: Mapping[str, Any], label: str) -> Response:
        if endpoint not in self.features.lacking:
            try:
                return self._post(endpoint, body, repeatable=True, label=label)
            except (ServiceError, ProtocolError) as error:
                if error.status not in NO_SUCH_ENDPOINT:
                    raise
            self.discover()  # raises an error if there is no Rinocloud API
            self.features.lacks(endpoint)
        raise NotImplementedError(
            f"{label}: the server does not support queries; scan=True searches all files instead"
        )

    # Reads

    def content(self, record: Record, label: str) -> Content:
        """Return the content of a record, pinned to the record's version."""
        return self._content((("id", str(record.id)),), label, record.size, record.etag)

    def content_at(self, names: Sequence[str], label: str) -> Content:
        """Return the current content of an object by its path, a list of names."""
        return self._content(tuple(("path", name) for name in names), label, None, None)

    def direct(self, record_id: int, label: str) -> Mapping[str, Any]:
        """Return what the server says about where a content can be read past it; empty if nothing."""
        if not self.features.has(RinocloudExtension.DIRECT):
            return {}
        # Not repeated: what this does not tell can be read through the server.
        answer = self._post("direct", {"id": record_id}, repeatable=False, label=label).json()
        return answer if isinstance(answer, dict) else {}

    def download_many(self, paths: Sequence[Sequence[str]], label: str) -> Response:
        """Return the response with the contents of those of several files that are small."""
        # Without this header, servers offer SHA-256 only: earlier clients compare the whole value.
        wanted = self.features.digest
        return self._post(
            "download_many",
            {"paths": [list(path) for path in paths]},
            repeatable=True,
            headers=None if wanted is None else {WANT_REPR_DIGEST: want_repr_digest([wanted])},
            label=label,
        )

    def _content(
        self, params: tuple[tuple[str, str], ...], label: str, size: int | None, etag: str | None
    ) -> Content:
        extended = self.features.has(RinocloudExtension.DIGEST)
        return Content(
            f"{FILES}download/",
            params,
            label,
            size=size,
            etag=etag,
            conditional=extended,
            # On a plain server, a proxy may have added an ETag of its own.
            version_of=etag_header if extended else etag_in_result,
        )

    # Changes

    def upload(self, body: UploadBody, condition: Mapping[str, str], label: str) -> Record:
        """Upload a content and return its record; `condition` has headers for a conditional upload (412)."""
        once, repeatable = self._once(body.ends_with)
        headers = {**once, **condition}
        answer = self.session.upload(
            f"{FILES}upload_multipart/", body, headers=headers, repeatable=repeatable, label=label
        )
        return parse_record(answer.json(), answer.url)

    def upload_many(self, body: UploadBody, digest: str | None, label: str) -> list[Record]:
        """Upload the contents of several files and return their records; see `rinofs.rinocloud.bundles`.

        `digest` is the name of the digest in the fields of each.
        """
        once, repeatable = self._once(digest)
        answer = self.session.upload(
            f"{FILES}upload_many/", body, headers=once, repeatable=repeatable, label=label
        )
        return parse_page(answer.json(), answer.url).records

    def append(self, record_id: int, text: str, label: str) -> Record:
        """Append text to a content, atomically; a repeated request is not detected."""
        answer = self._post("append", {"id": record_id, "chunk": text}, repeatable=False, label=label)
        return parse_record(answer.json(), answer.url)

    def create_object(self, name: str, folder: int | None, label: str) -> Record:
        """Create an object without content."""
        answer = self._create("create_object", {"name": name, **_parent(folder)}, label)
        return parse_record(answer.json(), answer.url)

    def create_folder(self, name: str, folder: int | None, *, exist_ok: bool, label: str) -> Record:
        """Create a folder, and its parents if `name` contains slashes."""
        endpoint = "create_folder_if_not_exist" if exist_ok else "create_folder"
        body = {"name": name, **_parent(folder)}
        answer = (self._change if exist_ok else self._create)(endpoint, body, label)
        return parse_record(answer.json(), answer.url)

    def update(self, record_id: int, changes: Mapping[str, Any], label: str) -> Record:
        """Set ``name``, ``tags`` or ``metadata`` of an object; other fields are merged into its metadata."""
        answer = self._change("update", {**self._exactly(), "id": record_id, **changes}, label)
        return parse_record(answer.json(), answer.url)

    def _exactly(self) -> dict[str, bool]:
        """Return the field that keeps the id of an earlier version from meaning the current object.

        Servers without the extension may do so; callers check before.
        """
        return {"exact": True} if self.features.has(RinocloudExtension.EXACT) else {}

    def delete_field(self, record_id: int, field: str, label: str) -> Record:
        """Remove a key from the metadata of an object, if present."""
        body = {**self._exactly(), "id": record_id, "field": field}
        answer = self._change("delete_metadata_field", body, label)
        return parse_record(answer.json(), answer.url)

    def move(
        self,
        record_id: int,
        folder: int | None,
        name: str | None,
        label: str,
        names: Sequence[str] | None = None,
    ) -> None:
        """Move an object into a folder, and rename it if the server can do both at once.

        With the extensions, a replaced file becomes an earlier version; and an object to which `names` do not
        lead is not moved, but raises ConflictError.
        """
        self._change("move", self._going(record_id, folder, name, names), label)

    def copy(
        self,
        record_id: int,
        folder: int | None,
        name: str | None,
        label: str,
        names: Sequence[str] | None = None,
    ) -> Record:
        """Copy an object into a folder, a folder with its contents; extensions are as for `move`."""
        answer = self._create("copy", self._going(record_id, folder, name, names), label)
        return parse_page(answer.json(), answer.url).records[0]

    def _going(
        self, record_id: int, folder: int | None, name: str | None, names: Sequence[str] | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"items": [record_id], "parent": folder}
        if names is not None and self.features.has(RinocloudExtension.PLACES):
            body["paths"] = [list(names)]
        if name is not None:
            body["name"] = name
        if self.features.has(RinocloudExtension.VERSIONS):
            body["replace"] = True
        return body

    def prune(self, record_id: int, label: str) -> None:
        """Delete one earlier version; raises OutcomeUnknownError as `delete` does."""
        self._post("delete", {"id": record_id, "version": True}, repeatable=False, label=label)

    def delete(self, found: Mapping[int, Sequence[str] | None], label: str, *, empty: bool = False) -> None:
        """Delete objects, folders with their contents.

        Parameters
        ----------
        found : mapping
            The names that lead to each object, by its id; None if the server cannot follow them.
        label : str
            Names the objects in messages.
        empty : bool
            Whether to delete folders only if they are empty, if the server can check that.

        Raises
        ------
        ConflictError
            If an object is not where it was found, for a server that checks that, or a folder is not empty.
        OutcomeUnknownError
            If there was no response: a second request would report that the objects do not exist if the first
            one was carried out, as for objects that never existed.
        """
        body: dict[str, Any] = {**self._exactly(), "id": list(found)}
        paths = [path for path in found.values() if path is not None]
        fits = len(paths) == len(found) and len(json.dumps(paths)) <= MAX_JSON_BODY // 2
        if fits and self.features.has(RinocloudExtension.PLACES):
            body["paths"] = paths
        if empty and self.features.has(RinocloudExtension.EMPTY):
            body["empty"] = True
        self._post("delete", body, repeatable=False, label=label)


def _parent(folder: int | None) -> dict[str, int]:
    return {} if folder is None else {"parent": folder}


def etag_in_result(headers: Mapping[str, str]) -> str | None:
    """Return the etag in the record in a download's headers, or None."""
    text = headers.get(RINOCLOUD_RESULT)
    if not text:
        return None
    try:
        etag = json.loads(text)["etag"]
    except (ValueError, KeyError, TypeError):
        return None
    return etag if isinstance(etag, str) and etag else None
