"""The endpoint for LabVIEW, which stores a table of numbers as a CSV file."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from rinofs.protocol.names import MAX_NAME_LENGTH
from rinofs.server.api.rinocloud.requests import new_object, text
from rinofs.server.budgets import check_time
from rinofs.server.catalog.records import Kind
from rinofs.server.catalog.store import made_before
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from starlette.responses import Response

    from rinofs.server.api.calls import Call
    from rinofs.server.catalog.database import RequestKey
    from rinofs.server.catalog.records import Record, User

__all__ = ["create"]

_NO_NAME = re.compile(r"[/\x00-\x1f\x7f]")


async def create(call: Call) -> Response:
    """Create a file from the rows in ``data``; all other fields are metadata and tags."""
    fields = await call.fields()
    content = await call.checked(partial(_as_csv, fields.pop("data", None)))
    name = text(fields, "name") or _new_name(fields.get("category"))
    new = new_object({**fields, "name": name}, extended=call.extended, nested=False, kind=Kind.FILE)

    def change(user: User, key: RequestKey | None) -> list[Record]:
        with call.services.blobs.new_upload() as upload:
            upload.write(content)
            return [call.services.store.upload(user, new, upload.finish(), key=key)]

    return await call.once(
        [fields, content.decode()], change, lambda made: call.respond(made[0], 201), made_before
    )


def _as_csv(data: object) -> bytes:
    """Return rows as CSV, with numbers as in JSON."""
    if not isinstance(data, list):
        raise BadRequest("data: a list of rows is expected", field="data")
    rows = [row if isinstance(row, list) else [row] for row in data]
    if any(isinstance(value, list | dict) for row in rows for value in row):
        raise BadRequest("data: numbers, texts or truth values are expected in the rows", field="data")
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for row in rows:
        check_time()
        writer.writerow(map(_cell, row))
    try:
        return written.getvalue().encode()
    except UnicodeEncodeError:
        raise BadRequest("data: a text contains an unpaired surrogate", field="data") from None


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _new_name(category: object) -> str:
    """Return a name for a table without one: its kind and the time."""
    moment = datetime.now(UTC).strftime(" %Y-%m-%dT%H-%M-%S.%fZ.csv")
    what = _NO_NAME.sub("_", category).strip() if isinstance(category, str) else ""
    return (what or "table")[: MAX_NAME_LENGTH - len(moment)] + moment
