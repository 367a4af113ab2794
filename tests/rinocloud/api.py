"""Another client of the service: plain requests, that know nothing of rinofs and its caches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import requests

from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.testing import LiveServer


class Api:
    """Send requests of the published API.

    Parameters
    ----------
    endpoint_url, token : str
        The server, and whose requests they are.
    """

    def __init__(self, endpoint_url: str, token: str) -> None:
        self._files = f"{endpoint_url}/api/1/files/"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Token {token}"

    @classmethod
    def of(cls, server: LiveServer) -> Api:
        return cls(server.endpoint_url, server.token)

    def post(self, endpoint: str, **body: Any) -> Any:
        answer = self._session.post(f"{self._files}{endpoint}/", json=body, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def upload(self, name: str, data: bytes, parent: int | None = None, **fields: Any) -> dict[str, Any]:
        """Upload a file; `name` may lead through folders."""
        about: Mapping[str, Any] = {"name": name, **fields, **({} if parent is None else {"parent": parent})}
        parts: dict[str, tuple[str | None, str | bytes]] = {
            "json": (None, json.dumps(about)),
            "file": ("file", data),
        }
        answer = self._session.post(f"{self._files}upload_multipart/", files=parts, timeout=PATIENCE)
        answer.raise_for_status()
        record: dict[str, Any] = answer.json()
        return record

    def children(self, parent: int | None = None) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.post("children", id=parent, limit=100_000)["result"]
        return result

    def record(self, *names: str) -> dict[str, Any]:
        """Return the record at a path of names; raises KeyError if there is none."""
        found: dict[str, Any] = {}
        for name in names:
            query = {"name": name, "parent": found.get("id")}
            matches = self.post("query", query=query, limit=10)["result"]
            if not matches:
                raise KeyError(names)
            found = matches[0]
        return found

    def id_of(self, *names: str) -> int:
        return int(self.record(*names)["id"])

    def clear(self) -> None:
        """Delete everything."""
        if ids := [record["id"] for record in self.children()]:
            self.post("delete", id=ids)
