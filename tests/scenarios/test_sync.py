"""`rinofs.sync`: equal at the end, whatever happened before; few contents; nothing deleted too early."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from fsspec.callbacks import Callback
from fsspec.config import conf
from fsspec.implementations.local import LocalFileSystem

import rinofs
from rinofs import RinoFileSystem
from rinofs.fs import tree_sync
from rinofs.fs.transfer import local_names
from rinofs.protocol.digests import SHA256
from rinofs.protocol.limits import CLIENT_PAGE, MAX_BUNDLE_UPLOAD
from rinofs.rinocloud.client import RinocloudClient
from rinofs.testing import Fault, live_server
from tests.benchmarks.data import widen
from tests.campaign import rounds
from tests.rinocloud.api import Api
from tests.scenarios.rinocloud.limited import Limits, limited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

FILES = {"a.csv": b"a", "run 1/b.csv": b"bb", "run 1/deep/c [1].csv": b"", "run 2/d#.csv": b"d" * 3_000}
MANY, CHANGED = 10_000, 100


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _services(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    options = {"endpoint_url": server.endpoint_url, "token": server.token}
    for service in ("rino", "repovizz"):
        monkeypatch.setitem(conf, service, options)
        monkeypatch.setenv(f"FSSPEC_{service.upper()}_ENDPOINT_URL", server.endpoint_url)
        monkeypatch.setenv(f"FSSPEC_{service.upper()}_TOKEN", server.token)
    server.reset()
    yield
    server.reset()


def fill(url: str, files: dict[str, bytes]) -> None:
    fs, path = fsspec.url_to_fs(url)
    for relative, data in files.items():
        fs.makedirs(fs._parent(f"{path}/{relative}"), exist_ok=True)
        fs.pipe_file(f"{path}/{relative}", data)


def contents(url: str) -> dict[str, bytes]:
    fs, path = fsspec.url_to_fs(url)
    fs.invalidate_cache()
    found = [name for name in fs.find(path) if not name.rpartition("/")[2].startswith(".rinofs-")]
    # fsspec's own cat takes a name for a pattern where it can.
    many = (
        fs.cat(found)
        if found and isinstance(fs, RinoFileSystem)
        else {name: fs.cat_file(name) for name in found}
    )
    return {name.removeprefix(f"{path}/"): data for name, data in many.items()}


# Equal at the end

SIDES = ["local", "rino", "repovizz", "memory"]


def url_of(side: str, name: str, folder: Path) -> str:
    return {
        "local": str(folder / name),
        "rino": f"rino://{folder.name}/{name}",
        "repovizz": f"repovizz://{folder.name} {name}",
        "memory": f"memory://{folder.name}/{name}",
    }[side]


@pytest.mark.parametrize(
    ("source", "target"),
    [(one, other) for one in SIDES for other in SIDES if {one, other} != {"memory", "repovizz"}],
)
def test_a_folder_becomes_equal_to_another(source: str, target: str, tmp_path: Path) -> None:
    there, here = url_of(source, "from", tmp_path), url_of(target, "to", tmp_path)
    fill(there, FILES)
    plan = rinofs.sync(there, here)
    assert plan.copied == sorted(FILES)
    assert contents(here) == FILES

    fs, path = fsspec.url_to_fs(there)
    fill(there, {"a.csv": b"A", "new/e.csv": b"e"})
    fs.rm_file(f"{path}/run 2/d#.csv")
    fill(here, {"only/here/x": b"x"})
    after = {**FILES, "a.csv": b"A", "new/e.csv": b"e"}
    del after["run 2/d#.csv"]
    plan = rinofs.sync(there, here)
    assert plan.copied == ["a.csv", "new/e.csv"]
    assert plan.deleted == 0
    assert contents(here) == {**FILES, **after, "only/here/x": b"x"}
    rinofs.sync(there, here, delete=True)
    assert contents(here) == after
    assert not fsspec.url_to_fs(here)[0].exists(f"{fsspec.url_to_fs(here)[1]}/only")
    assert rinofs.sync(there, here, delete=True).unchanged == len(after)


@pytest.mark.parametrize(
    ("source", "target"),
    [("local", "rino"), ("rino", "local"), ("rino", "rino"), ("repovizz", "local"), ("local", "repovizz")],
)
def test_nothing_is_downloaded_to_compare(
    source: str, target: str, tmp_path: Path, server: LiveServer
) -> None:
    there, here = url_of(source, "from", tmp_path), url_of(target, "to", tmp_path)
    fill(there, FILES)
    rinofs.sync(there, here)
    server.reset()
    assert rinofs.sync(there, here).unchanged == len(FILES)
    paths = [request.path for request in server.requests]
    assert not [path for path in paths if "download" in path or "content" in path or "upload" in path]


@pytest.mark.parametrize("lacking", [set(), {"sha256"}, {"blake3"}, {"blake3", "sha256"}])
@pytest.mark.parametrize("module", [True, False], ids=["with the module", "without"])
def test_a_digest_that_a_record_does_not_have_yet(
    lacking: set[str], module: bool, tmp_path: Path, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may compute some digests later; what is the same is neither read nor sent again."""
    if not module:
        monkeypatch.setattr(tree_sync, "best_digest", lambda offered: SHA256 if SHA256 in offered else None)
    with limited(server, Limits(without=frozenset(lacking))) as (url, _):
        monkeypatch.setitem(conf, "rino", {"endpoint_url": url, "token": server.token})
        there, here = str(tmp_path / "from"), f"rino://{tmp_path.name}"
        fill(there, FILES)
        rinofs.sync(there, here)
        fill(there, {"run 2/d#.csv": b"D" * 3_000})
        server.reset()
        assert rinofs.sync(there, here).copied == ["run 2/d#.csv"]
        assert rinofs.sync(here, f"{here} again").copied == sorted(FILES)
        assert rinofs.sync(here, f"{here} again").unchanged == len(FILES)
        fill(f"{here} again", {"run 2/d#.csv": b"e" * 3_000})
        assert rinofs.sync(here, f"{here} again").copied == ["run 2/d#.csv"]
    assert not [request for request in server.requests if "download" in request.path]


def test_the_published_api_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_server(extensions=False) as plain:
        monkeypatch.setitem(conf, "rino", {"endpoint_url": plain.endpoint_url, "token": plain.token})
        fill(str(tmp_path / "from"), FILES)
        rinofs.sync(tmp_path / "from", "rino://exp")
        fill(str(tmp_path / "from"), {"a.csv": b"A"})
        plain.reset()
        assert rinofs.sync(tmp_path / "from", "rino://exp").copied == ["a.csv"]
        assert not [request for request in plain.requests if "download" in request.path]
        assert contents("rino://exp") == {**FILES, "a.csv": b"A"}


def test_of_many_files_only_the_changed_ones_are_sent(tmp_path: Path, server: LiveServer) -> None:
    folder = widen(fsspec.filesystem("rino"), server.data_dir / "rinofs.sqlite3", MANY)
    changed = set(random.Random(1).sample(range(MANY), CHANGED))
    for number in range(MANY):
        (tmp_path / f"f{number:06}").write_bytes(b"changed" if number in changed else b"x")
    server.reset()
    plan = rinofs.sync(tmp_path, f"rino://{folder}")
    assert (len(plan.copied), plan.unchanged) == (CHANGED, MANY - CHANGED)
    asked = [request.path.rstrip("/").rpartition("/")[2] for request in server.requests]
    pages, bundles = MANY // CLIENT_PAGE + 1, -(-CHANGED // MAX_BUNDLE_UPLOAD)
    assert asked.count("children") <= pages
    assert asked.count("upload_many") == bundles
    assert len(asked) <= pages + bundles + 3, asked
    sent = max(request.bytes_in for request in server.requests)
    assert sent < CHANGED * 1_000


# Interrupted at any point


class InterruptionError(Exception):
    """The user, the network or the machine ends the work."""


class Ending(Callback):
    """A callback that ends the transfer after so many steps."""

    def __init__(self, steps: list[int]) -> None:
        super().__init__()
        self._steps = steps

    def relative_update(self, inc: int = 1) -> None:
        self._steps[0] -= 1
        if self._steps[0] <= 0:
            raise InterruptionError

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Ending:
        return Ending(self._steps)


class FailingFrom:
    """The server refuses everything from a request on; of that one, perhaps only the answer is lost."""

    def __init__(self, number: int, *, carried_out: bool) -> None:
        self._left = number
        self._carried_out = carried_out

    def __call__(self, method: str, path: str) -> Fault | None:
        self._left -= 1
        if self._left > 0:
            return None
        if self._left == 0 and self._carried_out:
            return Fault(lose_answer=True)
        return Fault(status=403, body=b'{"error": "interrupted"}')


def some_files(chance: random.Random) -> dict[str, bytes]:
    sizes = [0, 1, 100, 70_000]
    names = [f"{folder}{letter}" for folder in ("", "x/", "x/y/", "z/") for letter in "abc"]
    return {
        name: chance.randbytes(chance.choice(sizes)) for name in chance.sample(names, chance.randint(1, 8))
    }


def fill_at_once(url: str, files: dict[str, bytes]) -> None:
    fs, path = fsspec.url_to_fs(url)
    if isinstance(fs, LocalFileSystem):
        fill(url, files)
    else:
        fs.pipe({f"{path}/{relative}": data for relative, data in files.items()})


DIRECTIONS = [
    *(("local", "rino"), ("rino", "local"), ("local", "repovizz"), ("repovizz", "local")),
    *(("rino", "rino"), ("rino", "repovizz"), ("repovizz", "rino"), ("repovizz", "repovizz")),
]


def interruption(chance: random.Random, server: LiveServer) -> dict[str, Any]:
    """Have the network or the user end what follows; return the arguments of `sync` for that."""
    if chance.random() < 0.4:
        return {"callback": Ending([chance.randint(1, 8)])}
    server.faults = FailingFrom(chance.randint(2, 10), carried_out=chance.random() < 0.5)
    return {}


@pytest.mark.covering
@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_interrupted_and_done_again_it_ends_equal(
    source: str, target: str, tmp_path: Path, server: LiveServer
) -> None:
    interrupted, number = 0, 0
    while interrupted < rounds(4, 60):
        number += 1
        chance = random.Random(number)
        wanted, before = some_files(chance), some_files(chance)
        there, here = url_of(source, f"from {number}", tmp_path), url_of(target, f"to {number}", tmp_path)
        fill_at_once(there, wanted)
        fill_at_once(here, before)
        try:
            rinofs.sync(there, here, delete=True, **interruption(chance, server))
        except (InterruptionError, OSError):
            interrupted += 1
            server.faults = None
            kept = contents(here)
            if not before.keys() <= kept.keys():
                assert wanted.items() <= kept.items(), "deleted before all was copied"
            assert all(data in (before.get(path), wanted.get(path)) for path, data in kept.items())
        server.faults = None
        rinofs.sync(there, here, delete=True)
        assert contents(here) == wanted, number
        assert contents(there) == wanted, number


PROGRAM = "import rinofs, sys; rinofs.sync(sys.argv[1], sys.argv[2], delete=True)"


@pytest.mark.parametrize("target", ["rino", "local"])
def test_killed_and_done_again_it_ends_equal(target: str, tmp_path: Path, server: LiveServer) -> None:
    wanted = {f"{number % 7}/{number}": random.Random(number).randbytes(200_000) for number in range(40)}
    chance = random.Random(target)
    remote, local = f"rino://killed {target}", str(tmp_path / "here")
    source, there = (local, remote) if target == "rino" else (remote, local)
    fill(source, wanted)
    fill(there, {"only there": b"x"})
    for _ in range(rounds(1, 10)):
        seen = len(server.requests) + chance.randint(2, 20)
        with subprocess.Popen([sys.executable, "-c", PROGRAM, source, there]) as process:
            while process.poll() is None and len(server.requests) < seen:
                time.sleep(0.005)
            process.kill()
        kept = contents(there)
        kept.pop("only there", None)
        assert kept.items() <= wanted.items()
    rinofs.sync(source, there, delete=True)
    assert contents(there) == wanted
    if target == "local":
        assert not list((tmp_path / "here").rglob(".rinofs-*"))


# What is not copied, and not deleted


def test_nothing_is_deleted_when_something_could_not_be_copied(tmp_path: Path, server: LiveServer) -> None:
    fill(str(tmp_path / "from"), FILES)
    (tmp_path / "from" / "broken").symlink_to("nowhere")
    fill("rino://careful", {"old": b"o"})
    plan = rinofs.sync(tmp_path / "from", "rino://careful", delete=True, on_error="return")
    assert list(plan.errors) == [str(tmp_path / "from" / "broken")]
    assert contents("rino://careful") == {**FILES, "old": b"o"}


def test_a_source_that_is_not_there_deletes_nothing(tmp_path: Path) -> None:
    fill("rino://kept", FILES)
    with pytest.raises(FileNotFoundError):
        rinofs.sync(tmp_path / "gone", "rino://kept", delete=True)
    with pytest.raises(FileNotFoundError):
        rinofs.sync("rino://gone", "rino://kept", delete=True)
    assert contents("rino://kept") == FILES


@pytest.mark.parametrize("extensions", [True, False])
@pytest.mark.parametrize("change", ["renamed", "deleted", "moved", "file"])
def test_a_source_that_another_client_has_just_removed_deletes_nothing(
    tmp_path: Path, extensions: bool, change: str
) -> None:
    with live_server(extensions=extensions) as server:
        api, options = Api.of(server), {"endpoint_url": server.endpoint_url, "token": server.token}
        for relative, data in FILES.items():
            api.upload(f"src/{relative}", data)
        rinofs.sync("rino://src", tmp_path / "here", source_options=options)
        fs = RinoFileSystem(**options)
        for path in fs.find("src", withdirs=True):
            fs.ls(path)
            fs.info(path)
        if change == "renamed":
            api.post("update", id=api.id_of("src"), name="renamed")
        elif change == "moved":
            api.post("move", items=[api.id_of("src")], parent=api.post("create_folder", name="other")["id"])
        else:
            api.post("delete", id=api.id_of("src"))
        if change == "file":
            api.upload("src", b"1")
        with pytest.raises(NotADirectoryError if change == "file" else FileNotFoundError):
            rinofs.sync("rino://src", tmp_path / "here", delete=True, source_options=options)
        assert contents(str(tmp_path / "here")) == FILES


@pytest.mark.parametrize("extensions", [True, False])
@pytest.mark.parametrize("vanishing", ["src", "src/run 1", "src/run 1/deep"])
def test_a_folder_of_the_source_that_goes_while_it_is_listed_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extensions: bool, vanishing: str
) -> None:
    with live_server(extensions=extensions) as server:
        api, options = Api.of(server), {"endpoint_url": server.endpoint_url, "token": server.token}
        for relative, data in FILES.items():
            api.upload(f"src/{relative}", data)
        rinofs.sync("rino://src", tmp_path / "here", source_options=options)
        number = api.id_of(*vanishing.split("/"))
        ask = RinocloudClient._post

        def interfere(client: RinocloudClient, endpoint: str, body: dict[str, Any], **options: Any) -> Any:
            """Delete the folder right before it is listed, with what is below it if possible."""
            if endpoint == "children" and (body.get("id") == number or body.get("recursive")):
                monkeypatch.setattr(RinocloudClient, "_post", ask)
                api.post("delete", id=number)
            return ask(client, endpoint, body, **options)

        monkeypatch.setattr(RinocloudClient, "_post", interfere)
        if extensions and vanishing != "src":  # one request lists all, as it is at one moment
            rinofs.sync("rino://src", tmp_path / "here", delete=True, source_options=options)
            left = {
                path: data for path, data in FILES.items() if not f"src/{path}".startswith(f"{vanishing}/")
            }
            assert contents(str(tmp_path / "here")) == left
            return
        with pytest.raises(FileNotFoundError):
            rinofs.sync("rino://src", tmp_path / "here", delete=True, source_options=options)
        assert contents(str(tmp_path / "here")) == FILES


def test_what_is_excluded_stays_as_it_is_on_both_sides(tmp_path: Path) -> None:
    local = tmp_path / "from"
    fill(str(local), {"a": b"1", "b.tmp": b"1", "raw/x.bin": b"1", "raw/deep/x.bin": b"1", "skip/c": b"1"})
    fill("rino://excluding", {"c.tmp": b"2", "old/d.tmp": b"2", "old/e": b"2", "skip/f": b"2"})
    exclude = ["*.tmp", "raw/*.bin", "skip"]
    rinofs.sync(local, "rino://excluding", delete=True, exclude=exclude)
    assert contents("rino://excluding") == {
        "a": b"1",
        "raw/deep/x.bin": b"1",
        "c.tmp": b"2",
        "old/d.tmp": b"2",
        "skip/f": b"2",
    }


def test_a_file_and_a_folder_of_one_name(tmp_path: Path) -> None:
    fill(str(tmp_path / "from"), {"x": b"file", "y/z": b"in folder", "other": b"1"})
    fill("rino://kinds", {"x/old": b"o", "y": b"o"})
    plan = rinofs.sync(tmp_path / "from", "rino://kinds", on_error="return")
    assert [Path(path).name for path in plan.errors] == ["x", "y"]
    assert contents("rino://kinds") == {"x/old": b"o", "y": b"o", "other": b"1"}
    rinofs.sync(tmp_path / "from", "rino://kinds", delete=True)
    assert contents("rino://kinds") == {"x": b"file", "y/z": b"in folder", "other": b"1"}


def test_links_are_followed_to_files_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    fill(str(tmp_path), {"from/a": b"1", "outside/secret": b"s", "to/keep/b": b"b"})
    (tmp_path / "from" / "link").symlink_to("a")
    (tmp_path / "from" / "folder").symlink_to(outside)
    (tmp_path / "to" / "gone").symlink_to(outside)
    plan = rinofs.sync(tmp_path / "from", tmp_path / "to", on_error="return")
    assert list(plan.errors) == [str(tmp_path / "from" / "folder")]
    rinofs.sync(tmp_path / "from", tmp_path / "to", delete=True, exclude=["folder"])
    assert contents(str(tmp_path / "to")) == {"a": b"1", "link": b"1"}
    assert not (tmp_path / "to" / "gone").is_symlink()
    assert (outside / "secret").read_bytes() == b"s"


def test_names_that_are_one_to_the_local_system_do_not_cover_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill("rino://cases", {"Run.csv": b"1", "run.csv": b"2", "other": b"3"})
    fill(str(tmp_path / "to"), {"RUN.csv": b"1"})
    rules = local_names.NameRules(windows=False, folds_case=True)
    monkeypatch.setattr(local_names.NameRules, "of", lambda _: rules)
    plan = rinofs.sync("rino://cases", tmp_path / "to", delete=True, on_error="omit")
    assert list(plan.errors) == ["cases/run.csv"]
    assert contents(str(tmp_path / "to")) == {"RUN.csv": b"1", "other": b"3"}


@pytest.mark.parametrize(("source", "target"), [("exp", "exp"), ("exp", "exp/run"), ("exp/run", "exp")])
def test_a_folder_is_not_made_equal_to_a_part_of_itself(source: str, target: str, tmp_path: Path) -> None:
    fill(f"rino://{tmp_path.name}/exp/run", FILES)
    with pytest.raises(ValueError, match="in the other"):
        rinofs.sync(f"rino://{tmp_path.name}/{source}", f"rino://{tmp_path.name}/{target}", delete=True)


def test_empty_folders_are_made_and_unmade(tmp_path: Path) -> None:
    fs = fsspec.filesystem("rino")
    (tmp_path / "from" / "empty" / "deep").mkdir(parents=True)
    fill("rino://folders", {"old/deep/x": b"x"})
    rinofs.sync(tmp_path / "from", "rino://folders", delete=True)
    assert fs.find("folders", withdirs=True) == ["folders", "folders/empty", "folders/empty/deep"]


def test_a_dry_run_does_nothing(tmp_path: Path) -> None:
    fill(str(tmp_path / "from"), FILES)
    fill("rino://dry", {"old": b"o", "a.csv": b"other"})
    plan = rinofs.sync(tmp_path / "from", "rino://dry", delete=True, dry_run=True)
    assert (plan.comparison.changed, plan.comparison.extra) == (["a.csv"], ["old"])
    assert len(plan.comparison.new) == len(FILES) - 1
    assert contents("rino://dry") == {"old": b"o", "a.csv": b"other"}
