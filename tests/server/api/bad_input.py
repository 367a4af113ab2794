"""What no client should send."""

from __future__ import annotations

from typing import Any

CREATING = [
    "files/create_folder",
    "files/create_folder_if_not_exist",
    "files/create_object",
    "files/create_empty",
]
MOVING = ["files/move", "files/copy"]
QUERYING = ["files/query", "files/query_count"]
ABOUT_ONE = ["files/update", "files/get_metadata", "files/ancestors", "files/delete", "files/download"]

NAMES: dict[str, Any] = {
    "empty": "", "dot": ".", "dots": "..", "nul": "a\0b", "newline": "a\nb", "delete": "a\x7f",
    "c1": "a\x85b", "long": "x" * 256, "long folder": "x" * 256 + "/a", "slash first": "/a",
    "slash last": "a/", "slashes": "a//b", "up": "a/../b", "here": "a/./b", "number": 5, "list": ["a"],
    "object": {"a": 1}, "truth": True, "float": 1.5,
}  # fmt: skip

BODIES = {
    "no json": b"{", "cut": b'{"name": "a', "text": b"hello", "nan": b'{"name": "a", "x": NaN}',
    "infinity": b'{"name": "a", "x": [-Infinity]}', "overflow": b'{"name": "a", "x": 1e999}',
    "surrogate": b'{"name": "a", "x": "\\ud800"}', "surrogate key": b'{"name": "a", "\\udfff": 1}',
    "surrogate name": b'{"name": "\\ud800"}', "not utf-8": b'{"name": "\xff"}',
    "deep": b'{"name": "a", "x": ' + b"[" * 70 + b"]" * 70 + b"}", "very deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000, "list": b"[1]", "number": b"1", "null": b"null", "string": b'"name"',
    "huge integer": b'{"name": "a", "x": ' + b"9" * 5000 + b"}",
    "beyond 64 bits": b'{"name": "a", "x": 18446744073709551616}',
    "two": b'{"name": "a"}{"name": "b"}', "trailing": b'{"name": "a"},', "single quotes": b"{'name': 'a'}",
    "too large": b'{"name": "a", "x": "' + b"y" * (1024 * 1024) + b'"}', "mark": b'\xef\xbb\xbf{"name": "a"',
}  # fmt: skip

_FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="n"\r\n\r\nx\r\n'
_JSON = b'--b\r\nContent-Disposition: form-data; name="json"\r\n\r\n'
_END = b"--b--\r\n"

MULTIPART = {
    "no file": _JSON + b'{"name": "n"}\r\n' + _END,
    "no end": _FILE,
    "nothing": b"",
    "no parts": _END,
    "bad json": _JSON + b'{"na\r\n' + _FILE + _END,
    "list as json": _JSON + b"[]\r\n" + _FILE + _END,
    "two files": _FILE + _FILE + _END,
    "short digest": _FILE + b'--b\r\nContent-Disposition: form-data; name="sha256"\r\n\r\nabc\r\n' + _END,
    "wrong boundary": (_FILE + _END).replace(b"--b", b"--c"),
    "garbage": bytes(range(256)),
}

Case = tuple[str, dict[str, Any], str]


def _each(endpoints: list[str], field: str, values: list[Any], **others: Any) -> list[Case]:
    return [(endpoint, {**others, field: value}, field) for endpoint in endpoints for value in values]


FIELDS: list[Case] = [
    # Endpoint, what is sent, and the field to be named. FILE and FOLDER stand for ids.
    *_each(CREATING, "parent", ["x", -1, 1.5, True, [], {}, 10**9, 2**63 - 1, ""], name="n"),
    *_each(CREATING, "tags", [{}, [None], [["a"]], [True], [{}]], name="n"),
    *_each(CREATING, "metadata", ["x", [], 1, True], name="n"),
    *_each(CREATING, "versions", ["x", {}, ["x"], [-1]], name="n"),
    *_each(CREATING, "name", [None]),
    *_each([*ABOUT_ONE, "files/children"], "id", ["x", -1, 1.5, True, {}, 10**9, 0]),
    *_each(ABOUT_ONE, "id", [None]),
    *_each(["files/append"], "id", [None, "FOLDER"], chunk="x"),
    *_each(["files/append"], "chunk", [None, 5], id="FILE"),
    *_each(["files/delete_metadata_field"], "field", [None, ["x"], 5], id="FILE"),
    *_each(["files/children"], "limit", [-1, "x", 1.5, [], True]),
    *_each(["files/children"], "offset", [-1, "x", 1.5, [], True]),
    *_each(["files/children"], "after", [-1, "x", 1.5, [], True]),
    *_each(["files/children"], "recursive", ["maybe", 1]),
    *_each(["files/children"], "id", ["FILE"]),
    *_each(["files/get_metadata"], "path", [[1], [None], "nowhere", ["nowhere", "x"], {"a": 1}, [["a"]]]),
    *_each(["files/get_metadata"], "path", [["file", "below"]]),
    *_each(["files/get_metadata"], "truncate_metadata", ["yes"], id="FILE"),
    *_each(MOVING, "items", [None, [], ["FILE", 10**9], "x", {}], parent="FOLDER"),
    *_each(MOVING, "parent", [10**9, "FILE", "FOLDER", "x"], items="FOLDER"),
    *_each(MOVING, "name", ["n"], items=["FILE", "FOLDER"], parent=None),
    *_each(MOVING, "name", ["a/b", "", 5], items="FILE", parent="FOLDER"),
    *_each(["files/update"], "name", ["", "a/b", "..", 5, "folder"], id="FILE"),
    *_each(QUERYING, "query", ["x", [], 1, {"x": {"$nope": 1}}, {"$nope": []}, {"$or": {}}, {"$or": [1]}]),
    *_each(["files/query"], "sort", [5, ""], query={}),
    *_each(["files/query"], "limit", [-5], query={}),
    *_each(["files/search"], "query", [None, {"x": 1}, "x" * 1000]),
    *_each(["files/autocomplete_values"], "field", [None, "", 5]),
]
