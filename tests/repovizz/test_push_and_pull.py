"""`rinofs datapack push` and `pull`: what is pulled and pushed again is equal, whatever its shape."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from click.testing import CliRunner, Result
from fsspec.config import conf
from hypothesis import HealthCheck, given, settings

from rinofs.cli.main import main
from rinofs.datapack import Container, DataNode, Document, Node, Tree, dump, parse
from rinofs.datapack.document.validation import flaws
from rinofs.errors import InvalidDatapackError
from rinofs.testing import Fault
from tests.campaign import rounds
from tests.datapack.packs import names, tutorial, write_tutorial
from tests.repovizz.api import Api, empty

if TYPE_CHECKING:
    from rinofs import RepovizzFileSystem
    from rinofs.testing import LiveServer

data_nodes = st.builds(
    lambda name, number, text: DataNode.create(name, f"files/{number}", text=text),
    names,
    st.integers(0, 5),
    st.text(max_size=3),
)
nodes: st.SearchStrategy[Node] = st.recursive(
    data_nodes,
    lambda inner: st.builds(Container.create, names, st.lists(inner, max_size=4)),
    max_leaves=8,
)
contents = st.lists(st.binary(max_size=20), min_size=6, max_size=6)


@pytest.fixture(autouse=True)
def _points_here(server: LiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setitem(conf, "repovizz", {"endpoint_url": server.endpoint_url, "token": server.token})


def run(*args: Any) -> Result:
    return CliRunner().invoke(main, ["datapack", *map(str, args)], prog_name="rinofs")


def ok(*args: Any) -> Any:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_what_is_pulled_and_pushed_again_is_equal(
    server: LiveServer, fs: RepovizzFileSystem, name: str
) -> None:
    api = Api.of(server)
    first, second = api.create(f"{name} 1"), api.create(f"{name} 2")

    @settings(
        max_examples=rounds(12, 80), deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.lists(nodes, max_size=5), contents)
    def check(children: list[Node], data: list[bytes]) -> None:
        document = Document.create(f"{name} 1", children, author="ü", keywords=["a", "b"])
        api.edit(first, document.to_json())
        used = {node.link for _, node in Tree(document).walk() if isinstance(node, DataNode)}
        for link in used:
            api.upload(first, link, data[int(link.rpartition("/")[2])])
        fs.invalidate_cache()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            ok("pull", f"repovizz://{first}", out)
            pulled = parse((out / "datapack.json").read_bytes())
            assert not flaws(pulled)
            # One datapack is used again and again, as if its push had broken off before the first file.
            api.edit(second, pulled.to_json())
            fs.invalidate_cache()
            files = {node.link for _, node in Tree(pulled).walk() if isinstance(node, DataNode)}
            sent = ok("push", out / "datapack.json", f"repovizz://{name} 2")
            assert sent["sent"] == len(files)
        assert api.structure(second) == api.structure(first)
        wanted, found = fs.cat(first, recursive=True), fs.cat(second, recursive=True)
        assert {path.partition("/")[2]: content for path, content in wanted.items()} == {
            path.partition("/")[2]: content for path, content in found.items()
        }

    check()


def test_a_push_makes_the_datapack_of_the_tutorial(fs: RepovizzFileSystem, name: str, tmp_path: Path) -> None:
    document = write_tutorial(tmp_path / "pack")
    assert ok("push", document, f"repovizz://{name}")["sent"] == 4
    assert fs.find(name) == [
        f"{name}/EMG/EMG",
        f"{name}/IMU/Accelerometer",
        f"{name}/IMU/Gyroscope",
        f"{name}/video",
    ]
    assert fs.cat_file(f"{name}/video") == (tmp_path / "pack" / "clip 1.mp4").read_bytes()
    info = fs.info(f"{name}/IMU/Accelerometer")
    assert info["datatype"] == tutorial()["children"][2]["children"][0]["type"]
    assert info["text"] == "Accelerometer of the arm"


def test_the_name_in_the_document_is_the_default(fs: RepovizzFileSystem, name: str, tmp_path: Path) -> None:
    (tmp_path / "datapack.json").write_text(json.dumps(empty(name)))
    result = run("push", tmp_path, "repovizz://")
    assert result.stdout.startswith(f"repovizz://{name}: 0 files sent; its id is ")
    assert fs.isdir(name)


def test_datapacks_are_pushed_to_repovizz_alone(tmp_path: Path) -> None:
    document = write_tutorial(tmp_path / "pack")
    for target in ("rino://pack", "pack", "memory://pack"):
        result = run("push", document, target)
        assert result.exit_code == 1
        assert result.stderr == f"rinofs: {target}: not a repovizz2 datapack; use repovizz://NAME\n"


def test_a_push_that_broke_off_goes_on_where_it_was(
    server: LiveServer, fs: RepovizzFileSystem, name: str, tmp_path: Path
) -> None:
    document = write_tutorial(tmp_path / "pack")
    server.faults = lambda method, path: Fault(status=500) if path.endswith(".mp4") else None
    broken = run("push", document, f"repovizz://{name}")
    assert broken.exit_code == 1
    assert broken.stderr.count("\n") == 1
    server.reset()
    fs.invalidate_cache()
    done = ok("push", document, f"repovizz://{name}")
    assert not done["created"]
    assert done["sent"] + done["kept"] == 4
    assert done["sent"] >= 1
    assert ok("push", document, f"repovizz://{name}")["sent"] == 0
    assert fs.cat_file(f"{name}/video") == (tmp_path / "pack" / "clip 1.mp4").read_bytes()


def test_a_push_sends_what_is_another_file_by_now(
    server: LiveServer, fs: RepovizzFileSystem, name: str, tmp_path: Path
) -> None:
    document = write_tutorial(tmp_path / "pack")
    ok("push", document, f"repovizz://{name}")
    (tmp_path / "pack" / "IMU" / "gyroscope.json").write_text("[[4, 5, 6]]")
    done = ok("push", document, f"repovizz://{name}")
    # The server was seen to name contents by their sha1.
    assert (done["sent"], done["kept"]) == (1, 3)
    assert fs.cat_file(f"{name}/IMU/Gyroscope") == b"[[4, 5, 6]]"


def test_a_push_refuses_another_datapack_of_the_name(
    fs: RepovizzFileSystem, pack: str, tmp_path: Path
) -> None:
    fs.pipe_file(f"{pack}/a.txt", b"1")
    result = run("push", write_tutorial(tmp_path / "pack"), f"repovizz://{pack}")
    assert result.exit_code == 1
    assert "another structure" in result.stderr
    assert fs.find(pack) == [f"{pack}/a.txt"]


def test_a_push_with_a_missing_file_makes_nothing(
    server: LiveServer, fs: RepovizzFileSystem, name: str, tmp_path: Path
) -> None:
    document = write_tutorial(tmp_path / "pack")
    (tmp_path / "pack" / "clip 1.mp4").unlink()
    result = run("push", document, f"repovizz://{name}")
    assert result.exit_code == 1
    assert "clip 1.mp4" in result.stderr
    assert not fs.exists(name)


@pytest.mark.parametrize("kind", ["file", "folder", "chain"])
def test_a_symbolic_link_out_of_the_folder_is_not_pushed(
    fs: RepovizzFileSystem, name: str, tmp_path: Path, kind: str
) -> None:
    document = write_tutorial(tmp_path / "pack")
    (tmp_path / "outside").mkdir()
    secret = tmp_path / "outside" / "clip 1.mp4"
    secret.write_bytes(b"secret")
    inside = tmp_path / "pack" / "clip 1.mp4"
    inside.unlink()
    if kind == "file":
        inside.symlink_to(secret)
    elif kind == "folder":
        (tmp_path / "pack" / "folder").symlink_to(secret.parent)
        inside.symlink_to("folder/clip 1.mp4")
    else:
        (tmp_path / "pack" / "other").symlink_to(secret)
        inside.symlink_to("other")
    with pytest.raises(InvalidDatapackError, match="symbolic link"):
        fs.push(str(document), name)
    assert not fs.exists(name)


def test_a_symbolic_link_within_the_folder_is_pushed(
    fs: RepovizzFileSystem, name: str, tmp_path: Path
) -> None:
    document = write_tutorial(tmp_path / "pack")
    inside = tmp_path / "pack" / "clip 1.mp4"
    inside.rename(tmp_path / "pack" / "moved")
    inside.symlink_to("moved")
    (tmp_path / "link").symlink_to(tmp_path / "pack")
    fs.push(str(tmp_path / "link" / Path(document).name), name)
    assert fs.exists(name)


def test_a_document_with_flaws_is_not_pushed(fs: RepovizzFileSystem, name: str, tmp_path: Path) -> None:
    raw = tutorial()
    del raw["children"][2]["children"][1]["text"]
    (tmp_path / "datapack.json").write_text(json.dumps(raw))
    with pytest.raises(InvalidDatapackError, match="IMU/Gyroscope: 'text' is missing"):
        fs.push(str(tmp_path / "datapack.json"), name)
    assert not fs.exists(name)


def test_a_pull_tells_what_was_never_uploaded(
    server: LiveServer, fs: RepovizzFileSystem, name: str, tmp_path: Path
) -> None:
    api = Api.of(server)
    identifier = api.create(name, *tutorial()["children"])
    api.upload(identifier, "clip 1.mp4", b"a film")
    result = run("pull", f"repovizz://{name}", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 3
    assert "EMG/EMG" in result.stderr
    assert (tmp_path / "out" / "video").read_bytes() == b"a film"
    again = run("pull", f"repovizz://{name}", tmp_path / "out")
    assert "--force" in again.stderr
    assert parse((tmp_path / "out" / "datapack.json").read_bytes()).info.name == name


def test_a_pulled_folder_is_a_datapack_of_its_own(fs: RepovizzFileSystem, name: str, tmp_path: Path) -> None:
    import fsspec

    ok("push", write_tutorial(tmp_path / "pack"), f"repovizz://{name}")
    ok("pull", f"repovizz://{name}", tmp_path / "out")
    with fsspec.open(f"datapack://EMG/EMG::file://{tmp_path}/out/datapack.json") as file:
        assert file.read() == b"a,b\n1,2\n3,4\n"
    assert dump(parse((tmp_path / "out" / "datapack.json").read_bytes()))


def test_the_document_at_the_service_is_a_datapack_too(
    fs: RepovizzFileSystem, options: dict[str, Any], name: str, tmp_path: Path
) -> None:
    import fsspec

    ok("push", write_tutorial(tmp_path / "pack"), f"repovizz://{name}")
    url = f"datapack://EMG/EMG::repovizz://{name}/datapack.json"
    with fsspec.open(url, datapack={"repovizz": fs}, repovizz=options) as file:
        assert file.read() == b"a,b\n1,2\n3,4\n"
