"""Random operations below a datapack, in any order, against a model: the two never differ.

Two filesystem objects work on the same server. One answers from what it knows for an hour, so that any change
of its own that it does not take note of shows; the other one always asks.
"""

from __future__ import annotations

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

from rinofs import RepovizzFileSystem
from rinofs.datapack import parse
from rinofs.datapack.document.validation import flaws
from tests.campaign import rounds
from tests.repovizz.api import Api, empty
from tests.scenarios.rinocloud.model import File, Folder, Model, Names, Version
from tests.scenarios.rinocloud.test_state_machine import (
    MAGIC,
    PLAIN,
    bounds,
    contents,
    numbers,
    outcome,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer

SPECIAL = (
    *("#1", "?", "100%", "%2F", "%252F", "%2E", "%2E.", "%252E", "a%2Fb", "[ab]", "*", "b*", "{y}"),
    *(".hidden", "..a", "~", "a~2", "b~2.csv", " ", "\u00e9", "e\u0301", "\u212b", "日本語", "🧪", "\\"),
    *("unnamed", "repovizz:abc", "::", '"', "'", "A", "n" * 200, "\t", "a\nb"),
)
letters = st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["Cs"])
any_part = st.text(letters, min_size=1, max_size=12).filter(lambda part: part not in {".", ".."})
parts = st.one_of(st.sampled_from(PLAIN), st.sampled_from(SPECIAL), any_part)
spots = st.tuples(
    st.sampled_from(["there", "inside", "inside", "anywhere"]),
    numbers,
    st.lists(parts, min_size=1, max_size=3),
)
workers = st.booleans()

PACK = "the pack"


def path_of(names: Names) -> str:
    return "/".join((PACK, *names))


class RepovizzMachine(RuleBasedStateMachine):
    server: LiveServer

    def __init__(self) -> None:
        super().__init__()
        options: dict[str, Any] = {"endpoint_url": self.server.endpoint_url, "token": self.server.token}
        self.cached = RepovizzFileSystem(**options, listings_expiry_time=3600)
        self.asking = RepovizzFileSystem(**options, use_listings_cache=False)
        self.api = Api.of(self.server)
        ours = [each for each in self.api.ids() if self.api.get(f"/datapacks/{each}")["name"] == PACK]
        self.id = ours[0] if ours else self.api.create(PACK)
        self.api.edit(self.id, empty(PACK))
        self.cached.invalidate_cache()
        self.model = Model(extended=True)  # datapacks keep no versions

    # Choosing

    def fs(self, cached: bool) -> RepovizzFileSystem:
        return self.cached if cached else self.asking

    def place(self, spot: tuple[str, int, list[str]]) -> Names:
        kind, number, some = spot
        if kind == "anywhere":
            found: Names = tuple(some)
        elif kind == "there":
            found = self.pick(number, list(self.model.nodes))
        else:
            folder = self.pick(number, [names for names in self.model.nodes if self.model.is_folder(names)])
            found = (*folder, some[0]) if len(folder) < 5 else folder
        assume(found[:1] != ("datapack.json",))
        return found

    @staticmethod
    def pick(number: int, among: list[Names]) -> Names:
        return sorted(among)[number % len(among)]

    def literal(self, names: Names) -> None:
        """Go on only if a path that fsspec may take for a pattern is there, and so is none."""
        assume(self.model.has(names) or not any(sign in path_of(names) for sign in MAGIC))

    def same(self, expected: Callable[[], Any], actual: Callable[[], Any]) -> None:
        wanted, got = outcome(expected), outcome(actual)
        assert got == wanted, f"model: {wanted!r}, filesystem: {got!r}"

    # Writing

    @rule(spot=spots, cached=workers, data=contents, create=st.booleans())
    def pipe_file(self, spot: Any, cached: bool, data: bytes, create: bool) -> None:
        names = self.place(spot)
        note(f"pipe_file {names!r}")
        self.same(
            lambda: self.model.write(names, Version(data), exclusive=create),
            lambda: self.fs(cached).pipe_file(path_of(names), data, mode="create" if create else "overwrite"),
        )

    @rule(spot=spots, cached=workers, data=contents, mode=st.sampled_from(["wb", "xb", "ab"]))
    def open_and_write(self, spot: Any, cached: bool, data: bytes, mode: str) -> None:
        names = self.place(spot)
        assume(names)
        note(f"open {names!r} {mode}")

        def write() -> None:
            with self.fs(cached).open(path_of(names), mode) as file:
                file.write(data)

        def expected() -> None:
            if mode == "ab":
                self.model.append(names, data)
            else:
                self.model.write(names, Version(data), exclusive=mode == "xb")

        self.same(expected, write)

    @rule(spot=spots, cached=workers, data=contents, mode=st.sampled_from(["wb", "ab", "w"]))
    def fail_to_write(self, spot: Any, cached: bool, data: bytes, mode: str) -> None:
        names = self.place(spot)
        with suppress(RuntimeError, OSError), self.fs(cached).open(path_of(names), mode) as file:
            file.write(data if "b" in mode else "text")
            raise RuntimeError

    @rule(some=st.lists(st.tuples(spots, contents), min_size=1, max_size=4), cached=workers)
    def pipe_many(self, some: list[Any], cached: bool) -> None:
        files = {self.place(spot): data for spot, data in some}
        assume(all(names and not self.model.is_folder(names) for names in files))
        assume(not any(one != other and other[: len(one)] == one for one in files for other in files))
        for names in files:
            assume(not any(self.model.is_file(names[:depth]) for depth in range(1, len(names))))
        self.fs(cached).pipe({path_of(names): data for names, data in files.items()})
        for names, data in files.items():
            self.model.write(names, Version(data))

    @rule(spot=spots, cached=workers, truncate=st.booleans())
    def touch(self, spot: Any, cached: bool, truncate: bool) -> None:
        names = self.place(spot)

        def expected() -> None:
            if not truncate and self.model.has(names):
                raise NotImplementedError
            self.model.write(names, Version(b""))

        self.same(expected, lambda: self.fs(cached).touch(path_of(names), truncate=truncate))

    # Local files

    @rule(spot=spots, cached=workers, data=contents)
    def put_file(self, spot: Any, cached: bool, data: bytes) -> None:
        names = self.place(spot)
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "local")
            local.write_bytes(data)
            self.same(
                lambda: self.model.write(names, Version(data)),
                lambda: self.fs(cached).put_file(str(local), path_of(names)),
            )

    @rule(spot=spots, cached=workers)
    def put_folder(self, spot: Any, cached: bool) -> None:
        names = self.place(spot)
        assume(not self.model.has(names) or (self.model.is_folder(names) and not self.model.children(names)))
        files = {("x", "y.txt"): b"1", ("x", "z [1]", "w"): b"22", (".v",): b""}
        with tempfile.TemporaryDirectory() as folder:
            for some, data in files.items():
                local = Path(folder, *some)
                local.parent.mkdir(parents=True, exist_ok=True)
                local.write_bytes(data)
            Path(folder, "empty").mkdir()

            def expected() -> None:
                self.model.makedirs(names, exist_ok=True)
                for some, data in files.items():
                    self.model.write(names + some, Version(data))
                self.model.mkdir((*names, "empty"))

            self.same(expected, lambda: self.fs(cached).put(f"{folder}/", path_of(names), recursive=True))

    @rule(spot=spots, cached=workers)
    def get(self, spot: Any, cached: bool) -> None:
        names = self.place(spot)
        assume(self.model.has(names))
        below = self.model.below(names)
        # A local name has at most 255 bytes, and no zero.
        fits = (len(part.encode()) < 256 and "\0" not in part for inner in below for part in inner)
        assume(all(fits))
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "got")
            self.fs(cached).get(path_of(names), str(target), recursive=True)
            for inner in below or [names]:
                local = Path(target, *inner[len(names) :])
                node = self.model.nodes[inner]
                if isinstance(node, File):
                    assert local.read_bytes() == node.current.data
                else:
                    assert local.is_dir()

    # Folders, removing, moving, copying

    @rule(spot=spots, cached=workers, create_parents=st.booleans())
    def mkdir(self, spot: Any, cached: bool, create_parents: bool) -> None:
        names = self.place(spot)
        self.same(
            lambda: self.model.mkdir(names, create_parents=create_parents),
            lambda: self.fs(cached).mkdir(path_of(names), create_parents=create_parents),
        )

    @rule(spot=spots, cached=workers, exist_ok=st.booleans())
    def makedirs(self, spot: Any, cached: bool, exist_ok: bool) -> None:
        names = self.place(spot)
        self.same(
            lambda: self.model.makedirs(names, exist_ok=exist_ok),
            lambda: self.fs(cached).makedirs(path_of(names), exist_ok=exist_ok),
        )

    @rule(spot=spots, cached=workers)
    def rmdir(self, spot: Any, cached: bool) -> None:
        names = self.place(spot)
        assume(names)
        self.same(lambda: self.model.rmdir(names), lambda: self.fs(cached).rmdir(path_of(names)))

    @rule(some=st.lists(spots, min_size=1, max_size=3), cached=workers, recursive=st.booleans())
    def rm(self, some: list[Any], cached: bool, recursive: bool) -> None:
        places = [self.place(spot) for spot in some]
        assume(all(places))
        for names in places:
            self.literal(names)
        # What is wrong with several of them may be told in any order.
        errors = {outcome(partial(self.copy_of_model().remove, [n], recursive=recursive)) for n in places}
        assume(len(errors - {None}) <= 1)
        paths = [path_of(names) for names in places]
        note(f"rm {places!r}")
        self.same(
            lambda: self.model.remove(places, recursive=recursive),
            lambda: self.fs(cached).rm(paths if len(paths) > 1 else paths[0], recursive=recursive),
        )

    def copy_of_model(self) -> Model:
        copy = Model(extended=True)
        copy.nodes = dict(self.model.nodes)
        return copy

    @rule(spot=spots, cached=workers)
    def rm_file(self, spot: Any, cached: bool) -> None:
        names = self.place(spot)
        assume(names)

        def expected() -> None:
            if self.model.is_folder(names):
                self.model.rmdir(names)
            else:
                self.model.remove([names], recursive=False)

        self.same(expected, lambda: self.fs(cached).rm_file(path_of(names)))

    @rule(old=spots, new=spots, cached=workers, slash=st.booleans())
    def mv(self, old: Any, new: Any, cached: bool, slash: bool) -> None:
        old, new = self.place(old), self.place(new)
        assume(old)
        self.literal(old)
        where = path_of(new) + ("/" if slash and self.model.is_folder(new) else "")
        note(f"mv {old!r} {new!r}")
        self.same(lambda: self.model.move(old, new), lambda: self.fs(cached).mv(path_of(old), where))

    @rule(old=spots, new=spots, cached=workers)
    def cp_file(self, old: Any, new: Any, cached: bool) -> None:
        old, new = self.place(old), self.place(new)
        assume(old and new)
        note(f"cp_file {old!r} {new!r}")
        self.same(
            lambda: self.model.copy_file(old, new),
            lambda: self.fs(cached).cp_file(path_of(old), path_of(new)),
        )

    @rule(old=spots, new=spots, cached=workers)
    def cp(self, old: Any, new: Any, cached: bool) -> None:
        old, new = self.place(old), self.place(new)
        assume(old and old != new and not self.model.clashes(old, new))
        self.literal(old)
        note(f"cp {old!r} {new!r}")
        self.same(
            lambda: self.model.copy(old, new),
            lambda: self.fs(cached).copy(path_of(old), path_of(new), recursive=True),
        )

    # Reading

    @rule(spot=spots, cached=workers, start=bounds, end=bounds)
    def cat_file(self, spot: Any, cached: bool, start: int | None, end: int | None) -> None:
        names = self.place(spot)
        self.same(
            lambda: self.model.file(names).current.data[start:end],
            lambda: self.fs(cached).cat_file(path_of(names), start, end),
        )

    @rule(spot=spots, cached=workers, start=st.integers(0, 80_000), count=st.integers(-1, 80_000))
    def open_and_read(self, spot: Any, cached: bool, start: int, count: int) -> None:
        names = self.place(spot)

        def read() -> bytes:
            with self.fs(cached).open(path_of(names)) as file:
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
            [path_of(names) for names, _, _ in wanted],
            [start for _, start, _ in wanted],
            [end for _, _, end in wanted],
        )
        assert found == [self.model.file(names).current.data[start:end] for names, start, end in wanted]

    @rule(spot=spots, cached=workers)
    def cat_all(self, spot: Any, cached: bool) -> None:
        start = self.place(spot)
        assume(self.model.is_folder(start))
        found = self.fs(cached).cat(path_of(start), recursive=True)
        files = self.model.find(start, None, withdirs=False)
        assert found == {path_of(names): self.model.file(names).current.data for names in files}

    # Looking

    def check_info(self, info: dict[str, Any], names: Names) -> None:
        node = self.model.nodes[names]
        assert info["name"] == path_of(names)
        size = 0 if isinstance(node, Folder) else len(node.current.data)
        assert (info["type"], info["size"]) == ("directory" if isinstance(node, Folder) else "file", size)

    @rule(spot=spots, cached=workers)
    def info(self, spot: Any, cached: bool) -> None:
        names, fs = self.place(spot), self.fs(cached)
        path = path_of(names)
        assert fs.exists(path) == self.model.has(names)
        assert fs.isfile(path) == self.model.is_file(names)
        assert fs.isdir(path) == self.model.is_folder(names)
        if self.model.has(names):
            self.check_info(fs.info(path), names)
        else:
            with pytest.raises(FileNotFoundError):
                fs.info(path)

    @rule(spot=spots, cached=workers)
    def ls(self, spot: Any, cached: bool) -> None:
        names, fs = self.place(spot), self.fs(cached)
        path = path_of(names)
        if not self.model.has(names):
            with pytest.raises(FileNotFoundError):
                fs.ls(path)
            return
        expected = self.model.children(names) if self.model.is_folder(names) else [names]
        found = {info["name"]: info for info in fs.ls(path)}
        assert sorted(found) == fs.ls(path, detail=False) == sorted(map(path_of, expected))
        for child in expected:
            self.check_info(found[path_of(child)], child)

    @rule(spot=spots, cached=workers, maxdepth=st.none() | st.integers(1, 3), withdirs=st.booleans())
    def find(self, spot: Any, cached: bool, maxdepth: int | None, withdirs: bool) -> None:
        names = self.place(spot)
        found = self.fs(cached).find(path_of(names), maxdepth=maxdepth, withdirs=withdirs, detail=True)
        expected = {path_of(inner): inner for inner in self.model.find(names, maxdepth, withdirs)}
        if withdirs and not names:
            expected[PACK] = ()
        assert list(found) == sorted(expected)
        for path, inner in expected.items():
            self.check_info(found[path], inner)

    @rule(spot=spots, cached=workers)
    def walk(self, spot: Any, cached: bool) -> None:
        start = self.place(spot)
        folders = [names for names in [start, *self.model.below(start)] if self.model.is_folder(names)]
        expected = {
            path_of(folder): (
                {names[-1] for names in self.model.children(folder) if self.model.is_folder(names)},
                {names[-1] for names in self.model.children(folder) if self.model.is_file(names)},
            )
            for folder in folders
        }
        assert {top: (set(d), set(f)) for top, d, f in self.fs(cached).walk(path_of(start))} == expected

    @rule(spot=spots, cached=workers)
    def du(self, spot: Any, cached: bool) -> None:
        names = self.place(spot)
        assert self.fs(cached).du(path_of(names)) == self.model.size(names)

    @rule(
        number=numbers,
        cached=workers,
        patterns=st.lists(
            st.sampled_from(["*", "?", "b*", "*.csv", "%*", "[ab]*", "[!b]*"]), min_size=1, max_size=2
        ),
    )
    def glob(self, number: int, cached: bool, patterns: list[str]) -> None:
        folder = self.pick(number, [names for names in self.model.nodes if self.model.is_folder(names)])
        # The translation of patterns takes no line's end for a character.
        assume(not any("\n" in part for names in self.model.nodes for part in names))
        assume(not any(sign in part for part in folder for sign in "[]"))
        pattern = "/".join([escape(path_of(folder)), *patterns])
        matches = self.model.glob(folder, tuple(patterns))
        matches = [names for names in matches if "@" not in "".join(names)]
        literal = (*folder, *patterns)
        if not matches and all(sign not in pattern for sign in "[]") and self.model.has(literal):
            matches = [literal]
        found = self.fs(cached).glob(pattern)
        assert [path for path in found if "@" not in path] == sorted(map(path_of, matches))

    # The document

    @rule(cached=workers)
    def document(self, cached: bool) -> None:
        document = parse(self.fs(cached).cat_file(f"{PACK}/datapack.json"))
        assert not flaws(document)
        assert document.to_json() == self.api.structure(self.id)

    @rule(text=texts)
    def others_describe(self, text: str) -> None:
        """Another client changes what is of no concern here, behind our back."""
        structure = self.api.structure(self.id)
        structure["info"]["description"] = text
        self.api.edit(self.id, structure)
        self.cached.invalidate_cache(PACK)

    @rule()
    def forget(self) -> None:
        self.cached.invalidate_cache()

    def teardown(self) -> None:
        for fs in (self.cached, self.asking):
            found = fs.find(PACK, withdirs=True, detail=True)
            expected = {path_of(names): names for names in self.model.nodes}
            assert list(found) == sorted(expected)
            for path, names in expected.items():
                self.check_info(found[path], names)
        files = [names for names in self.model.nodes if self.model.is_file(names)]
        for names in files:
            assert self.asking.cat_file(path_of(names)) == self.model.file(names).current.data


@pytest.mark.timeout(36_000)
def test_the_filesystem_does_what_the_model_does(server: LiveServer) -> None:
    machine = type("Machine", (RepovizzMachine,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=rounds(3, 16),
            stateful_step_count=rounds(12, 60),
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
