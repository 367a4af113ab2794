from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import requests

from tests.forkserver import server_process
from tests.server.client import Api
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_each_request_is_a_line(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with server_process(tmp_path / "data", "--access-log", str(log)) as server:
        api = Api(server.endpoint_url, server.token)
        content = b"x" * 100_000  # large enough for the kernel to send
        file = api.file("a.csv", content)
        named = {"X-Request-ID": "mine.1"}
        answer = api.session.get(
            api.url("files/download"), params={"id": file["id"]}, headers=named, timeout=60
        )
        assert (answer.content, answer.headers["x-request-id"]) == (content, "mine.1")
        forged = {"X-Request-ID": 'a"b'}
        requests.get(f"{server.endpoint_url}/api/1/x%0a%1b[31m\u202e/", headers=forged, timeout=60)
        requests.get(f"{server.endpoint_url}/api/1/rino_sEcrEt/?token=sEcrEt", timeout=60)
        wait_until(lambda: len(lines(log)) >= 4)
        found = lines(log)
    assert [(one["method"], one["path"], one["status"], one["user"]) for one in found[:2]] == [
        ("POST", "/api/1/files/upload/", 201, "rino"),
        ("GET", "/api/1/files/download/", 200, "rino"),
    ]
    assert (found[1]["bytes"], found[1]["request_id"]) == (len(content), "mine.1")
    assert found[2]["path"] == "/api/1/x\n\x1b[31m\u202e/"
    assert found[2]["request_id"] != 'a"b'
    assert (found[2]["user"], found[2]["status"], found[3]["status"]) == (None, 404, 404)
    assert all(one["ms"] >= 0 and "T" in one["time"] for one in found)
    written = log.read_bytes()
    assert b"sEcrEt" not in written  # a token looks like this wherever it is; others cannot be told in a path
    assert written.isascii()
    assert b"\x1b" not in written
    assert log.stat().st_mode & 0o077 == 0


def test_a_long_path_is_cut_without_showing_secrets(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with server_process(tmp_path / "data", "--access-log", str(log)) as server:
        for before in range(1980, 2001):
            requests.get(f"{server.endpoint_url}/{'x' * before}/rino_sEcrEt{'y' * 3000}", timeout=60)
        requests.get(f"{server.endpoint_url}/o/{'o/' * 30_000}", timeout=60)
        wait_until(lambda: len(lines(log)) == 22)
        found = lines(log)
    assert all(one["path"].startswith("/xxx") for one in found[:-1])
    assert found[-1]["path"] == "/" + "o/" * 999 + "o"
    assert b"sEcrEt" not in log.read_bytes()


def test_a_log_that_is_rotated_goes_on_in_a_new_file(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with server_process(tmp_path / "data", "--access-log", str(log)) as server:
        requests.get(f"{server.endpoint_url}/health", timeout=60)
        wait_until(lambda: len(lines(log)) == 1)
        log.rename(tmp_path / "access.log.1")
        requests.get(f"{server.endpoint_url}/health", timeout=60)
        wait_until(lambda: log.exists() and len(lines(log)) == 1)
