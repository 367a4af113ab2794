"""The Rinocloud HTTP API: one method an endpoint."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from rinofs.errors import NotFoundError, ProtocolError, ServiceError
from rinofs.http.connection.response import etag_header
from rinofs.http.content.content import Content
from rinofs.protocol.extensions import (
    IDEMPOTENCY_KEY,
    RINOCLOUD_EXTENSIONS,
    RINOCLOUD_RESULT,
    RinocloudExtension,
    extensions_in,
)
from rinofs.protocol.limits import CLIENT_PAGE, LARGEST_ID
from rinofs.rinocloud.records import Record, all_pages, parse_page, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rinofs.http.connection.response import Response
    from rinofs.http.content.upload import UploadBody
    from rinofs.http.session.session import HttpSession
    from rinofs.rinocloud.records import Page

FILES = "/api/1/files/"

# A refusal without the header tells just as an answer does. What a proxy or a limiter may have said in the
# server's place tells nothing.
_TELLING = frozenset(range(200, 500)) - {401, 407, 408, 421, 425, 429}


NO_SUCH_ENDPOINT = frozenset({404, 405, 501})
"""Statuses of the answer to a request for an endpoint that a server does not have."""


class Features:
    """What is known of an endpoint; shared by all filesystem objects that use it.

    Each attribute is replaced as a whole, so that no lock is needed.

    Attributes
    ----------
    extensions : frozenset of str or None
        What the server adds to the published API; None until it has answered.
    lacking : frozenset of str
        Endpoints of the published API that this server turned out not to have.
    """

    def __init__(self) -> None:
        self.extensions: frozenset[str] | None = None
        self.lacking: frozenset[str] = frozenset()
        self._said: tuple[str, frozenset[str]] = "", frozenset()

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Take note of what an answer says of the server's extensions."""
        named = headers.get(RINOCLOUD_EXTENSIONS)
        if named is not None:
            said, extensions = self._said
            if named != said:
                extensions = extensions_in(named)
                self._said = named, extensions
            self.extensions = extensions
        elif status in _TELLING:
            # Also where it was known to have some: another server may have taken its place.
            self.extensions = frozenset()

    def has(self, extension: RinocloudExtension) -> bool:
        """Tell whether the server is known to have an extension."""
        return self.extensions is not None and extension in self.extensions

    def may_have(self, extension: RinocloudExtension) -> bool:
        """Tell whether it is worth asking the server in the extended way."""
        return self.extensions is None or extension in self.extensions

    def lacks(self, endpoint: str) -> None:
        """Take note that the server has no such endpoint."""
        self.lacking |= {endpoint}


class RinocloudClient:
    """Ask a Rinocloud server.

    The methods that take a tuple of names use the server's extensions; they return None, and remember it,
    where the server turns out to have none.

    Parameters
    ----------
    session : HttpSession
        Sends the requests.
    features : Features
        What is known of the server.
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

    def _once(self) -> tuple[dict[str, str], Callable[[], bool]]:
        """Return the header that has the server carry out a request once, and whether it may be sent again.

        There is no such header where the server does not know it. That is asked again before each
        repetition: another server may have taken its place.
        """
        if self.features.has(RinocloudExtension.IDEMPOTENCY):
            return {IDEMPOTENCY_KEY: secrets.token_hex(16)}, lambda: self.features.has(
                RinocloudExtension.IDEMPOTENCY
            )
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
            return None  # this was the request that told so
        return answer if self.features.has(extension) else None

    def discover(self) -> None:
        """Find out whether the server has extensions, where that is not known yet."""
        if self.features.extensions is None:
            try:
                self._post("children", {"limit": 1}, repeatable=True)
            except NotFoundError:
                raise self._no_api() from None

    # Looking

    def metadata(self, record_id: int, label: str) -> Record:
        """Return the record of an object by its id."""
        if record_id > LARGEST_ID:
            raise NotFoundError("No such file or folder", label)
        return self._record("get_metadata", {"id": record_id}, label)

    def metadata_at(self, names: Sequence[str], label: str) -> Record | None:
        """Return the record of the object at a path of names from the top level."""
        answer = self._try_extended(RinocloudExtension.PATH, "get_metadata", {"path": list(names)}, label)
        return None if answer is None else parse_record(answer.json(), answer.url)

    def children(self, folder: int | None, label: str) -> list[Record]:
        """Return the records of all objects in a folder; None is the top level.

        Raises
        ------
        ProtocolError
            If even the top level is not found: then there is no Rinocloud API at the endpoint.
        """
        try:
            return self._all("children", {"id": folder}, label)
        except NotFoundError:
            if folder is not None:
                raise
        raise self._no_api()

    def _no_api(self) -> ProtocolError:
        problem = "no Rinocloud API at this address; check endpoint_url"
        return ProtocolError(problem, self.session.endpoint_url)

    def children_at(self, names: Sequence[str], label: str) -> list[Record] | None:
        """Return the records of all objects in the folder at a path of names."""
        body = {"path": list(names)}
        answer = self._try_extended(
            RinocloudExtension.PATH, "children", {**body, "limit": CLIENT_PAGE}, label
        )
        return None if answer is None else self._all("children", body, label, answer)

    def descendants(self, names: Sequence[str], label: str) -> list[Record] | None:
        """Return the records of all that is below the folder at a path of names, with their `path`."""
        body = {"path": list(names), "recursive": True}
        answer = self._try_extended(
            RinocloudExtension.RECURSIVE, "children", {**body, "limit": CLIENT_PAGE}, label
        )
        return None if answer is None else self._all("children", body, label, answer)

    def lookup(self, name: str, folder: int | None, label: str) -> Record | None:
        """Return the record of the object of that name in a folder, or None if there is none.

        Raises
        ------
        InvalidRequestError
            If the server cannot be asked so.
        """
        body = {"query": {"name": name, "parent": folder}}
        answer = self._post("query", {**body, "limit": CLIENT_PAGE}, repeatable=True, label=label)
        records = parse_page(answer.json(), answer.url).records
        # What an unknown server makes of a missing parent is not known, so the answer is looked through; only
        # one that holds other objects too may go on.
        found = [record for record in records if record.name == name and record.parent == folder]
        if len(found) < len(records):
            records = self._all("query", body, label, answer)
            found = [record for record in records if record.name == name and record.parent == folder]
        return max(found, key=lambda record: record.id, default=None)

    def _all(
        self, endpoint: str, body: Mapping[str, Any], label: str, first: Response | None = None
    ) -> list[Record]:
        """Return the records of all pages; `first` is the answer to the first one, if it was asked for."""
        waiting = [first] if first is not None else []

        def fetch(position: Mapping[str, int]) -> Page:
            answer = (
                waiting.pop()
                if waiting
                else self._post(endpoint, {**body, **position}, repeatable=True, label=label)
            )
            return parse_page(answer.json(), answer.url)

        by_id = endpoint == "children" and self.features.has(RinocloudExtension.AFTER)
        return list(all_pages(fetch, by_id=by_id))

    def query(self, body: Mapping[str, Any], label: str) -> Page:
        """Return a page of what a query finds; raises NotImplementedError if the server has no queries."""
        answer = self._ask_query("query", body, label)
        return parse_page(answer.json(), answer.url)

    def count(self, query: Mapping[str, Any], label: str) -> int:
        """Return how many objects a query finds; raises NotImplementedError if the server cannot say."""
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
            self.discover()  # raises if there is no such API at all
            self.features.lacks(endpoint)
        raise NotImplementedError(
            f"{label}: the server does not support queries; scan=True searches all files instead"
        )

    # Reading

    def content(self, record: Record, label: str) -> Content:
        """Return where the content of a record is, pinned to the version that the record tells of."""
        return self._content((("id", str(record.id)),), label, record.size, record.etag)

    def content_at(self, names: Sequence[str], label: str) -> Content:
        """Return where the current content of the object at a path of names is."""
        return self._content(tuple(("path", name) for name in names), label, None, None)

    def download_many(self, paths: Sequence[Sequence[str]], label: str) -> Response:
        """Return the answer that brings those of some files that are small."""
        return self._post(
            "download_many", {"paths": [list(path) for path in paths]}, repeatable=True, label=label
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
            # A plain server may stand behind one that sends an ETag of its own making.
            version_of=etag_header if extended else etag_in_result,
        )

    # Changing

    def upload(self, body: UploadBody, condition: Mapping[str, str], label: str) -> Record:
        """Send a content and return its record; `condition` is a header that may have it refused (412)."""
        once, repeatable = self._once()
        headers = {**once, **condition}
        answer = self.session.upload(
            f"{FILES}upload_multipart/", body, headers=headers, repeatable=repeatable, label=label
        )
        return parse_record(answer.json(), answer.url)

    def upload_many(self, body: UploadBody, label: str) -> list[Record]:
        """Send the contents of several files and return their records; see `rinofs.rinocloud.bundles`."""
        once, repeatable = self._once()
        answer = self.session.upload(
            f"{FILES}upload_many/", body, headers=once, repeatable=repeatable, label=label
        )
        return parse_page(answer.json(), answer.url).records

    def append(self, record_id: int, text: str, label: str) -> Record:
        """Let a content grow by a text, which the server does at once; nothing tells two requests apart."""
        answer = self._post("append", {"id": record_id, "chunk": text}, repeatable=False, label=label)
        return parse_record(answer.json(), answer.url)

    def create_object(self, name: str, folder: int | None, label: str) -> Record:
        """Make an object without content."""
        answer = self._create("create_object", {"name": name, **_parent(folder)}, label)
        return parse_record(answer.json(), answer.url)

    def create_folder(self, name: str, folder: int | None, *, exist_ok: bool, label: str) -> Record:
        """Make a folder, and those on the way where `name` holds slashes."""
        endpoint = "create_folder_if_not_exist" if exist_ok else "create_folder"
        body = {"name": name, **_parent(folder)}
        answer = (
            self._post(endpoint, body, repeatable=True, label=label)
            if exist_ok
            else self._create(endpoint, body, label)
        )
        return parse_record(answer.json(), answer.url)

    def update(self, record_id: int, changes: Mapping[str, Any], label: str) -> Record:
        """Change fields of an object: ``name``, ``tags``, ``metadata`` as a whole; others merge into that."""
        return self._record("update", {**self._exactly(), "id": record_id, **changes}, label)

    def _exactly(self) -> dict[str, bool]:
        """Return what keeps the id of an earlier version from standing for the current object.

        Servers without the extension may well take it so, which is looked at before.
        """
        return {"exact": True} if self.features.has(RinocloudExtension.EXACT) else {}

    def delete_field(self, record_id: int, field: str, label: str) -> Record:
        """Remove a key from the metadata of an object, if it is there."""
        return self._record(
            "delete_metadata_field", {**self._exactly(), "id": record_id, "field": field}, label
        )

    def move(self, ids: Sequence[int], folder: int | None, name: str | None, label: str) -> None:
        """Move objects into a folder, and rename one if the server can do both at once.

        A server with the extension has what they replace become an earlier version.
        """
        self._post("move", self._going(ids, folder, name), repeatable=True, label=label)

    def copy(self, ids: Sequence[int], folder: int | None, name: str | None, label: str) -> list[Record]:
        """Copy objects, folders with all below them, into a folder; what they replace is as for `move`."""
        answer = self._create("copy", self._going(ids, folder, name), label)
        return parse_page(answer.json(), answer.url).records

    def _going(self, ids: Sequence[int], folder: int | None, name: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {"items": list(ids), "parent": folder}
        if name is not None:
            body["name"] = name
        if self.features.has(RinocloudExtension.VERSIONS):
            body["replace"] = True
        return body

    def prune(self, record_id: int, label: str) -> None:
        """Delete one earlier version; raises OutcomeUnknownError as `delete` does."""
        self._post("delete", {"id": record_id, "version": True}, repeatable=False, label=label)

    def delete(self, ids: Sequence[int], label: str) -> None:
        """Delete objects, folders with all below them.

        Raises
        ------
        OutcomeUnknownError
            If no answer came: a second request would find nothing to delete where the first one was
            carried out, and so could not be told from one for what was never there.
        """
        self._post("delete", {**self._exactly(), "id": list(ids)}, repeatable=False, label=label)


def _parent(folder: int | None) -> dict[str, int]:
    return {} if folder is None else {"parent": folder}


def etag_in_result(headers: Mapping[str, str]) -> str | None:
    """Return the etag in the record that comes with a download, or None where there is none."""
    text = headers.get(RINOCLOUD_RESULT)
    if not text:
        return None
    try:
        etag = json.loads(text)["etag"]
    except (ValueError, KeyError, TypeError):
        return None
    return etag if isinstance(etag, str) and etag else None
