"""``rinofs admin index``, beside a server that runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rinofs import RinoFileSystem
from rinofs.cli.main import main
from rinofs.testing import live_server

if TYPE_CHECKING:
    from pathlib import Path


def test_indexes_are_added_listed_and_dropped(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def admin(*args: str, data: Path) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as ended:
            main.main(["admin", *args, "--data", str(data)])
        return ended.value.code, *capsys.readouterr()

    with live_server() as server:
        fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
        for number in range(3):
            fs.pipe_file(f"f{number}", b"x", metadata={"run": number, "name": "a"})
        data = server.data_dir
        assert admin("index", "add", "run", data=data) == (0, "Made an index on run.\n", "")
        assert admin("index", "add", "metadata.name", data=data)[0] == 0
        assert [info["name"] for info in fs.query(run__gte=1)] == ["f1", "f2"]
        assert admin("index", "list", data=data)[1] == "metadata.name\nrun\n"
        assert json.loads(admin("index", "list", "--json", data=data)[1]) == ["metadata.name", "run"]
        code, _, problem = admin("index", "add", "size", data=data)
        assert code == 1
        assert "metadata.size" in problem
        code, _, problem = admin("index", "drop", "other", data=data)
        assert code == 1
        assert "no index" in problem
        assert admin("backup", str(tmp_path / "backup"), data=data)[0] == 0
        assert admin("index", "drop", "metadata.name", data=data)[0] == 0
        assert admin("index", "list", data=data)[1] == "run\n"
        assert admin("fsck", data=data)[0] == 0
    with pytest.raises(SystemExit) as ended:
        main.main(["admin", "restore", str(tmp_path / "backup"), str(tmp_path / "restored")])
    assert ended.value.code == 0
    capsys.readouterr()
    assert admin("index", "list", data=tmp_path / "restored")[1] == "metadata.name\nrun\n"
    assert admin("fsck", data=tmp_path / "restored")[0] == 0


@pytest.mark.parametrize("command", ["fsck", "gc", "user list"])
def test_a_folder_without_a_database_is_not_taken_for_an_empty_server(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["admin", *command.split(), "--data", str(tmp_path)])
    assert ended.value.code == 1
    assert f"{tmp_path}: there is no database in this folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
