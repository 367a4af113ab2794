"""Datapacks to post, and a client that speaks the repovizz2 API as its page gives it."""

from __future__ import annotations

from typing import Any

import requests

EMG = "0746bb48-9b92-4cd3-8d9e-3e1de13269eb"


def data(name: str, link: str, **more: Any) -> dict[str, Any]:
    return {"class": "data", "name": name, "text": "", "link": link, **more}


def container(name: str, *children: dict[str, Any]) -> dict[str, Any]:
    return {"class": "container", "name": name, "text": "", "children": list(children)}


def pack(name: str, *children: dict[str, Any]) -> dict[str, Any]:
    about = {"name": name, "author": "ada", "description": "", "keywords": ["emg"]}
    return {"info": about, "children": list(children)}


class Api:
    """Requests of one user."""

    def __init__(self, endpoint_url: str, token: str) -> None:
        self.base = f"{endpoint_url}/api/v1.0"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["authorization"] = f"Bearer {token}"

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.base + path, timeout=30, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.session.post(self.base + path, timeout=30, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.session.delete(self.base + path, timeout=30, **options)

    def create(self, structure: dict[str, Any], name: str | None = None) -> str:
        answer = self.post(
            "/datapacks", json={"name": name or structure["info"]["name"], "structure": structure}
        )
        assert answer.status_code == 200, answer.text
        identifier: str = answer.json()["item"]["id"]
        return identifier

    def structure(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/datapacks/{identifier}").json()["structure"]
        return found

    def put(self, identifier: str, link: str, content: bytes, **options: Any) -> requests.Response:
        return self.post(f"/datapacks/{identifier}/content/{link}", files={"file": content}, **options)
