"""Objects within one transaction: find them by id or name, add and change them.

References to contents have no module of their own: each upload looks up its content, refers to it and adds an
object, and would pass through one more module. `refer` returns the row numbers of contents to refer to.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Text, and_, bindparam, insert, literal_column, or_, select, update
from sqlalchemy.exc import IntegrityError

from rinofs.protocol.limits import LARGEST_ID
from rinofs.server.catalog import blob_rows
from rinofs.server.catalog.database import kind_of
from rinofs.server.catalog.records import (
    Kind,
    NewObject,
    Record,
    User,
    dump_list,
    dump_metadata,
    now,
)
from rinofs.server.catalog.sharing.leases import hold_workers
from rinofs.server.catalog.sharing.locks import add_unless_present, is_duplicate, shared
from rinofs.server.catalog.tables import blobs, objects
from rinofs.server.errors import BadRequest, Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from rinofs.server.blobs.store import Blob
    from rinofs.server.catalog.transactions import Reader

__all__ = [
    "RECORD",
    "RECORDS",
    "RETURNED",
    "WITH_CONTENT",
    "add",
    "add_all",
    "changeable",
    "child",
    "earlier",
    "folder_for",
    "get",
    "inside",
    "needed_folder",
    "refer",
    "refuse_folder",
    "refuse_taken",
    "row_of",
    "set_values",
    "stored_elsewhere",
    "stored_under",
    "supersede",
    "take_place",
]

_OF_CONTENT = frozenset({"key", "blake3", "sha256"})

RECORD = tuple(
    blobs.c[name] if name in _OF_CONTENT else objects.c[name] for name in Record.__dataclass_fields__
)
"""The columns of a `Record`, in its order, for objects joined `WITH_CONTENT`."""

WITH_CONTENT = objects.outerjoin(blobs, objects.c.blob == blobs.c.id)
"""Objects, joined with their contents."""

RECORDS = select(*RECORD).select_from(WITH_CONTENT)
"""The columns of `Record`s."""

RETURNED = tuple(
    # A statement that changes a table can return only its columns, and subqueries for each row.
    literal_column(f"(SELECT blobs.{name} FROM blobs WHERE blobs.id = objects.blob)", Text).label(name)  # noqa: S608
    if name in _OF_CONTENT
    else objects.c[name]
    for name in Record.__dataclass_fields__
)
"""The columns of a `Record`, in its order, for statements that change objects."""

# Used by almost every request. Building such a statement takes longer than running it.
_MINE = objects.c.owner == bindparam("user")
_BY_ID = RECORDS.where(_MINE, objects.c.id == bindparam("number"))
_BY_NAME = RECORDS.where(_MINE, objects.c.name == bindparam("called"), objects.c.version_of.is_(None))
_AT_TOP = _BY_NAME.where(objects.c.parent.is_(None))
_IN_FOLDER = _BY_NAME.where(objects.c.parent == bindparam("folder"))
_CONTENTS = select(blobs.c.id, blobs.c.key, blobs.c.size, blobs.c.blake3, blobs.c.sha256)
_BY_DIGEST_OR_KEY = shared(
    _CONTENTS.where(
        or_(
            blobs.c.blake3.in_(bindparam("digests", expanding=True)),
            blobs.c.key.in_(bindparam("keys", expanding=True)),
        )
    ).order_by(blobs.c.id)  # all lock them in one order
)
_BY_DIGEST = _CONTENTS.where(
    or_(
        blobs.c.blake3.in_(bindparam("digests", expanding=True)),
        and_(blobs.c.sha256.in_(bindparam("sha256s", expanding=True)), blobs.c.blake3.is_(None)),
    )
)
# The same for a single content; statements with lists of values must be built each time.
_ONE_BY_DIGEST_OR_KEY = shared(
    _CONTENTS.where(
        or_(
            blobs.c.blake3 == bindparam("digest"),
            blobs.c.key == bindparam("new_key"),
            blobs.c.key == bindparam("former_key"),
        )
    ).order_by(blobs.c.id)
)
_ONE_BY_DIGEST = (
    select(blobs.c.key)
    .where(
        or_(
            blobs.c.blake3 == bindparam("digest"),
            and_(blobs.c.sha256 == bindparam("by_sha256"), blobs.c.blake3.is_(None)),
        )
    )
    .order_by(blobs.c.blake3.is_(None))
)
_ADD_CONTENT = insert(blobs).returning(blobs.c.id, blobs.c.blake3)
_ADD_UNLESS_PRESENT = add_unless_present(blobs, "blake3", "sha256", "size", "etag", "key")


def stored_under(reader: Reader, content: Blob) -> str | None:
    """Return the key of a content that the database knows under another key, or None."""
    one = {"digest": content.blake3, "by_sha256": content.sha256}
    row = reader.execute(_ONE_BY_DIGEST, one).first()
    return None if row is None or row[0] == content.key else str(row[0])


def stored_elsewhere(connection: Connection, contents: Collection[Blob]) -> dict[str, str]:
    """Return the keys of contents that the database knows under other keys, by BLAKE3."""
    by_sha256 = {blob.sha256: blob for blob in contents if blob.sha256 is not None}
    wanted = {blob.blake3: blob for blob in contents}
    values = {"digests": list(wanted), "sha256s": list(by_sha256)}
    rows = connection.execute(_BY_DIGEST, values).all()
    found: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row.blake3 is not None):  # those with a BLAKE3 win
        same = wanted.get(row.blake3) or by_sha256.get(row.sha256)
        if same is not None:
            found[same.blake3] = row.key
    return {digest: key for digest, key in found.items() if key != wanted[digest].key}


def refer(connection: Connection, contents: Iterable[Blob]) -> dict[str, int]:
    """Return the row numbers of contents to refer to, by BLAKE3.

    The contents are not removed before the transaction ends, even if others drop their references. Call this
    once in a transaction: transactions that add the same contents wait for each other.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    contents : iterable of Blob
        The contents, which the caller protects from collection; see `stored_elsewhere`.
    """
    wanted = {blob.blake3: blob for blob in contents}
    numbers: dict[str, int] = {}
    while wanted:
        numbers |= _numbers_of_known(connection, wanted)
        missing = {digest: blob for digest, blob in sorted(wanted.items()) if digest not in numbers}
        if missing:
            numbers |= _add_contents(connection, missing)
        # Another transaction has just added those that are still missing.
        wanted = {digest: blob for digest, blob in missing.items() if digest not in numbers}
    return numbers


def _numbers_of_known(connection: Connection, wanted: Mapping[str, Blob]) -> dict[str, int]:
    rows = _rows_of(connection, wanted)
    by_key, by_digest = {row.key: row for row in rows}, {row.blake3: row for row in rows}
    numbers: dict[str, int] = {}
    for digest, blob in wanted.items():
        row = by_key.get(blob.key) or by_digest.get(digest) or by_key.get(blob.former_key)
        if row is None:
            continue
        numbers[digest] = row.id
        changed = _changed(row, blob, only=digest not in by_digest)
        if changed:
            same = (blobs.c.id == row.id) & (blobs.c.key == row.key)
            connection.execute(update(blobs).where(same).values(changed))
        if "key" in changed:
            hold_workers(connection, [blob.key])
            blob_rows.doom(connection, [row.key])
    return numbers


def _add_contents(connection: Connection, added: Mapping[str, Blob]) -> dict[str, int]:
    """Add rows for contents; return their numbers, without contents that others are adding."""
    rows = [_values(blob) for blob in added.values()]
    if not kind_of(connection).is_shared:  # nobody else can add any meanwhile
        inserted = connection.execute(_ADD_CONTENT, rows[0] if len(rows) == 1 else rows)
        return {digest: number for number, digest in inserted}
    hold_workers(connection, (blob.key for blob in added.values()))
    if len(rows) > 1:
        connection.execute(_ADD_UNLESS_PRESENT, rows)
        return {}
    number = connection.scalar(_ADD_UNLESS_PRESENT, rows[0])
    return {} if number is None else dict.fromkeys(added, number)


def _rows_of(connection: Connection, wanted: Mapping[str, Blob]) -> Sequence[Any]:
    if len(wanted) == 1:
        (blob,) = wanted.values()
        statement = _ONE_BY_DIGEST_OR_KEY
        values: dict[str, Any] = {"digest": blob.blake3, "new_key": blob.key, "former_key": blob.former_key}
    else:
        keys = [key for blob in wanted.values() for key in (blob.key, blob.former_key) if key is not None]
        statement, values = _BY_DIGEST_OR_KEY, {"digests": list(wanted), "keys": keys}
    if any(blob.former_key is not None for blob in wanted.values()):
        # They get other keys. Of two transactions that share a row, each would wait for the other one.
        statement = statement.with_for_update()
    return connection.execute(statement, values).all()


def _values(blob: Blob) -> dict[str, object]:
    return {
        "blake3": blob.blake3,
        "sha256": blob.sha256,
        "size": blob.size,
        "etag": blob.etag,
        "key": blob.key,
    }


def _changed(row: Any, blob: Blob, *, only: bool) -> dict[str, object]:
    """Return the changes of a row for a content; `only` if no other row has its BLAKE3.

    The row gets the key of the content, unless another upload has changed its key meanwhile.
    """
    changed: dict[str, object] = {}
    if row.key == blob.former_key:
        changed["key"] = blob.key
    if row.blake3 is None and only:
        changed["blake3"] = blob.blake3
    if row.sha256 is None and blob.sha256 is not None:
        changed["sha256"] = blob.sha256
    return changed


def get(reader: Reader, user: User, number: int, *, field: str = "id") -> Record:
    """Return an object of a user, current or earlier.

    Raises
    ------
    NotFound
        If the user has none with that id, whether or not others have.
    """
    if 0 < number <= LARGEST_ID:
        row = reader.execute(_BY_ID, {"user": user.id, "number": number}).one_or_none()
        if row is not None:
            return Record(*row)
    raise NotFound(f"{field}: object {number} does not exist", field=field)


def changeable(
    connection: Connection, user: User, number: int, *, field: str = "id", exact: bool = True
) -> Record:
    """Return an object to change.

    Published clients keep using the id of their first upload. The id of an earlier version therefore means
    the current object, unless exactly that version is meant.

    Raises
    ------
    NotFound
        If the user has none of that id.
    Conflict
        If an earlier version is meant, which is read-only.
    """
    record = get(connection, user, number, field=field)
    if record.version_of is None:
        return record
    if not exact:
        return get(connection, user, record.version_of)
    raise Conflict(f"{field}: {number} is an earlier version of {record.version_of}, read-only", field=field)


def inside(user: User, parent: int | None) -> ColumnElement[bool]:
    """Return the condition for current objects of a user in a folder."""
    here = objects.c.parent.is_(None) if parent is None else objects.c.parent == parent
    return here & (objects.c.owner == user.id) & objects.c.version_of.is_(None)


def child(reader: Reader, user: User, parent: int | None, name: str) -> Record | None:
    """Return the current object with a name in a folder, or None."""
    found = _AT_TOP if parent is None else _IN_FOLDER
    row = reader.execute(found, {"user": user.id, "called": name, "folder": parent}).one_or_none()
    return None if row is None else Record(*row)


# Putting it together takes longer than running it.
_INSERT = insert(objects).returning(*RETURNED)

# Columns that stay when the same content is uploaded again; all others are replaced.
_STAYS = frozenset(
    {"owner", "parent", "name", "type", "size", "etag", "blob", "versions", "version_of", "created_on"}
)


def folder_for(
    connection: Connection, user: User, parent: int | None, names: Sequence[str] = ()
) -> int | None:
    """Return the id of the folder for new objects; None for the top level.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    parent : int or None
        The folder to start from.
    names : sequence of str
        Folders to follow below it; missing ones are created.

    Raises
    ------
    NotFound
        If `parent` does not exist.
    BadRequest
        If `parent` is not a folder.
    Conflict
        If something else has the name of a folder.
    """
    if parent is not None and changeable(connection, user, parent, field="parent").type != Kind.FOLDER:
        raise BadRequest(f"parent: {parent} is not a folder", field="parent")
    here = parent
    for name in names:
        step = child(connection, user, here, name)
        if step is None:
            step = add(connection, user, NewObject(here, name), Kind.FOLDER)
        here = needed_folder(step).id
    return here


def needed_folder(record: Record) -> Record:
    """Return an object if it is a folder.

    Raises
    ------
    Conflict
        If it is not a folder.
    """
    if record.type != Kind.FOLDER:
        raise Conflict(f"name: {record.name!r} is not a folder", field="name")
    return record


def add(
    connection: Connection,
    user: User,
    new: NewObject,
    kind: str,
    *,
    blob: Blob | None = None,
    number: int | None = None,
    replaced: Record | None = None,
) -> Record:
    """Add an object to `new.parent`, which must be a folder.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    new : NewObject
        The object to add.
    kind : str
        One of `Kind`.
    blob : Blob, optional
        Its content, for a file.
    number : int, optional
        The row number of the content, if `refer` has returned it already.
    replaced : Record, optional
        The current object with that name, which becomes an earlier version; see `supersede` for the same
        content.

    Raises
    ------
    Conflict
        If the name is taken.
    """
    if blob is not None and number is None:
        number = refer(connection, [blob])[blob.blake3]
    values = row_of(user, new, kind, blob=blob, number=number, replaced=replaced)
    try:
        if replaced is None:
            return Record(*connection.execute(_INSERT, values).one())
        return supersede(connection, replaced, values, new_version=new.new_version)
    except IntegrityError as error:
        _taken(new.name, error)


def add_all(connection: Connection, rows: Sequence[dict[str, object]]) -> Iterator[Record]:
    """Add rows from `row_of`, whose names must be free; yields the objects in any order."""
    return (Record(*row) for row in connection.execute(_INSERT, rows))


def row_of(
    user: User,
    new: NewObject,
    kind: str,
    *,
    blob: Blob | None,
    number: int | None,
    replaced: Record | None,
) -> dict[str, object]:
    """Return the columns of an object to add, whose content has a row number.

    The parameters are those of `add`.
    """
    text = dump_metadata(new.metadata)
    moment = now()
    return {
        "owner": user.id,
        "parent": new.parent,
        "name": new.name,
        "type": kind,
        "size": None if blob is None else blob.size,
        "etag": None if blob is None else blob.etag,
        "blob": number,
        "metadata": text,
        "metadata_size": len(text.encode()),
        "tags": dump_list(new.tags),
        "versions": dump_list(sorted(new.versions | earlier(replaced))),
        "version_of": None,
        "created_on": moment if replaced is None else replaced.created_on,
        "updated_on": moment,
    }


def earlier(replaced: Record | None) -> frozenset[int]:
    """Return the ids of the earlier versions of an object's replacement."""
    return frozenset() if replaced is None else frozenset({replaced.id, *json.loads(replaced.versions)})


def supersede(
    connection: Connection, replaced: Record, values: Mapping[str, object], *, new_version: bool = False
) -> Record:
    """Replace a file by a new one; the former file becomes an earlier version.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    replaced : Record
        The current object.
    values : mapping
        The columns of the new file, from `row_of`.
    new_version : bool
        Whether a file with the same content becomes an earlier version too. Otherwise it stays current, and
        its metadata and tags are replaced.
    """
    if values["blob"] is not None and values["blob"] == replaced.blob and not new_version:
        versions = set(json.loads(str(values["versions"]))) - {replaced.id}
        said = {name: value for name, value in values.items() if name not in _STAYS}
        return set_values(connection, replaced, {**said, "versions": dump_list(sorted(versions))})
    _step_back(connection, replaced)
    record = Record(*connection.execute(_INSERT, dict(values)).one())
    _follow(connection, replaced, record.id)
    return record


def take_place(
    connection: Connection, replaced: Record, record: Record, place: Mapping[str, object]
) -> Record:
    """Replace an object by another one; the former object becomes an earlier version."""
    _step_back(connection, replaced)
    versions = dump_list(sorted(earlier(replaced).union(json.loads(record.versions)) - {record.id}))
    moved = set_values(connection, record, {**place, "versions": versions})
    _follow(connection, replaced, record.id)
    return moved


def _step_back(connection: Connection, replaced: Record) -> None:
    # Only one object with a name may be current at any time, so demote the old one first.
    connection.execute(update(objects).where(objects.c.id == replaced.id).values(version_of=replaced.id))


def _follow(connection: Connection, replaced: Record, current: int) -> None:
    whole = (objects.c.id == replaced.id) | (objects.c.version_of == replaced.id)
    connection.execute(update(objects).where(whole).values(version_of=current))


def set_values(connection: Connection, record: Record, values: Mapping[str, object]) -> Record:
    """Change columns of an object; its earlier versions follow its name and folder.

    Raises
    ------
    Conflict
        If its new name is taken.
    """
    if not values:
        return record
    change = update(objects).where(objects.c.id == record.id).values(values).returning(*RETURNED)
    try:
        changed = Record(*connection.execute(change).one())
    except IntegrityError as error:
        _taken(str(values.get("name", record.name)), error)
    place = {key: values[key] for key in ("name", "parent") if key in values}
    if place:
        connection.execute(update(objects).where(objects.c.version_of == record.id).values(place))
    return changed


def refuse_folder(present: Record | None) -> None:
    """Refuse to replace a folder by a file."""
    if present is not None and present.type == Kind.FOLDER:
        raise Conflict(f"name: {present.name!r} is a folder", field="name")


def refuse_taken(connection: Connection, user: User, parent: int | None, name: str, *, but: int = 0) -> None:
    """Refuse a name that another object in a folder has.

    Raises
    ------
    Conflict
        If it is taken.
    """
    holder = child(connection, user, parent, name)
    if holder is not None and holder.id != but:
        _taken(name)


def _taken(name: str, error: IntegrityError | None = None) -> NoReturn:
    if error is not None and not is_duplicate(
        error, objects
    ):  # such as an owner whom another process removed
        raise error
    raise Conflict(f"name: {name!r} is taken", field="name") from error
