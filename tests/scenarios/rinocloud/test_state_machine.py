"""Random operations, in any order, against a model: the two never differ.

Two filesystem objects work on the same server. One answers from its listings for an hour, so that any change
of its own that it does not take note of shows; the other one always asks.
"""

from __future__ import annotations

import errno
import tempfile
from contextlib import suppress
from functools import partial
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, assume, note, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from rinofs import RinoFileSystem
from rinofs.protocol.extensions import RinocloudExtension
from tests.campaign import rounds
from tests.rinocloud.api import Api
from tests.scenarios.rinocloud.model import File, Folder, Model, Names, Version, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer

MAGIC = "*?["

PLAIN = ("a", "b.csv", "run 3")
SPECIAL = (
    "#1",
    "?",
    "100%",
    "%2F",
    "a+b;c=d&e",
    "[ab]",
    "*",
    "b*",
    "!x",
    "{y}",
    ".hidden",
    "..a",
    "~",
    " ",
    "\u00e9",
    "e\u0301",
    "\u212b",
    "日本語",
    "🧪",
    "@12",
    "@@7",
    "@",
    "@a1",
    "x@y",
    "::",
    "a:b",
    "\\",
    '"',
    "'",
    "A",
    "n" * 200,
    "ü" * 200,
)
letters = st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["Cc", "Cs"])
any_name = st.text(letters, min_size=1, max_size=12).filter(lambda name: name not in {".", ".."})
names = st.one_of(st.sampled_from(PLAIN), st.sampled_from(SPECIAL), any_name)
contents = st.binary(max_size=40) | st.binary(min_size=1, max_size=3).map(lambda data: data * 70_000)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.integers(0, 10_000)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=2),
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(texts, json_values, max_size=3),
        "tags": st.lists(texts.map(str.strip).filter(bool), max_size=2),  # as the server keeps them
    },
)
bounds = st.none() | st.integers(-50, 50)

# A place: what is there already, a new name in a folder that is there, or anywhere.
spots = st.tuples(
    st.sampled_from(["there", "inside", "inside", "anywhere"]),
    numbers,
    st.lists(names, min_size=1, max_size=3),
)
# Which parts of the path, if any, are written as ids; and which of the two filesystem objects works.
aliases = st.sampled_from([None, None, None, 0, 1, 2])
workers = st.booleans()

KINDS = (
    NotADirectoryError,
    IsADirectoryError,
    FileExistsError,
    FileNotFoundError,
    PermissionError,
    NotImplementedError,
)


def kind_of(error: Exception) -> type[Exception] | int:
    for kind in KINDS:
        if isinstance(error, kind):
            return kind
    if isinstance(error, OSError) and error.errno in {errno.ENOTEMPTY, errno.EINVAL}:
        return error.errno
    raise error


def outcome(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except (OSError, NotImplementedError) as error:
        return kind_of(error)


class RinocloudMachine(RuleBasedStateMachine):
    server: LiveServer

    def __init__(self) -> None:
        super().__init__()
        options: dict[str, Any] = {"endpoint_url": self.server.endpoint_url, "token": self.server.token}
        self.cached = RinoFileSystem(**options, listings_expiry_time=3600)
        self.asking = RinoFileSystem(**options, use_listings_cache=False)
        self.api = Api.of(self.server)
        self.api.clear()
        self.cached.invalidate_cache()
        self.model = Model(extended=self.cached._backend.client.features.has(RinocloudExtension.VERSIONS))

    # Choosing

    def fs(self, cached: bool) -> RinoFileSystem:
        return self.cached if cached else self.asking

    def place(self, spot: tuple[str, int, list[str]]) -> Names:
        kind, number, parts = spot
        if kind == "anywhere":
            return tuple(parts)
        if kind == "there":
            return self.pick(number, list(self.model.nodes))
        folder = self.pick(number, [names for names in self.model.nodes if self.model.is_folder(names)])
        return (*folder, parts[0]) if len(folder) < 5 else folder

    @staticmethod
    def pick(number: int, among: list[Names]) -> Names:
        return sorted(among)[number % len(among)]

    def address(self, names: Names, alias: int | None) -> str:
        """Return a path: by names, by the id of an object on the way, or by names and the id of the last."""
        depth = None if alias is None else len(names) if alias in {0, 2} else alias
        if depth is None or not names or names[:depth] not in self.model.nodes:
            return path_of(names)
        by_id = f"@{self.api.id_of(*names[:depth])}"
        if alias == 2:
            by_id = "/".join([path_of(names[:-1]), by_id]).lstrip("/")
        return "/".join([by_id, path_of(names[depth:])]).rstrip("/")

    def literal(self, path: str, names: Names) -> None:
        """Go on only if a path that fsspec may take for a pattern is there, and so is none."""
        assume(self.model.has(names) or not any(sign in path for sign in MAGIC))

    def same(self, expected: Callable[[], Any], actual: Callable[[], Any]) -> None:
        wanted, got = outcome(expected), outcome(actual)
        assert got == wanted, f"model: {wanted!r}, filesystem: {got!r}"

    # Writing

    @rule(spot=spots, alias=aliases, cached=workers, data=contents, about=attributes, create=st.booleans())
    def pipe_file(self, spot: Any, alias: Any, cached: bool, data: bytes, about: Any, create: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        version = Version(data, about.get("metadata", {}), tuple(about.get("tags", ())))
        note(f"pipe_file {path!r}")
        self.same(
            lambda: self.model.write(names, version, exclusive=create),
            lambda: self.fs(cached).pipe_file(path, data, mode="create" if create else "overwrite", **about),
        )

    @rule(spot=spots, alias=aliases, cached=workers, data=contents, mode=st.sampled_from(["wb", "xb", "ab"]))
    def open_and_write(self, spot: Any, alias: Any, cached: bool, data: bytes, mode: str) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        note(f"open {path!r} {mode}")

        def write() -> None:
            with self.fs(cached).open(path, mode) as file:
                file.write(data)

        self.same(lambda: self._expect_write(names, data, mode), write)

    @rule(spot=spots, cached=workers, text=texts, mode=st.sampled_from(["w", "x", "a"]))
    def open_and_write_text(self, spot: Any, cached: bool, text: str, mode: str) -> None:
        names = self.place(spot)

        def write() -> None:
            with self.fs(cached).open(path_of(names), mode, encoding="utf-8", newline="") as file:
                file.write(text)

        self.same(lambda: self._expect_write(names, text.encode(), mode), write)

    def _expect_write(self, names: Names, data: bytes, mode: str) -> None:
        if mode[0] == "a":
            self.model.append(names, data)
        else:
            self.model.write(names, Version(data), exclusive=mode[0] == "x")

    @rule(spot=spots, cached=workers, data=contents, mode=st.sampled_from(["wb", "ab", "w"]))
    def fail_to_write(self, spot: Any, cached: bool, data: bytes, mode: str) -> None:
        names = self.place(spot)
        with suppress(RuntimeError, OSError), self.fs(cached).open(path_of(names), mode) as file:
            file.write(data if "b" in mode else "text")
            raise RuntimeError

    @rule(some=st.lists(st.tuples(spots, contents), min_size=1, max_size=3), cached=workers)
    def pipe_many(self, some: list[Any], cached: bool) -> None:
        files = {self.place(spot): data for spot, data in some}
        free = all(names and not self.model.has(names) for names in files)
        assume(free and not self._in_each_others_way(list(files)))
        for names in files:
            assume(not any(self.model.is_file(names[:depth]) for depth in range(1, len(names))))
        self.fs(cached).pipe({path_of(names): data for names, data in files.items()})
        for names, data in files.items():
            self.model.write(names, Version(data))

    @staticmethod
    def _in_each_others_way(several: list[Names]) -> bool:
        return any(one != other and other[: len(one)] == one for one in several for other in several)

    @rule(
        some=st.lists(st.tuples(spots, contents), min_size=1, max_size=3), cached=workers, fails=st.booleans()
    )
    def write_in_a_transaction(self, some: list[Any], cached: bool, fails: bool) -> None:
        files = {self.place(spot): data for spot, data in some}
        fs = self.fs(cached)
        assume(all(names for names in files) and not self._in_each_others_way(list(files)))
        for names in files:
            assume(not self.model.is_folder(names))
            assume(not any(self.model.is_file(names[:depth]) for depth in range(1, len(names))))
        with suppress(RuntimeError), fs.transaction:
            for names, data in files.items():
                fs.pipe_file(path_of(names), data)
            if fails:
                raise RuntimeError
        if not fails:
            for names, data in files.items():
                self.model.write(names, Version(data))

    @rule(spot=spots, alias=aliases, cached=workers, truncate=st.booleans())
    def touch(self, spot: Any, alias: Any, cached: bool, truncate: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)

        def expected() -> None:
            if not truncate and self.model.has(names):
                raise NotImplementedError
            self.model.write(names, Version(b""))

        self.same(expected, lambda: self.fs(cached).touch(path, truncate=truncate))

    @rule(spot=spots, alias=aliases, cached=workers, number=numbers)
    def restore(self, spot: Any, alias: Any, cached: bool, number: int) -> None:
        names = self.place(spot)
        assume(self.model.is_file(names))
        path = self.address(names, alias)
        versions = self.fs(cached).versions(path)
        index = number % len(versions)
        self.model.restore(names, index)
        self.fs(cached).restore(path, versions[index]["id"])

    # Local files

    @rule(spot=spots, alias=aliases, cached=workers, data=contents)
    def put_file(self, spot: Any, alias: Any, cached: bool, data: bytes) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "local")
            local.write_bytes(data)
            self.same(
                lambda: self.model.write(names, Version(data)),
                lambda: self.fs(cached).put_file(str(local), path),
            )

    @rule(spot=spots, alias=aliases, cached=workers)
    def put_folder(self, spot: Any, alias: Any, cached: bool) -> None:
        names = self.place(spot)
        assume(not self.model.has(names) or (self.model.is_folder(names) and not self.model.children(names)))
        path = self.address(names, alias)
        files = {("x", "y.txt"): b"1", ("x", "z [1]", "w"): b"22", (".v",): b""}
        with tempfile.TemporaryDirectory() as folder:
            for parts, data in files.items():
                local = Path(folder, *parts)
                local.parent.mkdir(parents=True, exist_ok=True)
                local.write_bytes(data)
            Path(folder, "empty").mkdir()

            def expected() -> None:
                self.model.makedirs(names, exist_ok=True)
                for parts, data in files.items():
                    self.model.write(names + parts, Version(data))
                self.model.mkdir((*names, "empty"))

            self.same(expected, lambda: self.fs(cached).put(f"{folder}/", path, recursive=True))

    @rule(spot=spots, alias=aliases, cached=workers)
    def get(self, spot: Any, alias: Any, cached: bool) -> None:
        names = self.place(spot)
        assume(self.model.has(names))
        below = self.model.below(names)
        # A local name has at most 255 bytes.
        assume(all(len(path_of((part,)).encode()) < 256 for inner in below for part in inner[len(names) :]))
        path = self.address(names, alias)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "got")
            self.fs(cached).get(path, str(target), recursive=True)
            for inner in below or [names]:
                local = Path(target, *path_of(inner[len(names) :]).split("/")) if inner != names else target
                node = self.model.nodes[inner]
                if isinstance(node, File):
                    assert local.read_bytes() == node.current.data
                else:
                    assert local.is_dir()

    # Folders, removing, moving, copying

    @rule(spot=spots, alias=aliases, cached=workers, create_parents=st.booleans())
    def mkdir(self, spot: Any, alias: Any, cached: bool, create_parents: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        self.same(
            lambda: self.model.mkdir(names, create_parents=create_parents),
            lambda: self.fs(cached).mkdir(path, create_parents=create_parents),
        )

    @rule(spot=spots, alias=aliases, cached=workers, exist_ok=st.booleans())
    def makedirs(self, spot: Any, alias: Any, cached: bool, exist_ok: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        self.same(
            lambda: self.model.makedirs(names, exist_ok=exist_ok),
            lambda: self.fs(cached).makedirs(path, exist_ok=exist_ok),
        )

    @rule(spot=spots, alias=aliases, cached=workers)
    def rmdir(self, spot: Any, alias: Any, cached: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        self.same(lambda: self.model.rmdir(names), lambda: self.fs(cached).rmdir(path))

    @rule(
        some=st.lists(st.tuples(spots, aliases), min_size=1, max_size=3),
        cached=workers,
        recursive=st.booleans(),
    )
    def rm(self, some: list[Any], cached: bool, recursive: bool) -> None:
        places = [self.place(spot) for spot, _ in some]
        paths = [self.address(names, alias) for names, (_, alias) in zip(places, some, strict=True)]
        for names, path in zip(places, paths, strict=True):
            self.literal(path, names)
        # What is wrong with several of them may be told in any order.
        errors = {outcome(partial(self.copy_of_model().remove, [n], recursive=recursive)) for n in places}
        assume(len(errors - {None}) <= 1)
        self.same(
            lambda: self.model.remove(places, recursive=recursive),
            lambda: self.fs(cached).rm(paths if len(paths) > 1 else paths[0], recursive=recursive),
        )

    def copy_of_model(self) -> Model:
        copy = Model(extended=True)
        copy.nodes = dict(self.model.nodes)
        return copy

    @rule(spot=spots, alias=aliases, cached=workers)
    def rm_file(self, spot: Any, alias: Any, cached: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)

        def expected() -> None:
            if self.model.is_folder(names):
                self.model.rmdir(names)
            else:
                self.model.remove([names], recursive=False)

        self.same(expected, lambda: self.fs(cached).rm_file(path))

    @rule(old=spots, new=spots, from_alias=aliases, to_alias=aliases, cached=workers, slash=st.booleans())
    def mv(self, old: Any, new: Any, from_alias: Any, to_alias: Any, cached: bool, slash: bool) -> None:
        old, new = self.place(old), self.place(new)
        assume(old and (new[: len(old)] != old or to_alias is None or old == new))
        path, where = self.address(old, from_alias), self.address(new, to_alias)
        self.literal(path, old)
        slash = slash and self.model.is_folder(new)
        note(f"mv {path!r} {where!r}")
        self.same(
            lambda: self.model.move(old, new),
            lambda: self.fs(cached).mv(path, f"{where}/" if slash else where),
        )

    @rule(old=spots, new=spots, from_alias=aliases, to_alias=aliases, cached=workers)
    def cp_file(self, old: Any, new: Any, from_alias: Any, to_alias: Any, cached: bool) -> None:
        old, new = self.place(old), self.place(new)
        assume(new and (old != new or (from_alias is None and to_alias is None)))
        path, where = self.address(old, from_alias), self.address(new, to_alias)
        note(f"cp_file {path!r} {where!r}")
        self.same(lambda: self.model.copy_file(old, new), lambda: self.fs(cached).cp_file(path, where))

    @rule(old=spots, new=spots, from_alias=aliases, to_alias=aliases, cached=workers)
    def cp(self, old: Any, new: Any, from_alias: Any, to_alias: Any, cached: bool) -> None:
        old, new = self.place(old), self.place(new)
        assume(old and old != new and not self.model.clashes(old, new))
        path, where = self.address(old, from_alias), self.address(new, to_alias)
        self.literal(path, old)
        note(f"cp {path!r} {where!r}")
        self.same(
            lambda: self.model.copy(old, new), lambda: self.fs(cached).copy(path, where, recursive=True)
        )

    # Reading

    @rule(spot=spots, alias=aliases, cached=workers, start=bounds, end=bounds)
    def cat_file(self, spot: Any, alias: Any, cached: bool, start: int | None, end: int | None) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        self.same(
            lambda: self.model.file(names).current.data[start:end],
            lambda: self.fs(cached).cat_file(path, start, end),
        )

    @rule(
        spot=spots, alias=aliases, cached=workers, start=st.integers(0, 80_000), count=st.integers(-1, 80_000)
    )
    def open_and_read(self, spot: Any, alias: Any, cached: bool, start: int, count: int) -> None:
        names = self.place(spot)
        path = self.address(names, alias)

        def read() -> bytes:
            with self.fs(cached).open(path) as file:
                file.seek(start)
                return bytes(file.read(count))

        def expected() -> bytes:
            data = self.model.file(names).current.data[start:]
            return data if count < 0 else data[:count]

        self.same(expected, read)

    @precondition(lambda self: any(self.model.is_file(names) for names in self.model.nodes))
    @rule(some=st.lists(st.tuples(numbers, bounds, bounds), min_size=1, max_size=5), cached=workers)
    def cat_ranges(self, some: list[tuple[int, int | None, int | None]], cached: bool) -> None:
        files = [names for names in self.model.nodes if self.model.is_file(names)]
        wanted = [(self.pick(number, files), start, end) for number, start, end in some]
        found = self.fs(cached).cat_ranges(
            [path_of(names) for names, _, _ in wanted], [w[1] for w in wanted], [w[2] for w in wanted]
        )
        assert found == [self.model.file(names).current.data[start:end] for names, start, end in wanted]

    @rule(spot=spots, alias=aliases, cached=workers)
    def cat_all(self, spot: Any, alias: Any, cached: bool) -> None:
        start = self.place(spot)
        assume(self.model.is_folder(start))
        path = self.address(start, alias)
        files = self.model.find(start, None, withdirs=False)
        found = self.fs(cached).cat(path, recursive=True)
        assert found == {self.shown(path, start, n): self.model.file(n).current.data for n in files}

    @rule(spot=spots, alias=aliases, cached=workers)
    def versions(self, spot: Any, alias: Any, cached: bool) -> None:
        names = self.place(spot)
        assume(self.model.is_file(names))
        path = self.address(names, alias)
        fs = self.fs(cached)
        found = fs.versions(path)
        expected = self.model.file(names).versions
        assert [(info["metadata"], tuple(info["tags"]), info["size"]) for info in found] == [
            (version.metadata, version.tags, len(version.data)) for version in expected
        ]
        for info, version in list(zip(found, expected, strict=True))[-3:]:
            assert fs.cat_file(path, version_id=info["id"]) == version.data
            assert fs.cat_file(f"@{info['id']}") == version.data

    # Looking

    @staticmethod
    def shown(path: str, start: Names, names: Names) -> str:
        """Return how something is shown that was found from a path on."""
        return "/".join([path, path_of(names[len(start) :])]).strip("/")

    def check_info(self, info: dict[str, Any], names: Names, path: str) -> None:
        node = self.model.nodes[names]
        assert info["name"] == path
        if isinstance(node, Folder):
            assert (info["type"], info["size"]) == ("directory", 0)
        else:
            current = node.current
            assert (info["type"], info["size"]) == ("file", len(current.data))
            assert (info["metadata"], tuple(info["tags"])) == (current.metadata, current.tags)
            assert len(info["versions"]) == len(node.versions) - 1

    @rule(spot=spots, alias=aliases, cached=workers)
    def info(self, spot: Any, alias: Any, cached: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        fs = self.fs(cached)
        assert fs.exists(path) == self.model.has(names)
        assert fs.isfile(path) == self.model.is_file(names)
        assert fs.isdir(path) == self.model.is_folder(names)
        if self.model.has(names):
            self.check_info(fs.info(path), names, path)
        else:
            with pytest.raises(FileNotFoundError):
                fs.info(path)

    @rule(spot=spots, alias=aliases, cached=workers)
    def ls(self, spot: Any, alias: Any, cached: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        fs = self.fs(cached)
        if not self.model.has(names):
            with pytest.raises(FileNotFoundError):
                fs.ls(path)
            return
        expected = self.model.children(names) if self.model.is_folder(names) else [names]
        found = {info["name"]: info for info in fs.ls(path)}
        assert sorted(found) == fs.ls(path, detail=False)
        assert sorted(found) == sorted(self.shown(path, names, child) for child in expected)
        for child in expected:
            shown = self.shown(path, names, child)
            self.check_info(found[shown], child, shown)

    @rule(
        spot=spots,
        alias=aliases,
        cached=workers,
        maxdepth=st.none() | st.integers(1, 3),
        withdirs=st.booleans(),
    )
    def find(self, spot: Any, alias: Any, cached: bool, maxdepth: int | None, withdirs: bool) -> None:
        names = self.place(spot)
        path = self.address(names, alias)
        found = self.fs(cached).find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True)
        expected = {self.shown(path, names, n): n for n in self.model.find(names, maxdepth, withdirs)}
        assert list(found) == sorted(expected)
        for shown, inner in expected.items():
            self.check_info(found[shown], inner, shown)

    @rule(spot=spots, alias=aliases, cached=workers)
    def walk(self, spot: Any, alias: Any, cached: bool) -> None:
        start = self.place(spot)
        path = self.address(start, alias)
        folders = [n for n in [start, *self.model.below(start)] if self.model.is_folder(n)]
        expected = {
            self.shown(path, start, folder): (
                {path_of(n[-1:]) for n in self.model.children(folder) if self.model.is_folder(n)},
                {path_of(n[-1:]) for n in self.model.children(folder) if self.model.is_file(n)},
            )
            for folder in folders
        }
        assert {top: (set(d), set(f)) for top, d, f in self.fs(cached).walk(path)} == expected

    @rule(spot=spots, cached=workers)
    def du(self, spot: Any, cached: bool) -> None:
        names = self.place(spot)
        assert self.fs(cached).du(path_of(names)) == self.model.size(names)

    @rule(
        number=numbers,
        cached=workers,
        patterns=st.lists(
            st.sampled_from(["*", "?", "b*", "*.csv", "@*", "[ab]*", "[!b]*"]), min_size=1, max_size=2
        ),
    )
    def glob(self, number: int, cached: bool, patterns: list[str]) -> None:
        folder = self.pick(number, [names for names in self.model.nodes if self.model.is_folder(names)])
        pattern = "/".join([escape(path_of(folder)), *patterns]).lstrip("/")
        matches = self.model.glob(folder, tuple(patterns))
        if not matches and all(sign not in pattern for sign in "[]") and self.model.has((*folder, *patterns)):
            matches = [(*folder, *patterns)]
        note(f"glob {pattern!r}")
        assert self.fs(cached).glob(pattern) == sorted(map(path_of, matches))

    @rule(cached=workers)
    def glob_everything(self, cached: bool) -> None:
        expected = sorted(path_of(names) for names in self.model.below(()))
        assert self.fs(cached).glob("**") == expected

    @rule()
    def forget(self) -> None:
        self.cached.invalidate_cache()

    def teardown(self) -> None:
        for fs in (self.cached, self.asking):
            found = fs.find("", withdirs=True, detail=True)
            expected = {path_of(names): names for names in self.model.below(())}
            assert list(found) == sorted(expected)
            for path, names in expected.items():
                self.check_info(found[path], names, path)
        files = [names for names in self.model.nodes if self.model.is_file(names)]
        for names in files:
            assert self.asking.cat_file(path_of(names)) == self.model.file(names).current.data


def run(server: LiveServer, examples: int, steps: int) -> None:
    machine = type("Machine", (RinocloudMachine,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.soak
@pytest.mark.timeout(36_000)
def test_the_filesystem_does_what_the_model_does(server: LiveServer) -> None:
    run(server, rounds(3, 40), rounds(20, 60))
