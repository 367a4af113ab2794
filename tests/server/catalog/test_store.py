from __future__ import annotations

import itertools
import json
import re
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, and_, event, insert, select, text
from sqlalchemy.exc import IntegrityError

from rinofs.protocol.search_syntax import parse_search
from rinofs.server.catalog import listings
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.listings import PIECE_ROWS, PageRequest
from rinofs.server.catalog.queries import searches
from rinofs.server.catalog.queries.conditions import compile_query
from rinofs.server.catalog.records import Change, Kind, NewObject, Record, User
from rinofs.server.catalog.store import FolderExists, Store
from rinofs.server.catalog.tables import objects
from rinofs.server.errors import (
    BadRequest,
    Conflict,
    InsufficientStorage,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from rinofs.server.catalog.listings import Item, Listing, NameListing
    from rinofs.server.services import Services

MOMENT = "2026-01-01T00:00:00.000000Z"
ALL = PageRequest(limit=1_000_000)


@pytest.fixture
def store(services: Services) -> Store:
    return services.store


def upload(services: Services, user: User, name: str, content: bytes, **known: Any) -> Record:
    folders = tuple(name.split("/"))
    new = NewObject(known.pop("parent", None), folders[-1], folders[:-1], **known)
    with services.blobs.new_upload() as sent:
        sent.write(content)
        return services.store.upload(user, new, sent.finish())


def content(services: Services, record: Record) -> bytes:
    assert record.key is not None
    assert record.size is not None
    with services.blobs.open_range(record.key, record.size) as file:
        return file.read()


def records(listing: Listing) -> list[Record]:
    return [item.record for piece in listing.pieces() for item in piece]


def names(store: Store, user: User, where: int | None = None) -> list[str]:
    return [record.name for record in records(store.children(user, where, ALL))]


def test_a_second_upload_makes_the_first_an_earlier_version(
    services: Services, user: User, store: Store
) -> None:
    made = [upload(services, user, "a.csv", f"v{n}".encode()) for n in range(4)]
    assert [record.id for record in made] == sorted(record.id for record in made)
    current = made[-1]
    assert json.loads(current.versions) == [record.id for record in made[:-1]]
    assert records(store.children(user, None, ALL)) == [current]
    assert store.get(user, ["a.csv"]) == current
    assert {record.created_on for record in made} == {made[0].created_on}
    assert current.updated_on > made[0].updated_on
    for number, record in enumerate(made):
        assert content(services, store.get(user, record.id)) == f"v{number}".encode()
    for record in made[:-1]:
        assert store.get(user, record.id).version_of == current.id


def test_many_paths_are_found_as_each_of_them(services: Services, user: User, store: Store) -> None:
    for name in ("t", "a/0/0", "a/1/0", "a/1/1", "b/1/0", "a/2", "a/3/0/0"):
        upload(services, user, name, b"x")
    upload(services, user, "a/1/0", b"newer")
    steps = ("a", "b", "t", "0", "1", "2", "3", "9")
    paths = [list(path) for length in range(4) for path in itertools.product(steps, repeat=length)]
    paths += [["a", "3", "0", "0"], ["a", "3", "0", "0", "0"], ["a", "3", "0", "1"]]
    expected: list[Record | None] = []
    for path in paths:
        try:
            expected.append(store.get(user, path))
        except NotFound:
            expected.append(None)
    assert sum(record is not None for record in expected) == 14
    assert store.locate_many(user, paths) == expected
    if not services.database.kind.is_shared:  # to look without waiting takes a file
        assert store.locate_many(user, paths, at_once=True) == expected
    assert [store.locate_many(user, [path])[0] for path in paths[:90]] == expected[:90]
    # As many folders and names as are not looked up in all combinations.
    wide = [["a", str(number), str(number)] for number in range(100)]
    assert store.locate_many(user, wide) == [
        store.get(user, path) if path[1] in "01" else None for path in wide
    ]


def test_paths_are_found_by_a_statement_for_each_depth(services: Services, user: User, store: Store) -> None:
    paths = [["array", "c", str(number), "0", "0"] for number in range(20)]
    for path in paths:
        upload(services, user, "/".join(path), b"x")
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert None not in store.locate_many(user, paths)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len([statement for statement in seen if "SELECT" in statement]) == 5


def test_a_bundle_makes_what_single_uploads_make(services: Services, user: User, store: Store) -> None:
    names = ["c/0/0", "c/1/0", "a", "c/0/1", "c/0/0", "d/e/f/g", "a", "c/2"]
    folder = store.create_folder(user, NewObject(None, "c")).id
    upload(services, user, "c/1/0", b"before")
    with services.blobs.new_upload() as sent:
        sent.write(b"x")
        blob = sent.finish()
        files = [NewObject(None, *reversed(_split(name))) for name in names]
        files.append(NewObject(folder, "1", ("0",)))  # the path of one before, in other words
        made = store.upload_many(user, [(new, blob) for new in files])
        assert [record.name for record in made] == [new.name for new in files]
        ids = [record.id for record in made]
        assert list(dict.fromkeys(ids)) == sorted(set(ids))
        for name in names:
            assert content(services, store.get(user, name.split("/"))) == b"x"
        assert len(json.loads(store.get(user, ["c", "1", "0"]).versions)) == 1
        for wrong in (["new/0", "a/b"], ["new/0", "c"], ["c/2/0"]):
            with pytest.raises(Conflict, match=rf"files\[{len(wrong) - 1}\]"):
                store.upload_many(user, [(NewObject(None, *reversed(_split(name))), blob) for name in wrong])
        with pytest.raises(NotFound):
            store.get(user, ["new"])


def _split(path: str) -> tuple[tuple[str, ...], str]:
    *folders, name = path.split("/")
    return tuple(folders), name


def test_earlier_versions_can_only_be_read(services: Services, user: User, store: Store) -> None:
    old = upload(services, user, "a.csv", b"1")
    new = upload(services, user, "a.csv", b"2")
    with pytest.raises(Conflict, match="read-only"):
        store.update(user, old.id, Change(name="b.csv"), exact=True)
    with pytest.raises(Conflict, match="read-only"):
        store.delete_field(user, old.id, "x", exact=True)
    with pytest.raises(Conflict, match="read-only"):
        store.move(user, [old.id], None, "b.csv")
    with pytest.raises(Conflict, match="read-only"):
        store.delete(user, [old.id], exact=True)
    copied = store.copy(user, [old.id], None, "old.csv")
    assert content(services, copied[0]) == b"1"
    store.delete(user, [old.id, new.id])
    for record in (old, new):
        with pytest.raises(NotFound):
            store.get(user, record.id)


def test_versions_follow_their_object(services: Services, user: User, store: Store) -> None:
    old = upload(services, user, "a.csv", b"1")
    new = upload(services, user, "a.csv", b"2")
    folder = store.create_folder(user, NewObject(None, "f"))
    store.move(user, [new.id], folder.id, "b.csv")
    followed = store.get(user, old.id)
    assert (followed.name, followed.parent) == ("b.csv", folder.id)
    store.delete(user, [folder.id])
    for number in (old.id, new.id, folder.id):
        with pytest.raises(NotFound):
            store.get(user, number)


def test_concurrent_uploads_of_one_name_all_become_versions(
    services: Services, user: User, store: Store
) -> None:
    start = threading.Barrier(8)

    def writer(number: int) -> Record:
        start.wait()
        return upload(services, user, "deep/er/a.csv", f"writer {number}".encode())

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(writer, range(8)))
    current = store.get(user, ["deep", "er", "a.csv"])
    assert current.id == max(record.id for record in made)
    assert sorted([*json.loads(current.versions), current.id]) == sorted(record.id for record in made)
    assert {content(services, store.get(user, record.id)) for record in made} == {
        f"writer {number}".encode() for number in range(8)
    }
    assert names(store, user) == ["deep"]


def test_versions_that_a_client_names_are_kept_beside_the_known_ones(services: Services, user: User) -> None:
    first = upload(services, user, "a", b"1", versions=frozenset({900}))
    assert json.loads(first.versions) == [900]
    second = upload(services, user, "a", b"2", versions=frozenset({7}))
    assert json.loads(second.versions) == sorted([7, 900, first.id])
    changed = services.store.update(user, second.id, Change(versions=frozenset({8})))
    assert json.loads(changed.versions) == sorted([7, 8, 900, first.id])


@pytest.mark.parametrize("top", [True, False])
def test_the_database_itself_refuses_a_second_current_object_of_a_name(
    services: Services, user: User, store: Store, *, top: bool
) -> None:
    parent = None if top else store.create_folder(user, NewObject(None, "f")).id
    made = store.create_object(user, NewObject(parent, "taken"))
    columns = [column for column in objects.c if column.name != "id"]
    with services.database.read() as connection:
        row = dict(connection.execute(select(*columns).where(objects.c.id == made.id)).one()._mapping)
    with pytest.raises((IntegrityError, Unavailable)), services.database.write() as connection:
        connection.execute(insert(objects).values(row))
    with services.database.write() as connection:
        connection.execute(insert(objects).values(row | {"version_of": made.id}))


def test_taken_names_are_conflicts(services: Services, user: User, store: Store) -> None:
    folder = store.create_folder(user, NewObject(None, "f"))
    file = upload(services, user, "a", b"1")
    with pytest.raises(FolderExists, match=r"^Folder name conflict\.$") as refused:
        store.create_folder(user, NewObject(None, "f"))
    assert refused.value.record == folder
    with pytest.raises(Conflict, match=r"^Folder name conflict\.$"):
        store.create_folder(user, NewObject(None, "a"))
    with pytest.raises(Conflict, match="name: 'a'"):
        store.create_object(user, NewObject(None, "a"))
    with pytest.raises(Conflict, match="name: 'f'"):
        upload(services, user, "f", b"over a folder")
    with pytest.raises(Conflict, match="name: 'a'"):
        upload(services, user, "a/b", b"below a file")
    with pytest.raises(Conflict, match="name: 'f'"):
        store.update(user, file.id, Change(name="f"))
    with pytest.raises(Conflict, match="name: 'a'"):
        store.copy(user, [file.id], None)
    upload(services, user, "f/a", b"1")
    with pytest.raises(Conflict, match="name: 'a'"):
        store.move(user, [file.id], folder.id)
    assert names(store, user) == ["f", "a"]
    assert store.update(user, file.id, Change(name="a")).name == "a"
    assert store.move(user, [file.id], None) == [file]


def test_an_upload_can_ask_for_a_free_name(services: Services, user: User, store: Store) -> None:
    upload(services, user, "a", b"1")
    with services.blobs.new_upload() as sent, pytest.raises(PreconditionFailed):
        store.upload(user, NewObject(None, "a"), sent.finish(), only_new=True)


def test_a_failed_upload_makes_no_folders(services: Services, user: User, store: Store) -> None:
    upload(services, user, "a", b"1")
    folder = store.create_folder(user, NewObject(None, "new", ("x", "y")))
    with pytest.raises(Conflict):
        upload(services, user, "x/y/new", b"1")
    with pytest.raises(BadRequest, match="parent"):
        upload(services, user, "p/q/r", b"1", parent=store.get(user, ["a"]).id)
    with pytest.raises(TooLarge), services.blobs.new_upload() as sent:
        store.upload(user, NewObject(None, "r", ("p", "q"), {"x": "y" * 5_000_000}), sent.finish())
    assert names(store, user) == ["a", "x"]
    assert [record.name for record in store.ancestors(user, folder.id)] == ["x", "y"]


@pytest.mark.parametrize("number", [0, 10**9, 2**63 - 1])
def test_an_unknown_id_is_not_found_everywhere(
    services: Services, user: User, store: Store, number: int
) -> None:
    here = upload(services, user, "a", b"1").id
    for ask in (
        lambda: store.get(user, number),
        lambda: store.update(user, number, Change(name="b")),
        lambda: store.delete_field(user, number, "x"),
        lambda: store.ancestors(user, number),
        lambda: store.children(user, number, ALL),
        lambda: store.move(user, [here, number], None),
        lambda: store.move(user, [here], number),
        lambda: store.copy(user, [number], None),
        lambda: store.delete(user, [here, number]),
        lambda: store.create_object(user, NewObject(number, "x")),
    ):
        with pytest.raises(NotFound, match=str(number)):
            ask()
    assert names(store, user) == ["a"]


def test_the_first_missing_part_of_a_path_is_named(services: Services, user: User, store: Store) -> None:
    upload(services, user, "exp1/run 3/a.csv", b"1")
    with pytest.raises(NotFound, match="'run 4' does not exist in exp1"):
        store.get(user, ["exp1", "run 4", "a.csv"])
    with pytest.raises(NotFound, match="'exp2' does not exist at the top level"):
        store.get(user, ["exp2", "x"])
    with pytest.raises(NotFound, match="is below an object that is not a folder"):
        store.get(user, ["exp1", "run 3", "a.csv", "deeper"])


def test_metadata_are_merged_or_replaced(user: User, store: Store) -> None:
    made = store.create_object(user, NewObject(None, "o", metadata={"a": 1, "b": {"c": 2}}, tags=["t"]))
    merged = store.update(user, made.id, Change(merged={"b": 3, "d": None}))
    assert json.loads(merged.metadata) == {"a": 1, "b": 3, "d": None}
    assert merged.tags == made.tags
    replaced = store.update(user, made.id, Change(metadata={"x": 1}, merged={"y": 2}, tags=[]))
    assert json.loads(replaced.metadata) == {"x": 1, "y": 2}
    assert replaced.tags == "[]"
    assert json.loads(store.delete_field(user, made.id, "x").metadata) == {"y": 2}
    assert json.loads(store.delete_field(user, made.id, "x").metadata) == {"y": 2}
    assert replaced.updated_on > made.updated_on


def test_integers_of_any_size_keep_their_digits(user: User, store: Store) -> None:
    made = store.create_object(user, NewObject(None, "o", metadata={"n": 2**200, "m": -(2**63)}))
    assert made.metadata == f'{{"n":{2**200},"m":{-(2**63)}}}'
    assert json.loads(store.update(user, made.id, Change(merged={"x": 1})).metadata)["n"] == 2**200


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\udc80", {"\ud800": 1}, 10**400, {1, 2}, b"bytes"], ids=ascii
)
def test_what_json_cannot_hold_is_refused(user: User, store: Store, value: Any) -> None:
    with pytest.raises(BadRequest, match="metadata"):
        store.create_object(user, NewObject(None, "o", metadata={"x": [value]}))
    deep: Any = 1
    for _ in range(64):
        deep = [deep]
    with pytest.raises(BadRequest, match="metadata"):
        store.create_object(user, NewObject(None, "o", metadata={"x": deep}))
    assert names(store, user) == []


def test_the_time_of_a_file_is_that_of_its_content(services: Services, user: User, store: Store) -> None:
    file = upload(services, user, "a", b"1")
    assert store.update(user, file.id, Change(name="b", merged={"x": 1})).updated_on == file.updated_on
    with services.blobs.new_upload() as sent:
        sent.write(b"22")
        blob = sent.finish()
        assert store.replace_content(user, file.id, blob, expected=None) is None
        replaced = store.replace_content(user, file.id, blob, expected=file.blob)
    assert replaced is not None
    grown, unreferenced = replaced
    assert unreferenced == {file.key}
    assert grown.updated_on > file.updated_on
    assert (grown.id, grown.size, grown.etag) == (file.id, 2, blob.etag)


def test_a_copy_is_deep_and_keeps_metadata_and_tags(services: Services, user: User, store: Store) -> None:
    upload(services, user, "f/g/a", b"old")
    upload(services, user, "f/g/a", b"content", metadata={"x": 1}, tags=["t"])
    source = store.update(user, store.get(user, ["f"]).id, Change(merged={"of": "folder"}))
    (copied,) = store.copy(user, [source.id], None, "h")
    assert copied.metadata == source.metadata
    inner = store.get(user, ["h", "g", "a"])
    assert content(services, inner) == b"content"
    assert (inner.metadata, inner.tags, inner.versions) == ('{"x":1}', '["t"]', "[]")
    assert store.get(user, ["f", "g", "a"]).id != inner.id
    store.delete(user, [source.id])
    assert content(services, store.get(user, ["h", "g", "a"])) == b"content"


def test_a_large_folder_is_copied_and_deleted_whole(services: Services, user: User, store: Store) -> None:
    folder = store.create_folder(user, NewObject(None, "many"))
    fill(services, user, folder.id, 2500)
    (copied,) = store.copy(user, [folder.id], None, "again")
    assert len(names(store, user, copied.id)) == 2500
    store.delete(user, [folder.id, copied.id])
    assert store.count(user, {}) == 0


def test_a_folder_cannot_go_into_itself(user: User, store: Store) -> None:
    inner = store.create_folder(user, NewObject(None, "c", ("a", "b")))
    outer = store.get(user, ["a"])
    for act in (store.move, store.copy):
        for target in (outer.id, inner.id):
            with pytest.raises(BadRequest, match="parent"):
                act(user, [outer.id], target)
    assert store.get(user, ["a", "b", "c"]) == inner


def test_moves_of_several_are_done_whole_or_not_at_all(services: Services, user: User, store: Store) -> None:
    folder = store.create_folder(user, NewObject(None, "f"))
    one, two = upload(services, user, "1", b""), upload(services, user, "2", b"")
    upload(services, user, "f/2", b"")
    for act in (store.move, store.copy):
        with pytest.raises(Conflict):
            act(user, [one.id, two.id], folder.id)
        with pytest.raises(BadRequest, match="name"):
            act(user, [one.id, two.id], folder.id, "both")
    assert names(store, user) == ["f", "1", "2"]
    assert names(store, user, folder.id) == ["2"]


def test_a_target_has_to_be_a_current_folder(services: Services, user: User, store: Store) -> None:
    old = store.create_object(user, NewObject(None, "a"))
    file = upload(services, user, "a", b"1")
    assert file.versions == f"[{old.id}]"
    for number, error in ((file.id, BadRequest), (old.id, Conflict)):
        with pytest.raises(error, match="parent"):
            store.create_folder(user, NewObject(number, "x"))
    with pytest.raises(BadRequest, match="is not a folder"):
        store.children(user, file.id, ALL)


def fill(services: Services, user: User, parent: int | None, count: int, metadata: str = "{}") -> None:
    row = {
        "owner": user.id, "parent": parent, "type": Kind.OBJECT, "tags": "[]", "versions": "[]",
        "metadata": metadata, "metadata_size": len(metadata), "created_on": MOMENT, "updated_on": MOMENT,
    }  # fmt: skip
    with services.database.write() as connection:
        connection.execute(insert(objects), [row | {"name": f"n{number}"} for number in range(count)])


def test_long_lists_come_in_pieces_that_show_one_moment(services: Services, user: User, store: Store) -> None:
    fill(services, user, None, 3 * PIECE_ROWS + 1)
    listing = store.children(user, None, ALL)
    assert listing.total == 3 * PIECE_ROWS + 1
    pieces = listing.pieces()
    found = [item.record.name for item in next(pieces)]
    gone = store.get(user, ["n7000"])
    store.delete(user, [gone.id])
    store.create_object(user, NewObject(None, "later"))
    for piece in pieces:
        assert len(piece) <= PIECE_ROWS
        found += [item.record.name for item in piece]
    assert found == [f"n{number}" for number in range(3 * PIECE_ROWS + 1) if number != 7000]


def test_records_with_large_metadata_come_in_small_pieces(
    services: Services, user: User, store: Store
) -> None:
    fill(services, user, None, 40, metadata=json.dumps({"x": "y" * 500_000}))
    listing = store.query(user, {}, ALL, sort="-name")
    sizes = [len(piece) for piece in listing.pieces()]
    assert sum(sizes) == 40
    assert max(sizes) <= 6


def test_pages_join_without_gaps(services: Services, user: User, store: Store) -> None:
    fill(services, user, None, 100)
    every = records(store.children(user, None, ALL))
    by_offset = [records(store.children(user, None, PageRequest(7, offset))) for offset in range(0, 100, 7)]
    assert [record for page in by_offset for record in page] == every
    last, by_id = 0, []
    while page := records(store.children(user, None, PageRequest(7, after=last))):
        by_id += page
        last = page[-1].id
    assert by_id == every
    assert records(store.children(user, None, PageRequest(0))) == []
    assert records(store.children(user, None, PageRequest(5, 1000))) == []


def test_a_recursive_list_has_all_below_with_paths(services: Services, user: User, store: Store) -> None:
    upload(services, user, "f/g/h/a", b"")
    upload(services, user, "f/b", b"")
    upload(services, user, "other/c", b"")
    # A folder may be newer than what is in it.
    late = store.create_folder(user, NewObject(None, "late"))
    store.move(user, [store.get(user, ["f", "g"]).id], late.id)
    store.move(user, [late.id], store.get(user, ["f"]).id)
    everything = {
        "/".join(item.path or ()): item.record.name
        for piece in store.children(user, None, ALL, recursive=True).pieces()
        for item in piece
    }
    paths = ["f", "f/b", "f/late", "f/late/g", "f/late/g/h", "f/late/g/h/a", "other", "other/c"]
    assert everything == {path: path.rpartition("/")[2] for path in paths}
    below = store.children(user, ["f", "late"], ALL, recursive=True)
    assert below.total == 3
    found = ["/".join(item.path or ()) for piece in below.pieces() for item in piece]
    assert sorted(found) == ["g", "g/h", "g/h/a"]


PLACES: dict[str, list[str] | None] = {
    "top": [], "beside": ["beside"], "deeper": ["f", "deeper"], "deleted": None
}  # fmt: skip


def paths(pieces: Iterable[list[Item]], start: list[str]) -> list[str]:
    return ["/".join([*start, *(item.path or ())]) for piece in pieces for item in piece]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("moved", [["f", "d"], ["f", "g", "h"], ["f", "g"]])
@pytest.mark.parametrize("start", [[], ["f"]])
def test_a_recursive_list_leaves_out_what_is_moved_away_meanwhile(
    services: Services,
    user: User,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    moved: list[str],
    start: list[str],
) -> None:
    for name in ("f/first", "beside/x", "f/deeper/x", "f/g/h/i/a", "f/g/h/b", "f/g/c", "f/d", "f/last"):
        upload(services, user, name, b"")
    monkeypatch.setattr(listings, "PIECE_ROWS", 3)
    pieces = store.children(user, start, ALL, recursive=True).pieces()
    before = paths([next(pieces)], start)
    number, target = store.get(user, moved).id, PLACES[place]
    if target is None:
        store.delete(user, [number])
    else:
        store.move(user, [number], store.get(user, target).id if target else None)
    now = paths(store.children(user, start, ALL, recursive=True).pieces(), start)
    assert sorted(paths(pieces, start)) == sorted(set(now) - set(before))


@pytest.mark.parametrize("at_top", [True, False])
def test_a_list_leaves_out_what_is_moved_away_meanwhile(
    services: Services, user: User, store: Store, monkeypatch: pytest.MonkeyPatch, at_top: bool
) -> None:
    folders = [store.create_folder(user, NewObject(None, name)).id for name in ("f", "g")]
    where, place = (None, folders[0]) if at_top else (folders[0], None)
    fill(services, user, where, 9)
    monkeypatch.setattr(listings, "PIECE_ROWS", 4)
    infos, named = store.children(user, where, ALL).pieces(), store.names(user, where, ALL)[1].pieces()
    found = [[item.record.name for item in next(infos)], [one.name for one in next(named)]]
    store.move(user, [record.id for record in records(store.children(user, where, ALL))][-1:], place)
    found[0] += [item.record.name for piece in infos for item in piece]
    found[1] += [one.name for piece in named for one in piece]
    assert found == [names(store, user, where)] * 2


def test_a_list_shows_a_file_that_is_replaced_meanwhile(
    services: Services, user: User, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "new", "c", "d"):
        upload(services, user, name, b"1")
    monkeypatch.setattr(listings, "PIECE_ROWS", 2)
    pieces = store.children(user, None, ALL).pieces()
    found = [item.record.name for item in next(pieces)]
    upload(services, user, "c", b"2")
    found += [item.record.name for piece in pieces for item in piece]
    assert found == ["a", "b", "new", "c", "d"]


@pytest.mark.parametrize("way", ["children", "tree", "names", "query", "sorted query"])
@pytest.mark.parametrize("gone", [[4], [4, 5, 9], [*range(4, 20)], [*range(4, 10), *range(11, 40)]])
def test_a_part_of_a_list_is_only_shorter_than_its_limit_if_it_is_the_last(
    services: Services, user: User, store: Store, monkeypatch: pytest.MonkeyPatch, way: str, gone: list[int]
) -> None:
    fill(services, user, None, 40)
    monkeypatch.setattr(listings, "PIECE_ROWS", 3)
    page = PageRequest(10)
    ways: dict[str, Callable[[], Listing | NameListing]] = {
        "children": lambda: store.children(user, None, page),
        "tree": lambda: store.children(user, None, page, recursive=True),
        "names": lambda: store.names(user, None, page)[1],
        "query": lambda: store.query(user, {}, page),
        "sorted query": lambda: store.query(user, {}, page, sort="-id"),
    }
    everything = records(store.query(user, {}, ALL, sort="-id" if way == "sorted query" else None))
    pieces: Iterator[list[Any]] = ways[way]().pieces()
    found = [*next(pieces)]
    store.delete(user, [everything[index].id for index in gone])
    found += [one for piece in pieces for one in piece]
    left = [record.id for index, record in enumerate(everything) if index not in gone]
    assert [getattr(one, "record", one).id for one in found] == left[:10]


@pytest.mark.parametrize("parent", ["parent = 5", "parent IS NULL"])
def test_listing_a_folder_reads_only_what_it_shows(services: Services, parent: str) -> None:
    wanted = f"{parent} AND owner = 1 AND version_of IS NULL"
    page = f"SELECT * FROM objects WHERE {wanted} AND id > 100 ORDER BY id LIMIT 1000"
    count = f"SELECT count(*) FROM objects WHERE {wanted}"
    child = f"SELECT * FROM objects WHERE {wanted} AND name = 'x'"
    with services.database.read() as connection:
        plans = [
            " ".join(row[3] for row in connection.execute(text("EXPLAIN QUERY PLAN " + statement)))
            for statement in (page, count, child)
        ]
    assert "ix_objects_children (parent=? AND owner=? AND version_of=? AND id>?)" in plans[0]
    assert "B-TREE" not in plans[0]
    assert "COVERING INDEX" in plans[1]
    assert "name=?" in plans[2]


@pytest.mark.parametrize("parent", [5, None])
def test_a_file_is_looked_up_by_name_and_parent_in_an_index(
    services: Services, user: User, parent: int | None
) -> None:
    """Published clients, and plain ones of any kind, do so for every part of a path."""
    dialect = services.database.kind.queries
    wanted = compile_query(dialect, user, {"name": "a", "parent": parent})
    with services.database.read() as connection:
        found = select(objects.c.id).where(and_(searches.mine(user), wanted.clause(connection)))
        asked = found.compile(dialect=services.database.engine.dialect)
        sql = re.sub(r":\w+", "?", str(asked))
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, tuple(asked.params.values())).all()
    index = "uq_objects_in_folder (owner=? AND parent=? AND name=?)"
    assert [row[3] for row in plan] == [f"SEARCH objects USING INDEX {index}"]


def test_one_user_does_not_see_what_is_anothers(services: Services, user: User, store: Store) -> None:
    other = services.accounts.add_user("bob")
    mine = upload(services, user, "f/a", b"1", metadata={"x": 1}, tags=["t"])
    assert mine.parent is not None
    for ask in (
        lambda: store.get(other, mine.id),
        lambda: store.get(other, ["f", "a"]),
        lambda: store.children(other, mine.parent, ALL),
        lambda: store.children(other, ["f"], ALL),
        lambda: store.ancestors(other, mine.id),
        lambda: store.update(other, mine.id, Change(name="b")),
        lambda: store.delete_field(other, mine.id, "x"),
        lambda: store.move(other, [mine.id], None),
        lambda: store.copy(other, [mine.id], None),
        lambda: store.delete(other, [mine.id]),
        lambda: store.create_folder(other, NewObject(mine.parent, "x")),
    ):
        with pytest.raises(NotFound):
            ask()
    for listing in (
        store.children(other, None, ALL),
        store.children(other, None, ALL, recursive=True),
        store.query(other, {}, ALL),
        store.query(other, {"$or": [{"x": 1}, {"id": mine.id}]}, ALL, sort="x"),
        store.search(other, parse_search("*"), ALL),
    ):
        assert records(listing) == []
    assert store.count(other, {}) == 0
    assert store.field_names(other) == []
    assert store.field_values(other, "x") == []
    assert upload(services, other, "f/a", b"2").versions == "[]"
    assert content(services, store.get(user, ["f", "a"])) == b"1"


def test_text_is_searched_in_names_tags_and_metadata(services: Services, user: User, store: Store) -> None:
    made = [
        upload(services, user, "Needle.csv", b""),
        upload(services, user, "b", b"", tags=["a needle"]),
        upload(services, user, "c", b"", metadata={"x": [{"y": "NEEDLEwork"}]}),
        upload(services, user, "d", b"", metadata={"needles": 1}),
        upload(services, user, "e", b"", metadata={"x": 12345}),
    ]
    for wanted, found in (
        ("needle", made[1::-1]),  # in "Needle.csv" and "a needle"
        ("needle*", made[3::-1]),  # the names of metadata count too
        ("12345", [made[4]]),
        ("*", made[::-1]),
        ("%", []),
    ):
        assert records(store.search(user, parse_search(wanted), ALL)) == found, wanted


def test_known_fields_and_values_are_suggested(user: User, store: Store) -> None:
    for number, value in enumerate([2, 1.5, "two", True, [1, {"a": "b"}], 2, None]):
        store.create_object(user, NewObject(None, f"o{number}", metadata={"x": value, 'a"b': 0}))
    assert store.field_names(user) == ['a"b', "x"]
    assert sorted(map(str, store.field_values(user, "x"))) == sorted(
        ["2", "1.5", "two", "True", "[1, {'a': 'b'}]"]
    )


def test_a_locked_database_is_an_answer_and_reading_goes_on(
    services: Services, user: User, tmp_path: Path
) -> None:
    file = services.settings.data_dir / "rinofs.sqlite3"
    hasty = Store(Database(f"sqlite:///{file}", busy_timeout=0.05))
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as refused:
        hasty.create_object(user, NewObject(None, "o"))
    assert refused.value.status == 503
    assert "Retry-After" in refused.value.headers
    assert names(hasty, user) == []
    holder.execute("COMMIT")
    holder.close()
    hasty.create_object(user, NewObject(None, "o"))
    assert names(hasty, user) == ["o"]


def test_a_full_database_is_an_answer(services: Services, user: User, store: Store) -> None:
    services.database.engine.dispose()
    with services.database.write() as connection:
        connection.execute(text("PRAGMA max_page_count = 40"))
        # The setting belongs to this connection, which the next transaction gets again.

    def fill_up() -> None:
        for number in range(100):
            store.create_object(user, NewObject(None, f"o{number}", metadata={"x": "y" * 100_000}))

    with pytest.raises(InsufficientStorage) as refused:
        fill_up()
    assert refused.value.status == 507
    kept = records(store.children(user, None, ALL))
    assert all(record.metadata_size == 100_008 for record in kept)


def test_a_broken_database_is_an_answer(services: Services, user: User, store: Store) -> None:
    with services.database.write() as connection:
        connection.execute(text("ALTER TABLE objects RENAME TO hidden"))
    with pytest.raises(Unavailable):
        store.get(user, 1)
