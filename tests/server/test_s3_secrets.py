"""What a server with contents in an S3 store tells nobody: tokens, keys of the store, signed addresses."""

from __future__ import annotations

import logging
import os
import pickle
import re
import subprocess
import traceback
from typing import TYPE_CHECKING

import requests

from rinofs import RinoFileSystem
from rinofs.http.session import retry
from rinofs.testing import ServerProcess
from rinofs.testing.process import COMMAND
from tests.server.client import Api
from tests.server.seaweed import SECRET
from tests.server.store_proxy import StoreFault, store_proxy

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.server.seaweed import Seaweed
    from tests.server.store_proxy import StoreProxy

CONTENT = os.urandom(400_000)


def test_no_log_error_or_object_has_a_secret(
    s3_url: str,
    shared_seaweed: Seaweed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("RUST_LOG", "trace")
    monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.005)
    monkeypatch.setattr(retry, "MAX_RETRY_AFTER", 0.005)
    seen: dict[str, list[str]] = {"errors": [], "objects": [], "pickles": [], "answers": []}
    with store_proxy(shared_seaweed.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        data, log = tmp_path / "data", tmp_path / "access.log"
        command = [*COMMAND, "--debug", "serve", "--data", str(data), "--port", "0", "--blobs", s3_url]
        with (
            (tmp_path / "stderr").open("w+") as errors,
            subprocess.Popen(
                [*command, "--access-log", str(log), "--log-format", "json", "--cache-size", "0"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            server = ServerProcess(process, errors)
            token = server.token or ""
            told = use(server, proxy, seen)
            assert server.terminate() == 0
            seen["log of the server"] = [server.errors(), log.read_text()]
        signatures = set(re.findall(r"X-Amz-Signature=([0-9a-f]{64})", " ".join(p for _, p in proxy.seen)))
    wrong = s3_url.replace("s3://", f"s3://key:{SECRET}@")
    refused = subprocess.run([*COMMAND, "admin", "check-storage", wrong], capture_output=True, text=True)
    assert refused.returncode != 0
    seen["commands"] = [refused.stdout, refused.stderr]
    for command in (["fsck"], ["gc"], ["audit"]):
        done = subprocess.run(
            [*COMMAND, "--debug", "admin", *command, "--data", str(data)], capture_output=True, text=True
        )
        seen["commands"] += [done.stdout, done.stderr]
    seen["log of this process"] = [caplog.text]
    seen["data folder"] = [
        path.read_bytes().decode("latin-1")
        for path in data.rglob("*")
        if path.is_file() and path.stat().st_size < 2**22
    ]
    signatures.update(re.findall(r"X-Amz-Signature=([0-9a-f]{64})", told))
    assert signatures
    for place, texts in seen.items():
        assert "".join(texts), place
        for name, secret in {"token": token, "key of the store": SECRET}.items():
            told_by = any(secret in text for text in texts)
            assert told_by == ((place, name) == ("pickles", "token")), (place, name)  # given in code
        found = [s for s in signatures if any(s in text for text in texts)]
        assert not found, (place, "signed address")


def use(server: ServerProcess, proxy: StoreProxy, seen: dict[str, list[str]]) -> str:
    """Store, read and fail in all ways; return the signed address that the server was asked for."""
    api = Api(server.endpoint_url, server.token or "")
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token, timeout=3)
    fs.pipe_file("f", CONTENT)
    assert fs.ls("", detail=False) == ["f"]
    with fs.open("f") as file:
        assert file.read() == CONTENT
        content = file._source.whole()[1]
        seen["objects"] += [repr(each) for each in (fs, file, file._source, content, content.elsewhere)]
        seen["pickles"] += [pickle.dumps(each).decode("latin-1") for each in (fs, file)]
    told = str(api.post("files/direct", {"path": ["f"]}).json()["url"])
    number = fs.info("f")["id"]
    for fault in (StoreFault(status=403), StoreFault(status=500), StoreFault(silent=True)):
        proxy.fault = lambda _method, _path, fault=fault: fault
        for work in (lambda: fs.cat_file("f", 0, 300_000), lambda: fs.get_file("f", os.devnull)):
            try:
                work()
            except OSError as error:
                seen["errors"] += [repr(error), *traceback.format_exception(error)]
        for answer in (
            api.upload(CONTENT, name="g"),
            api.session.get(api.url("files/download"), params={"id": number}, timeout=60),
            api.post("files/direct", {"id": number}),
            requests.get(f"{server.endpoint_url}/ready", timeout=60),
        ):
            seen["answers"].append(f"{answer.headers} {answer.text}")
    proxy.fault = None
    return told
