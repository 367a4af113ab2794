"""Names and paths, and edits of the tree."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rinofs.datapack import Container, DataNode, Document, Node, Tree, dump, parse
from rinofs.datapack.document import edits
from rinofs.datapack.document.naming import DOCUMENT_NAME, name_of_part, part_of_name, parts_of
from rinofs.errors import InvalidPathError
from tests.datapack.packs import TRICKY, documents, names, nodes

parts = names.filter(lambda part: part not in {"", ".", ".."} and "/" not in part)


def data(*node_names: str) -> list[Node]:
    return [DataNode.create(name, f"link{index}") for index, name in enumerate(node_names)]


def shown(*node_names: str, top: bool = False) -> list[str]:
    return list(parts_of(data(*node_names), top=top))


@given(names.filter(bool))
def test_every_name_shows_as_one_part_and_back(name: str) -> None:
    part = part_of_name(name)
    assert part not in {"", ".", ".."}
    assert "/" not in part
    assert name_of_part(part) == name


@given(parts)
def test_every_part_is_one_name_and_back(part: str) -> None:
    assert part_of_name(name_of_part(part)) == part


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *[
            ("a/b", "a%2Fb"),
            ("/", "%2F"),
            ("a%2Fb", "a%252Fb"),
            ("a%252Fb", "a%25252Fb"),
            ("%2F/", "%252F%2F"),
        ],
        *[
            ("100%", "100%"),
            ("%2f", "%2f"),
            ("%252", "%252"),
            ("a b#?*", "a b#?*"),
            ("é", "é"),
            ("e\u0301", "e\u0301"),
        ],
        *[(".", "%2E"), ("..", "%2E."), ("...", "..."), (".a", ".a"), ("%2E", "%252E"), ("%2E.", "%252E.")],
        *[("%2Ea", "%2Ea"), ("a%2E", "a%2E"), (".\n", ".\n"), ("%2E\n", "%2E\n")],
    ],
)
def test_how_names_show(name: str, part: str) -> None:
    assert part_of_name(name) == part
    assert name_of_part(part) == name


@pytest.mark.parametrize("part", ["", ".", "..", "a/b"])
def test_what_no_name_shows_as(part: str) -> None:
    with pytest.raises(InvalidPathError):
        name_of_part(part)


@pytest.mark.parametrize(
    ("siblings", "expected"),
    [
        (["a", "a", "a"], ["a", "a~2", "a~3"]),
        (["a.csv", "a.csv"], ["a.csv", "a~2.csv"]),
        (["a.tar.gz", "a.tar.gz"], ["a.tar.gz", "a.tar~2.gz"]),
        ([".env", ".env"], [".env", ".env~2"]),
        (["a", "a", "a~2"], ["a", "a~3", "a~2"]),
        (["a~2", "a", "a", "a"], ["a~2", "a", "a~3", "a~4"]),
        (["a", "a", "a~2", "a~2"], ["a", "a~3", "a~2", "a~2~2"]),
        (["a/b.c", "a/b.c"], ["a%2Fb.c", "a%2Fb~2.c"]),
        (["..", ".."], ["%2E.", "%2E~2."]),
        (["A", "a"], ["A", "a"]),
        (["é", "e\u0301"], ["é", "e\u0301"]),
    ],
)
def test_how_siblings_of_one_name_show(siblings: list[str], expected: list[str]) -> None:
    assert shown(*siblings) == expected


def test_a_nameless_node_goes_by_its_link_after_all_names() -> None:
    row: list[Node] = [
        *[DataNode.create("", "a.csv"), DataNode.create("", "d/a.csv"), DataNode.create("a.csv", "x")],
        *[Container.create(""), DataNode.create("", ""), DataNode.create("", "repovizz:12")],
    ]
    assert list(parts_of(row)) == [
        *["a~2.csv", "d%2Fa.csv", "a.csv", "unnamed", "unnamed~2", "repovizz:12"],
    ]


def test_the_document_has_its_name_at_the_top_alone() -> None:
    assert shown("datapack.json", "datapack.json", top=True) == ["datapack~2.json", "datapack~3.json"]
    assert shown("datapack~2.json", "datapack.json", top=True) == ["datapack~2.json", "datapack~3.json"]
    assert shown("datapack.json") == ["datapack.json"]


@given(st.lists(nodes, max_size=8), st.booleans())
def test_siblings_show_as_different_parts_in_their_order(row: list[Node], top: bool) -> None:
    by_part = parts_of(row, top=top)
    assert list(map(id, by_part.values())) == list(map(id, row))
    for part in by_part:
        assert part not in {"", ".", ".."}
        assert "/" not in part
    assert not (top and DOCUMENT_NAME in by_part)


@given(st.lists(nodes, max_size=8))
def test_a_name_that_is_alone_shows_as_itself(row: list[Node]) -> None:
    given_names = [node.name for node in row]
    by_node = {id(node): part for part, node in parts_of(row).items()}
    for node in row:
        if node.name and given_names.count(node.name) == 1:
            assert by_node[id(node)] == part_of_name(node.name)


@given(
    st.lists(nodes, max_size=8),
    st.lists(st.sampled_from(["", "x"]).map(lambda link: DataNode.create("", link))),
)
def test_nameless_nodes_change_no_path_of_others(row: list[Node], nameless: list[Node]) -> None:
    named = [node for node in row if node.name]
    assert list(parts_of([*nameless, *named]))[len(nameless) :] == list(parts_of(named))


def test_lookups() -> None:
    document = Document.create(
        "d", [Container.create("IMU", [*data("acc", "acc"), Container.create("a/b", data("x"))]), *data("v")]
    )
    tree = Tree(document)
    assert tree[""] is document
    imu = document.children[0]
    assert isinstance(imu, Container)
    assert tree["IMU"] is imu
    assert tree["IMU/acc~2"] is imu.children[1]
    assert [path for path, _ in tree.walk()] == [
        *["IMU", "IMU/acc", "IMU/acc~2", "IMU/a%2Fb", "IMU/a%2Fb/x", "v"],
    ]
    assert [path for path, _ in tree.walk("IMU/a%2Fb")] == ["IMU/a%2Fb/x"]
    assert list(tree.children("IMU")) == ["acc", "acc~2", "a%2Fb"]
    for absent in ("imu", "IMU/", "/IMU", "IMU//acc", "IMU/a/b", "v/x", ".", "IMU/..", "IMU/acc~3"):
        assert absent not in tree
        with pytest.raises(FileNotFoundError):
            tree[absent]
    with pytest.raises(NotADirectoryError):
        tree.children("v")


@given(documents)
def test_walking_yields_every_node_under_the_path_that_finds_it(document: Document) -> None:
    tree = Tree(document)
    walked = list(tree.walk())
    assert len({path for path, _ in walked}) == len(walked) == count(document)
    assert all(tree[path] is node for path, node in walked)


def test_many_siblings_of_one_name_take_little_time() -> None:
    row = data(*["a"] * 5000, *[f"a~{n}" for n in range(2, 5002)])
    start = time.thread_time()
    tree = Tree(Document.create("d", row))
    assert all(f"a~{n}" in tree for n in range(2, 10_001))
    assert time.thread_time() - start < 2


# Edits


def count(node: Document | Node) -> int:
    return sum(1 + count(child) for child in node.children) if not isinstance(node, DataNode) else 0


def by_identity(document: Document) -> dict[str, int]:
    return {path: id(node) for path, node in Tree(document).walk()}


@given(documents, st.lists(parts, min_size=1, max_size=4))
def test_what_is_added_is_there_and_moves_nothing(document: Document, way: list[str]) -> None:
    path = "/".join(way)
    before = dict(Tree(document).walk())
    on_the_way = ["/".join(way[:depth]) for depth in range(1, len(way))]
    if path in before or way[0] == DOCUMENT_NAME:
        with pytest.raises((FileExistsError, NotADirectoryError)):
            edits.add(document, path, DataNode.create("x", "new"))
    elif any(isinstance(before.get(outer), DataNode) for outer in on_the_way):
        with pytest.raises(NotADirectoryError):
            edits.add(document, path, DataNode.create("x", "new"))
    else:
        after = dict(Tree(edits.add(document, path, DataNode.create("x", "new"))).walk())
        added = after.pop(path)
        assert isinstance(added, DataNode)
        assert added.link == "new"
        assert after.keys() - before.keys() == set(on_the_way) - before.keys()
        assert all(after[other] == before[other] for other in before.keys() - set(on_the_way))


few_parts = st.sampled_from(["a", "b", "c", "a~2", "datapack.json"])


@given(st.lists(st.tuples(st.lists(few_parts, min_size=1, max_size=3), st.booleans()), max_size=6), documents)
def test_adding_many_is_adding_one_by_one(ways: list[tuple[list[str], bool]], document: Document) -> None:
    new: dict[str, Node] = {
        "/".join(way): Container.create("") if container else DataNode.create("", f"link{n}")
        for n, (way, container) in enumerate(ways)
    }
    one_by_one = document
    try:
        for path, node in new.items():
            one_by_one = edits.add(one_by_one, path, node)
    except OSError:
        with pytest.raises((FileExistsError, NotADirectoryError)):
            edits.add_all(document, new)
    else:
        assert edits.add_all(document, new) == one_by_one


@given(documents, st.data())
def test_removing_takes_away_those_nodes_alone(document: Document, draw: st.DataObject) -> None:
    walked = dict(Tree(document).walk())
    doomed = draw.draw(st.lists(st.sampled_from(sorted(walked)), unique=True)) if walked else []
    gone = {id(walked[path]) for path in doomed}

    def without(node: Document | Node) -> list[object]:
        kept = (
            [child for child in node.children if id(child) not in gone]
            if not isinstance(node, DataNode)
            else []
        )
        return [(child.name, without(child)) for child in kept]

    def everything(node: Document | Node) -> list[object]:
        children = node.children if not isinstance(node, DataNode) else ()
        return [(child.name, everything(child)) for child in children]

    assert everything(edits.remove(document, *doomed)) == without(document)


@given(documents, st.lists(parts, min_size=1, max_size=3), st.data())
def test_moving_keeps_every_node(document: Document, way: list[str], draw: st.DataObject) -> None:
    walked = dict(Tree(document).walk())
    if not walked:
        return
    source, target = draw.draw(st.sampled_from(sorted(walked))), "/".join(way)
    try:
        moved = edits.move(document, source, target)
    except (OSError, InvalidPathError):
        blocked = target in walked or way[0] == DOCUMENT_NAME or target.startswith(f"{source}/")
        outer = ["/".join(way[:depth]) for depth in range(1, len(way))]
        assert blocked or any(isinstance(walked.get(path), DataNode) for path in outer)
        return
    assert moved.to_json() == moved_in_model(document, source, way)


def moved_in_model(document: Document, source: str, way: list[str]) -> dict[str, object]:
    """What moving does, done by hand to plain JSON."""
    model: Any = document.to_json()
    rows: dict[str, Any] = {"": model["children"]}
    for path, _ in Tree(document).walk():
        parent = path.rpartition("/")[0]
        index = list(Tree(document).children(parent)).index(path.rpartition("/")[2])
        rows[path] = rows[parent][index].get("children")
        if path == source:
            taken = rows[parent], rows[parent][index]
    *outer, last = way
    if source == "/".join(way):
        return model  # type: ignore[no-any-return]
    taken[1]["name"] = name_of_part(last)
    if source.rpartition("/")[0] != "/".join(outer):
        row = rows[""]
        for depth, part in enumerate(outer, 1):
            if "/".join(outer[:depth]) not in rows:
                made = {"class": "container", "name": name_of_part(part), "text": "", "children": []}
                row.append(made)
                rows["/".join(outer[:depth])] = made["children"]
            row = rows["/".join(outer[:depth])]
        position = next(index for index, raw in enumerate(taken[0]) if raw is taken[1])
        row.append(taken[1])
        del taken[0][position]
    return model  # type: ignore[no-any-return]


def test_moving_where_numbers_shift() -> None:
    document = Document.create("d", [Container.create("a", data("x")), Container.create("a")])
    moved = edits.move(document, "a", "a~2/in")
    assert [path for path, _ in Tree(moved).walk()] == ["a", "a/in", "a/in/x"]
    swapped = edits.move(edits.move(document, "a~2", "b"), "a", "c")
    assert [node.name for node in swapped.children] == ["c", "b"]


def test_copies_share_their_links_and_nothing_that_identifies_them() -> None:
    leaf = DataNode.create("leaf", "l").with_fields(id="1")
    document = Document.create("d", [Container.create("a", [leaf]).with_fields(id="2")])
    copied = edits.copy(document, "a", "deep/b")
    assert copied.children[0] is document.children[0]
    assert Tree(copied)["deep/b"] == Container.create("b", [DataNode.create("leaf", "l")])
    with pytest.raises(FileExistsError):
        edits.copy(document, "a", "a")
    with pytest.raises(InvalidPathError):
        edits.copy(document, "a", "a/b")


def test_a_node_that_replaces_another_gets_its_name() -> None:
    document = Document.create("d", [*data("a.csv"), *data("b.csv"), *data("b.csv")])
    for path in ("a.csv", "b.csv", "b~2.csv"):
        replaced = edits.replace(document, path, DataNode.create("b.csv", "new"))
        assert [place for place, _ in Tree(replaced).walk()] == ["a.csv", "b.csv", "b~2.csv"]
        assert [node.link == "new" for _, node in Tree(replaced).walk()].count(True) == 1
        assert Tree(replaced)[path] == DataNode.create(path.replace("~2", ""), "new")


@pytest.mark.parametrize("children", [[{"id": "7"}], [1, None, "x"], {"id": "7"}, "text"])
def test_a_copy_keeps_what_a_data_node_has_under_any_key(children: Any) -> None:
    node = {"class": "data", "name": "n", "text": "", "link": "l", "id": "1", "children": children}
    document = parse(json.dumps({"info": {}, "children": [node]}))
    before = dump(document)
    copied = Tree(edits.copy(document, "n", "m"))["m"].to_json()
    assert dump(document) == before
    assert copied == {**{key: value for key, value in node.items() if key != "id"}, "name": "m"}


def test_edits_share_what_they_do_not_touch() -> None:
    document = Document.create("d", [Container.create("a", data("x")), Container.create("b", data("y"))])
    for edited in (
        edits.set_link(document, "a/x", "new"),
        edits.add(document, "a/z", DataNode.create("", "z")),
        edits.remove(document, "a/x"),
        edits.move(document, "a/x", "a/z"),
        edits.add_container(document, "a/c/d"),
        edits.replace(document, "a/x", DataNode.create("other", "o")),
    ):
        assert edited != document
        assert edited.children[1] is document.children[1]
    assert Tree(edits.set_link(document, "a/x", "new"))["a/x"] == DataNode.create("x", "new")


def test_edits_keep_what_they_do_not_know() -> None:
    document = Document.create("d", [Container.create("a", data("x")).with_fields(mystery=[1])])
    edited = edits.add(document, "a/b/c", DataNode.create("", "l", text="t"))
    assert edited.children[0].fields["mystery"] == [1]
    assert list(edited.children[0].fields) == ["class", "name", "text", "children", "mystery"]


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda d: edits.remove(d, "none"), FileNotFoundError),
        (lambda d: edits.remove(d, "v/none"), FileNotFoundError),
        (lambda d: edits.remove(d, ""), InvalidPathError),
        (lambda d: edits.remove(d, "datapack.json"), FileNotFoundError),
        (lambda d: edits.move(d, "none", "x"), FileNotFoundError),
        (lambda d: edits.move(d, "a", "a/b/c"), InvalidPathError),
        (lambda d: edits.move(d, "a", "datapack.json"), FileExistsError),
        (lambda d: edits.move(d, "a/x", "v/x"), NotADirectoryError),
        (lambda d: edits.move(d, "a", "b/.."), InvalidPathError),
        (lambda d: edits.move(d, "a", ""), FileExistsError),
        (lambda d: edits.set_link(d, "a", "x"), IsADirectoryError),
        (lambda d: edits.set_link(d, "none", "x"), FileNotFoundError),
        (lambda d: edits.replace(d, "", DataNode.create("a", "b")), InvalidPathError),
        (lambda d: edits.add_container(d, "a"), FileExistsError),
        (lambda d: edits.add_container(d, "datapack.json/b"), NotADirectoryError),
        (lambda d: edits.add_container(d, "a//b"), InvalidPathError),
        (lambda d: edits.add_container(d, "/".join("c" * 256)), InvalidPathError),
    ],
)
def test_edits_that_cannot_be(edit: object, error: type[Exception]) -> None:
    document = Document.create("d", [Container.create("a", data("x")), *data("v")])
    with pytest.raises(error):
        edit(document)  # type: ignore[operator]


@pytest.mark.parametrize("name", [name for name in TRICKY if name])
def test_what_is_added_under_a_tricky_name_is_found_under_it(name: str) -> None:
    part = part_of_name(name)
    document = edits.add(Document.create("d"), f"c/{part}", DataNode.create("", "l"))
    assert Tree(document)[f"c/{part}"].with_fields().name == name  # type: ignore[union-attr]


def test_adding_ten_thousand_nodes_takes_little_time() -> None:
    new = {f"c{n % 100}/n{n}": DataNode.create("", f"{n}") for n in range(10_000)}
    start = time.thread_time()
    document = edits.add_all(Document.create("d"), new)
    wide = edits.add_all(document, {f"w{n}/n": DataNode.create("", f"{n}") for n in range(10_000)})
    assert count(wide) == 30_100
    assert edits.remove(wide, *[f"w{n}" for n in range(10_000)]) == document
    document = edits.remove(document, *[f"c{n}" for n in range(0, 100, 2)])
    assert time.thread_time() - start < 4
    assert count(document) == 5050
