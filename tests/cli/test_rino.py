"""The commands on a Rinocloud server, with its extensions and without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs.testing import live_server
from tests.cli.conftest import contents, point_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run, Start

ODD = ["a b", "#1", "50%", "what?", "a+b;c", "[1]", "x@y", ".hidden", "ünï ❄", "a::b", "%2F", "-r", "~"]


@pytest.fixture(params=[True, False], ids=["extensions", "plain"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as running:
        point_to(running, monkeypatch)
        yield running


@pytest.fixture
def fs(server: LiveServer) -> Any:
    return fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=server.token)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with names of all kinds."""
    root = tmp_path / "odd"
    for number, name in enumerate(ODD):
        (root / name / "inner").mkdir(parents=True)
        (root / name / f"{name}.csv").write_text(f"{number}")
    return root


def asked(server: LiveServer) -> list[str]:
    return [request.path.removeprefix("/api/1/files/").strip("/") for request in server.requests]


def test_folders_of_any_name_go_there_and_back(
    run: Run, server: LiveServer, odd: Path, tmp_path: Path
) -> None:
    assert run("put", "-r", odd, "rino://exp").exit_code == 0
    result = run("get", "-r", "rino://exp", tmp_path / "back")
    assert (result.exit_code, result.stderr) == (0, "")
    assert contents(tmp_path / "back") == contents(odd)


def test_what_find_prints_names_what_it_found(
    run: Run, server: LiveServer, odd: Path, tmp_path: Path
) -> None:
    run("put", "-r", odd, "rino://exp")
    urls = run("find", "--type", "f", "rino://exp").stdout.splitlines()
    assert sorted(urls) == sorted(f"rino://exp/{name}/{name}.csv" for name in ODD)
    for number, name in enumerate(ODD):
        url = f"rino://exp/{name}/{name}.csv"
        assert run("cat", url).stdout == str(number), url
        assert run("info", url).exit_code == 0, url
        assert run("get", url, f"{tmp_path}/one/{number}/").exit_code == 0, url
        assert run("rm", url).exit_code == 0, url
    assert run("find", "--type", "f", "rino://exp").stdout == ""


def test_listings(run: Run, server: LiveServer, runs: Path) -> None:
    assert run("put", "-r", runs, "rino://exp").exit_code == 0
    assert run("ls", "rino://").stdout == "exp/\n"
    assert run("ls", "rino://exp").stdout.splitlines() == ["a.csv", "b [1].csv", "empty/", "run 1/", "run 2/"]
    [line] = run("ls", "-l", "rino://exp/a.csv").stdout.splitlines()
    assert line.startswith("8  20")
    assert line.endswith("  rino://exp/a.csv")
    assert run("tree", "rino://exp").stdout.splitlines()[-1] == "4 folders, 5 files"
    assert run("du", "-s", "rino://exp").stdout == "21\trino://exp\n"
    assert run("ls", "rino://exp/run*/*.csv").stdout.splitlines() == [
        "rino://exp/run 1/data.csv",
        "rino://exp/run 2/data.csv",
    ]


def test_info_shows_metadata(run: Run, server: LiveServer, fs: Any) -> None:
    fs.pipe_file("exp/a.csv", b"1,2", metadata={"subject": {"age": 31}, "note": "fünf\n"}, tags=["pilot"])
    text = run("info", "rino://exp/a.csv").stdout
    assert '{"subject": {"age": 31}, "note": "fünf\\\\n"}' in text.replace("\\n", "\\\\n")
    [document] = json.loads(run("info", "--json", "rino://exp/a.csv").stdout)
    assert document["metadata"] == {"subject": {"age": 31}, "note": "fünf\n"}
    assert document["tags"] == ["pilot"]
    assert document["size"] == 3


def test_addresses_by_id(run: Run, server: LiveServer, fs: Any, tmp_path: Path) -> None:
    fs.pipe_file("exp/a.csv", b"1,2")
    folder = fs.info("exp")["id"]
    assert run("cat", f"rino://@{folder}/a.csv").stdout == "1,2"
    assert run("get", f"rino://@{fs.info('exp/a.csv')['id']}", tmp_path / "by id").exit_code == 0
    assert (tmp_path / "by id").read_text() == "1,2"
    for url in run("find", f"rino://@{folder}").stdout.splitlines():
        assert run("cat", url).stdout == "1,2"


def test_copies_and_moves_are_made_by_the_server(run: Run, server: LiveServer, runs: Path) -> None:
    run("put", "-r", runs, "rino://exp")
    server.reset()
    assert run("cp", "-r", "rino://exp", "rino://copy").exit_code == 0
    assert run("cp", "rino://exp/a.csv", "rino://copy/c.csv").exit_code == 0
    assert run("mv", "rino://copy", "rino://moved").exit_code == 0
    assert run("mv", "rino://moved/c.csv", "rino://moved/run 1").exit_code == 0
    assert not {path for path in asked(server) if path.startswith(("upload", "download"))}
    assert asked(server).count("copy") == 2
    assert run("du", "-s", "rino://moved").stdout == "29\trino://moved\n"
    assert run("cat", "rino://moved/run 1/c.csv").stdout == "x,y\n1,2\n"


def test_a_folder_copied_into_one_that_is_there_joins_it(
    run: Run, server: LiveServer, runs: Path, fs: Any
) -> None:
    run("put", "-r", runs, "rino://exp")
    fs.pipe_file("there/exp/only here", b"1")
    assert run("cp", "-r", "rino://exp", "rino://there").exit_code == 0
    fs.invalidate_cache()
    assert fs.cat("there/exp/only here") == b"1"
    assert len(fs.find("there")) == 6


def test_removing_many_is_one_request(run: Run, server: LiveServer, runs: Path) -> None:
    run("put", "-r", runs, "rino://exp")
    server.reset()
    assert run("rm", "rino://exp/*.csv").exit_code == 0
    assert asked(server).count("delete") == 1
    assert run("rm", "-r", "rino://exp").exit_code == 0
    assert run("ls", "rino://").stdout == ""
    assert run("rm", "rino://exp").exit_code == 1


def test_a_large_file_goes_there_and_back(run: Run, server: LiveServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100_000
    (tmp_path / "big").write_bytes(content)
    assert run("put", tmp_path / "big", "rino://big").exit_code == 0
    assert run("get", "rino://big", tmp_path / "back").exit_code == 0
    assert (tmp_path / "back").read_bytes() == content
    assert run("cat", "rino://big").stdout_bytes == content


def test_many_small_files_share_requests(
    run: Run, server: LiveServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    extended = request.node.callspec.params["server"]
    source = tmp_path / "many"
    source.mkdir()
    for number in range(100):
        (source / f"{number}.csv").write_text(str(number))
    server.reset()
    assert run("put", "-r", source, "rino://many").exit_code == 0
    assert run("get", "-r", "rino://many", tmp_path / "back").exit_code == 0
    assert contents(tmp_path / "back") == contents(source)
    assert (len(server.requests) < 20) is extended


def test_an_error_names_what_it_is_about(run: Run, server: LiveServer, runs: Path) -> None:
    run("put", "-r", runs, "rino://exp")
    below_a_file = run("put", runs / "a.csv", "rino://exp/a.csv/b")
    assert below_a_file.exit_code == 1
    assert "rino://exp/a.csv" in below_a_file.stderr
    over_a_folder = run("cp", "rino://exp/a.csv", "rino://exp/empty/a.csv/")
    assert over_a_folder.exit_code == 0
    over_a_file = run("put", "-r", runs, "rino://exp/a.csv")
    assert over_a_file.exit_code == 1
    assert "rino://exp/a.csv" in over_a_file.stderr
    for args in (
        ["cat", "rino://exp"],
        ["cat", "rino://gone"],
        ["rm", "rino://gone/x"],
        ["ls", "rino://a\x01"],
    ):
        result = run(*args)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1


def test_a_wrong_token_is_one_line(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        fsspec.config.conf, "rino", {"endpoint_url": server.endpoint_url, "token": "tok-canary"}
    )
    for args in (
        ["ls", "rino://"],
        ["get", "rino://a", "."],
        ["rm", "-f", "rino://a"],
        ["put", __file__, "rino://a"],
    ):
        result = run(*args)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "rinofs login" in result.stderr
        assert "canary" not in result.stderr


def test_no_token_is_one_line(run: Run, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "rino", {"endpoint_url": server.endpoint_url})
    result = run("ls", "rino://")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "rinofs login rino" in result.stderr


def test_a_login_is_all_that_it_takes(
    run: Run, start: Start, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FSSPEC_RINO_ENDPOINT_URL")
    monkeypatch.delenv("FSSPEC_RINO_TOKEN")
    stored = run("login", "rino", "--endpoint-url", server.endpoint_url, input=f"rino\n{server.password}\n")
    assert stored.exit_code == 0
    listed = start("info", "--json", "rino://")
    output, errors = listed.communicate(timeout=60)
    assert (listed.returncode, errors) == (0, b"")
    assert json.loads(output)[0]["type"] == "directory"
