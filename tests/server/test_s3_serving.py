"""The command with contents in an S3 store, and where it refuses to start."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import fsspec
import pytest
import requests
from click.testing import CliRunner

from rinofs.cli.main import main
from rinofs.server.blobs.bucket import Bucket
from rinofs.testing import server_process
from tests.server.client import Api
from tests.server.seaweed import READER, READER_SECRET, SECRET

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which is faster than in one of its own."""
    done = CliRunner().invoke(main, [*map(str, arguments)], prog_name="rinofs")
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def test_contents_are_in_the_bucket_and_the_rest_in_the_folder(s3_url: str, tmp_path: Path) -> None:
    contents = {"small": b"1,2", "empty": b"", "large": os.urandom(9 * MIB)}
    with server_process(tmp_path / "data", "--blobs", s3_url) as server:
        fs = fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)
        for name, content in contents.items():
            fs.pipe_file(name, content)
        token = server.token
    assert sorted(size for _, size, _ in Bucket(s3_url).objects("c")) == [0, 3, 9 * MIB]
    assert not list((tmp_path / "data" / "blobs").rglob("?" * 64))
    # The folder knows where its contents are.
    with server_process(tmp_path / "data") as server:
        fs = fsspec.filesystem(
            "rino", endpoint_url=server.endpoint_url, token=token, skip_instance_cache=True
        )
        assert {name: fs.cat_file(name) for name in contents} == contents
        assert server.errors() == ""
    checked = run("admin", "fsck", "--data", tmp_path / "data")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "3 contents" in checked.stdout
    for arguments in (("gc",), ("user", "list"), ("audit",)):
        assert run("admin", *arguments, "--data", tmp_path / "data").returncode == 0


def test_what_is_deleted_leaves_the_bucket_after_the_delay(s3_url: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data, "--blobs", s3_url) as server:
        api = Api(server.endpoint_url, server.token or "")
        kept, gone = api.file("kept", b"kept")["id"], api.file("gone", b"gone")["id"]
        api.ok("files/delete", {"id": gone}, 204)
        assert run("admin", "gc", "--data", data).returncode == 0
        assert len(list(Bucket(s3_url).objects("c"))) == 2
        # The same bytes once more: under another key, so that the deletion cannot hit them.
        again = api.file("again", b"gone")["id"]
        collected = run("admin", "gc", "--gc-delay", "0", "--data", data)
        assert collected.returncode == 0, collected.stderr
        assert len(list(Bucket(s3_url).objects("c"))) == 2
        assert (api.content(kept), api.content(again)) == (b"kept", b"gone")


@pytest.mark.parametrize(
    ("environment", "bucket", "message"),
    [
        ({}, "s3://not-there/x", "the store has no bucket 'not-there'; create it, or name another one"),
        (
            {"AWS_ACCESS_KEY_ID": READER, "AWS_SECRET_ACCESS_KEY": READER_SECRET},
            "",
            "the key may not read, write and delete there",
        ),
        ({"AWS_SECRET_ACCESS_KEY": READER_SECRET}, "", "the store does not accept the key"),
        ({"AWS_ENDPOINT_URL": "http://192.0.2.1:9000"}, "", "unencrypted"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "", "does not answer; check AWS_ENDPOINT_URL"),
        ({}, "ftp://x", "unknown kind of store"),
    ],
    ids=["bucket missing", "not writable", "wrong key", "http", "nobody", "no store"],
)
def test_bad_configuration_ends_at_once(
    s3_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    bucket: str,
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = run("serve", "--data", tmp_path / "data", "--port", "0", "--blobs", bucket or s3_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr
    assert READER_SECRET not in done.stderr


def test_the_bucket_of_another_installation_is_refused(s3_url: str, tmp_path: Path) -> None:
    with server_process(tmp_path / "first", "--blobs", s3_url) as server:
        assert requests.get(f"{server.endpoint_url}/health", timeout=10).ok
    done = run("serve", "--data", tmp_path / "second", "--port", "0", "--blobs", s3_url)
    assert done.returncode == 2
    assert "has the contents of another installation of rinofs" in done.stderr
    with server_process(tmp_path / "first"):
        pass


def test_checking_a_store(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("admin", "check-storage", s3_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[2][:6] for line in done.stdout.splitlines()] == [" works"] * 8
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    done = run("admin", "check-storage", s3_url)
    assert done.returncode == 1
    assert "PUT with a SHA-256: the store does not accept the key" in done.stdout


def test_a_backup_has_the_database_and_says_what_it_does_not_have(s3_url: str, tmp_path: Path) -> None:
    data, backup, restored = (tmp_path / name for name in ("data", "backup", "restored"))
    with server_process(data) as server:
        token = server.token
        Api(server.endpoint_url, token or "").file("in the folder", b"folder")
    with server_process(data, "--blobs", s3_url) as server:
        Api(server.endpoint_url, token or "").file("in the bucket", b"bucket!")
        made = run("admin", "backup", backup, "--data", data)
        assert (made.returncode, made.stderr) == (0, "")
        assert made.stdout == (
            "1 content (6B), 1 copied (6B): 0 problems\n1 content in the object store, not copied\n"
        )
    assert run("admin", "restore", backup, restored).returncode == 0
    with server_process(restored) as server:
        fs = fsspec.filesystem(
            "rino", endpoint_url=server.endpoint_url, token=token, skip_instance_cache=True
        )
        assert fs.cat_file("in the folder") == b"folder"
        assert fs.cat_file("in the bucket") == b"bucket!"
