"""A bare client of the Rinocloud API: it sends exactly what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests

Files = Mapping[str, tuple[str | None, str | bytes]]


class Api:
    """The API in the name of one user.

    Parameters
    ----------
    endpoint_url : str
        The server.
    token : str or None
        The token to send, as the service's own clients do.
    """

    def __init__(self, endpoint_url: str, token: str | None) -> None:
        self.endpoint_url = endpoint_url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["X-Requested-With"] = "XMLHttpRequest"
        if token is not None:
            self.session.headers["Authorization"] = f"Token {token}"

    def url(self, endpoint: str) -> str:
        return f"{self.endpoint_url}/api/1/{endpoint}/"

    def post(self, endpoint: str, body: Any = None, **options: Any) -> requests.Response:
        return self.session.post(self.url(endpoint), json=body, **options)

    def form(self, endpoint: str, fields: Any) -> requests.Response:
        return self.session.post(self.url(endpoint), data=fields)

    def ok(self, endpoint: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        answer = self.post(endpoint, body, **options)
        assert answer.status_code == status, (endpoint, body, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def upload(self, content: bytes, endpoint: str = "files/upload", **fields: Any) -> requests.Response:
        parts: Files = {"json": (None, json.dumps(fields)), "file": ("file", content)}
        return self.session.post(self.url(endpoint), files=parts)

    def file(self, name: str, content: bytes = b"", **fields: Any) -> Any:
        answer = self.upload(content, name=name, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def folder(self, name: str, **fields: Any) -> Any:
        return self.ok("files/create_folder", {"name": name, **fields}, 201)

    def content(self, number: int) -> bytes:
        answer = self.session.get(self.url("files/download"), params={"id": number})
        assert answer.status_code == 200, answer.text
        return answer.content

    def names(self, number: int | None = None) -> list[str]:
        listed = self.ok("files/children", {"id": number, "limit": 1000})["result"]
        return [record["name"] for record in listed]
