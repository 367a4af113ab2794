"""Another client of the service: plain requests, that know nothing of rinofs and its caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from rinofs.testing import LiveServer

Json = dict[str, Any]


def empty(name: str) -> Json:
    return {"info": {"name": name, "author": "", "description": "", "keywords": []}, "children": []}


def data(name: str, link: str, **more: Any) -> Json:
    return {"class": "data", "name": name, "text": "", "link": link, **more}


def container(name: str, *children: Json) -> Json:
    return {"class": "container", "name": name, "text": "", "children": list(children)}


class Api:
    """Send requests of the published API.

    Parameters
    ----------
    endpoint_url, token : str
        The server, and whose requests they are.
    """

    def __init__(self, endpoint_url: str, token: str) -> None:
        self.base = f"{endpoint_url}/api/v1.0"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token}"

    @classmethod
    def of(cls, server: LiveServer) -> Api:
        return cls(server.endpoint_url, server.token)

    def get(self, path: str) -> Any:
        answer = self.session.get(self.base + path, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self.session.post(self.base + path, json=body, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def ids(self) -> list[str]:
        ids: list[str] = self.get("/user")["datapacks"]
        return ids

    def create(self, name: str, *children: Json) -> str:
        structure = {**empty(name), "children": list(children)}
        owner = self.get("/user")["id"]
        item = self.post("/datapacks", name=name, owner=owner, structure=structure)["item"]
        return str(item["id"])

    def structure(self, identifier: str) -> Json:
        structure: Json = self.get(f"/datapacks/{identifier}")["structure"]
        return structure

    def edit(self, identifier: str, structure: Json) -> None:
        self.post(f"/datapacks/{identifier}", structure=structure)

    def upload(self, identifier: str, link: str, content: bytes) -> str:
        url = f"{self.base}/datapacks/{identifier}/content/{quote(link, safe='')}"
        answer = self.session.post(url, files={"file": ("name", content)}, timeout=PATIENCE)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def delete(self, identifier: str) -> None:
        """Remove a datapack; only on a server that can."""
        self.session.delete(f"{self.base}/datapacks/{identifier}", timeout=PATIENCE).raise_for_status()
