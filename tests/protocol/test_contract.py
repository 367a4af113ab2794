"""The contract is spelled once, and an operator is one entry on each side of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import rinofs
from rinofs import RinoFileSystem
from rinofs.cli.main import main
from rinofs.protocol import extensions, operators, records
from rinofs.protocol.operators import OPERATORS, Operator, Takes
from rinofs.rinocloud.queries.matching import MATCHERS
from rinofs.rinocloud.records import parse_record
from rinofs.server.catalog.queries.conditions import CONDITIONS
from rinofs.testing import live_server
from tests.cli.conftest import point_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

ROOT = Path(rinofs.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT / "protocol")

HEADERS = {
    getattr(extensions, name).lower()
    for name in extensions.__all__
    if isinstance(getattr(extensions, name), str)
}
NAMES = {*extensions.RinocloudExtension, *extensions.RepovizzExtension}
ASKING = {"has", "may_have", "_try_extended"}
ONLY_OPERATORS = {one.keyword for one in OPERATORS.values() if "_" in one.keyword}


def spelled(tree: ast.Module) -> Iterator[str]:
    """Yield what of the contract a module spells itself."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose:
            yield from filter(is_spelling, [text_of(node)])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ASKING:
            yield from NAMES.intersection(map(text_of, node.args))
        elif isinstance(node, ast.Compare) and getattr(node.comparators[0], "attr", "") == "extensions":
            yield from NAMES.intersection([text_of(node.left)])


def text_of(node: ast.AST) -> str:
    value = node.value if isinstance(node, ast.Constant) else None
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def is_spelling(text: str) -> bool:
    if text in {*OPERATORS, *operators.GROUPS, *ONLY_OPERATORS}:
        return True
    return any(re.search(rf"(?<![\w-]){header}(?![\w-])", text.lower()) for header in HEADERS)


def test_the_contract_is_spelled_once() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {text!r}"
        for path in MODULES
        for text in spelled(ast.parse(path.read_text("utf-8")))
    }
    assert not found, f"import these from rinofs.protocol: {sorted(found)}"


@pytest.mark.parametrize(
    "source",
    [
        'x = {"$gt": 1}',
        'headers.get("Idempotency-Key")',
        'x = {"repr-digest": 1}',
        'send(f"Repr-Digest: {x}")',
        'send(b"rinocloud-api-alone: true")',
        'features.has("bundle")',
        'self._try_extended("path", 1)',
        'x = "store" in self.extensions',
        'x = "string_contains"',
    ],
)
def test_a_second_spelling_is_seen(source: str) -> None:
    assert list(spelled(ast.parse(source)))


def test_the_contract_needs_the_standard_library_only() -> None:
    for path in (ROOT / "protocol").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rinofs"):
                assert (node.module or "").startswith("rinofs.protocol")


def test_both_sides_know_every_operator() -> None:
    assert set(OPERATORS.values()) == MATCHERS.keys() == CONDITIONS.keys()


# An operator


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@pytest.fixture
def fs(server: LiveServer) -> RinoFileSystem:
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    for path in fs.ls("", detail=False):
        fs.rm(path, recursive=True)
    for number in range(7):
        fs.pipe_file(f"exp/{number}", b"x" * number, metadata={"n": number, "odd": f"{number}"})
    return fs


@pytest.fixture
def divisible(monkeypatch: pytest.MonkeyPatch) -> Operator:
    """An operator: one entry in the contract, one in the client's matchers, one in the server's SQL."""
    operator = Operator("$divisible_by", Takes.NUMBER)
    monkeypatch.setitem(OPERATORS, operator.name, operator)
    monkeypatch.setitem(
        MATCHERS, operator, lambda wanted: lambda value: type(value) is int and value % wanted == 0
    )
    monkeypatch.setitem(
        CONDITIONS,
        operator,
        lambda field, wanted: field.where(
            lambda cell: cell.typed(f"{cell.value} % {cell.bind(wanted)} = 0", "integer")
        ),
    )
    return operator


@pytest.mark.usefixtures("divisible")
def test_a_new_operator_is_known_at_both_ends(
    fs: RinoFileSystem, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ["exp/0", "exp/3", "exp/6"]
    for scan in (False, True):
        for field in ("n", "size"):
            found = fs.query("exp", **{f"{field}__divisible_by": 3}, type="file", scan=scan)
            assert [info["name"] for info in found] == expected
        assert fs.count("exp", where={"n": {"$divisible_by": 3}}, scan=scan) == 3
        assert fs.count("exp", odd__divisible_by=3, scan=scan) == 0
    with pytest.raises(TypeError, match="n__divisible_by: a number is expected"):
        fs.query(n__divisible_by="3")
    with pytest.raises(OSError, match=r"\$divisible_by takes a number"):
        fs.count(where={"n": {"$divisible_by": "3"}})
    point_to(server, monkeypatch)
    shown = CliRunner().invoke(main, ["query", "rino://exp", "n divisible_by 3"])
    assert shown.stdout.splitlines() == [f"rino://{path}" for path in expected]


def test_an_operator_may_have_a_symbol(
    fs: RinoFileSystem, divisible: Operator, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_symbol = replace(divisible, symbols=("~=",))
    monkeypatch.setitem(OPERATORS, divisible.name, with_symbol)
    monkeypatch.setitem(CONDITIONS, with_symbol, CONDITIONS[divisible])
    point_to(server, monkeypatch)
    shown = CliRunner().invoke(main, ["query", "rino://exp", "n~=5"])
    assert shown.stdout.splitlines() == ["rino://exp/0", "rino://exp/5"]
    assert fs.count("exp", n__divisible_by=5) == 2


# A field


def test_a_field_of_records_is_read_by_the_table_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    field = records.RecordField("checked_on", "text", info="checked", is_time=True)
    monkeypatch.setitem(records.RECORD_FIELDS, field.name, field)
    monkeypatch.setattr("rinofs.rinocloud.records._MORE", (field,))
    record = parse_record({"id": 1, "name": "a", "type": "file", "checked_on": "2026-01-01"}, "")
    assert record.info("a")["checked"] == record.fields()["checked_on"] == "2026-01-01"
    with live_server() as server:
        fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
        assert list(fs.query(checked__gt="2026", scan=True)) == []
        with pytest.raises(ValueError, match="checked__gt: 'soon' is not a date"):
            fs.query(checked__gt="soon")


STORED_FIELD = """
from rinofs.protocol.records import RECORD_FIELDS, RecordField
RECORD_FIELDS["grade"] = RecordField("grade", "text", info="grade")

from sqlalchemy import Column, Text
from rinofs.server.catalog import tables
tables.objects.append_column(Column("grade", Text, server_default="raw"))

import sys
from pathlib import Path
from rinofs import RinoFileSystem
from rinofs.testing import live_server

with live_server(data_dir=Path(sys.argv[1])) as server:
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    fs.pipe_file("a", b"1")
    assert fs.info("a")["grade"] == fs.ls("")[0]["grade"] == "raw"
    for scan in (False, True):
        assert [one["grade"] for one in fs.query(grade__string_contains="ra", scan=scan)] == ["raw"]
        assert fs.count(grade="graded", scan=scan) == 0
    assert fs.get_metadata("a") == {}
"""


def test_a_stored_field_is_one_line_beside_its_column(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", STORED_FIELD, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
