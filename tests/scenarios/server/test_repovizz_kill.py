"""What was acknowledged about datapacks is there after ``kill -9``."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING

import requests

from tests.campaign import rounds
from tests.forkserver import run_command, server_process
from tests.server.packs import Api, data, pack

if TYPE_CHECKING:
    from pathlib import Path

WRITERS = 4


def content(name: str) -> bytes:
    return name.encode() * 2000


class Writers:
    """Fill datapacks until the server is gone, and keep what it said."""

    def __init__(self, endpoint_url: str, round_: int) -> None:
        self.endpoint_url = endpoint_url
        self.acknowledged: list[tuple[str, str]] = []
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(f"{round_}-{n}",)) for n in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def _write(self, name: str) -> None:
        api = Api(self.endpoint_url, "token")
        links = [f"{name}-{number}" for number in range(100)]
        try:
            identifier = api.create(pack(name, *(data(link, link) for link in links)))
            for link in links:
                if api.put(identifier, link, content(link)).status_code == 200:
                    self.acknowledged.append((identifier, link))
                if len(self.acknowledged) >= 5 * WRITERS:
                    self.enough.set()
        except requests.RequestException:
            return


def test_acknowledged_contents_outlive_the_process(tmp_path: Path) -> None:
    acknowledged: list[tuple[str, str]] = []
    for number in range(rounds(1, 20)):
        with server_process(tmp_path, "--token", "token") as process:
            writers = Writers(process.endpoint_url, number)
            assert writers.enough.wait(120)
            process.kill()
            for thread in writers.threads:
                thread.join()
            acknowledged += writers.acknowledged
    with server_process(tmp_path, "--token", "token") as process:
        api = Api(process.endpoint_url, "token")
        structures = {identifier: api.structure(identifier) for identifier, _ in acknowledged}
        for identifier, link in acknowledged:
            (node,) = [node for node in structures[identifier]["children"] if node["name"] == link]
            assert node["link"] == f"repovizz:{hashlib.sha1(content(link)).hexdigest()}"
            assert api.get(f"/datapacks/{identifier}/content/{node['link']}").content == content(link)
    report = json.loads(run_command("admin", "fsck", "--json", "--data", str(tmp_path)).stdout)
    assert report["problems"] == []
    assert report["datapacks_checked"] >= len(structures) > 0
