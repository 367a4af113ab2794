"""`query` and `meta`, and `--sidecars` of `put` and `get`."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.cli.expressions import assignment, condition
from rinofs.testing import live_server
from tests.cli.conftest import point_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def one_server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@pytest.fixture
def fs(one_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> RinoFileSystem:
    point_to(one_server, monkeypatch)
    fs = RinoFileSystem(endpoint_url=one_server.endpoint_url, token=one_server.token)
    for path in fs.ls("", detail=False):
        fs.rm(path, recursive=True)
    for number, (x, y) in enumerate([("A22", 2.5), ("A22", 3), ("B07", 9), ("A22", 1)]):
        metadata = {"x": x, "y": y, "device": {"gain": number}}
        fs.pipe_file(f"exp/run {number}.csv", b"x" * number, metadata=metadata, tags=[f"t{number}"])
    return fs


def lines(run: Run, *args: str) -> list[str]:
    result = run("query", *args)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.usefixtures("fs")
def test_conditions_sort_and_columns(run: Run) -> None:
    assert lines(run, "rino://exp", "y>2.2", "x=A22") == ["rino://exp/run 0.csv", "rino://exp/run 1.csv"]
    table = lines(run, "rino://exp", "y>2.2", "x=A22", "--sort", "y", "--descending", "--columns", "x,y,path")
    assert table == ["x    y    path", "A22  3    exp/run 1.csv", "A22  2.5  exp/run 0.csv"]
    assert lines(run, "rino://", "device.gain in [0, 3]", "--limit", "1") == ["rino://exp/run 0.csv"]
    assert lines(run, "rino://exp", "name~RUN") == []
    assert lines(run, "rino://exp", "name~2.c", "--scan") == ["rino://exp/run 2.csv"]
    assert lines(run, "rino://exp", "tags=t3", "created>2020-01-01", "z=null") == ["rino://exp/run 3.csv"]
    assert lines(run, "rino://exp", "y>=1", "y<2.5", "x!=B07") == ["rino://exp/run 3.csv"]


@pytest.mark.usefixtures("fs")
def test_a_field_that_no_object_has_is_told(run: Run) -> None:
    result = run("query", "rino://exp", "subjekt=A22")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "rinofs: rino://exp: no object has the field 'subjekt'\n"


@pytest.mark.usefixtures("fs")
def test_documents(run: Run) -> None:
    found = json.loads("\n".join(lines(run, "rino://exp", "y==9", "--json")))
    assert found[0]["url"] == "rino://exp/run 2.csv"
    assert found[0]["metadata"]["device"] == {"gain": 2}
    columns = ("--columns", "path,device,device.gain,size,none")
    assert json.loads("\n".join(lines(run, "rino://exp", "y=9", "--json", *columns))) == [
        {"path": "exp/run 2.csv", "device": {"gain": 2}, "device.gain": 2, "size": 2, "none": None}
    ]
    text = "\n".join(lines(run, "rino://exp", "y=9", "--csv", *columns))
    assert list(csv.reader(io.StringIO(text))) == [
        ["path", "device", "device.gain", "size", "none"],
        ["exp/run 2.csv", '{"gain": 2}', "2", "2", ""],
    ]


@pytest.mark.usefixtures("fs")
@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["rino://exp", "y"], 2, "'y' is not a condition: write FIELD=VALUE"),
        (["rino://exp", "=3"], 2, "not a condition"),
        (["rino://exp", "x in 3"], 2, "'x in 3' is not a condition"),
        (["rino://exp", "x in [3"], 2, "in takes a list, as JSON"),
        (["rino://exp", "x exists 3"], 2, "exists takes true or false"),
        (["rino://exp", "y>>3"], 2, "'y>>3': unknown operator '>>'; did you mean '>'?"),
        (["rino://exp", "y><3"], 2, "'><'"),
        (["rino://exp", "y=>3"], 2, "unknown operator '=>'; did you mean '>='?"),
        (
            ["rino://exp", "name contains a"],
            2,
            "unknown operator 'contains'; did you mean 'string_contains'?",
        ),
        (
            ["rino://exp", "name__contains=a"],
            2,
            "'name__contains=a': name__contains: unknown operator 'contains'; did you mean",
        ),
        (["rino://exp", "size__foo=1"], 2, "unknown operator 'foo'"),
        (["rino://exp", "modified>yesterday"], 2, "'modified>yesterday': 'yesterday' is not a date or time"),
        (["rino://exp", "created<2026-13-01"], 2, "'2026-13-01' is not a date or time"),
        (["rino://exp", "x=1", "x=2"], 2, "duplicate condition on x"),
        (["rino://exp", "--descending"], 2, "--descending needs --sort"),
        (["rino://exp", "--csv", "--json"], 2, "exclude each other"),
        (["rino://nowhere", "x=1"], 1, "rino://nowhere"),
        (["/tmp", "x=1"], 1, "/tmp: queries are not supported here"),
    ],
)
def test_wrong_questions(run: Run, args: list[str], code: int, said: str) -> None:
    result = run("query", *args)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.startswith("rinofs: ")
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "field", "operator", "value"),
    [
        ("x=A22", "x", "eq", "A22"),
        ("x = 3", "x", "eq", 3),
        ('x="3"', "x", "eq", "3"),
        ("x==true", "x", "eq", True),
        ("x=NaN", "x", "eq", "NaN"),
        ("x=a=b>c", "x", "eq", "a=b>c"),
        ("x!=null", "x", "ne", None),
        ("x<=2e3", "x", "lte", 2000.0),
        ("x~3", "x", "string_contains", "3"),
        ("name=3", "name", "eq", "3"),
        ("tags=2016", "tags", "eq", "2016"),
        ("created>2026", "created", "gt", "2026"),
        ('a b in [1, "x"]', "a b", "in", [1, "x"]),
        ("x=", "x", "eq", ""),
        ("x= >b", "x", "eq", ">b"),
        ('x=">b"', "x", "eq", ">b"),
        ("x exists true", "x", "exists", True),
        ("name string_contains >a", "name", "string_contains", ">a"),
        ("tags nin [1]", "tags", "nin", [1]),
        ("rest in bed=2", "rest in bed", "eq", 2),
    ],
)
def test_conditions(text: str, field: str, operator: str, value: Any) -> None:
    found = condition(text)
    assert found == (field, operator, value)
    assert type(found[2]) is type(value)


def test_assignments() -> None:
    assert assignment("a=1=2") == ("a", "1=2")
    assert assignment('a={"b": [1]}') == ("a", {"b": [1]})
    assert assignment("a b=") == ("a b", "")


def test_meta(run: Run, fs: RinoFileSystem) -> None:
    url = "rino://exp/run 0.csv"
    assert (
        run("meta", "set", url, "y=7", "note=came off", "w=[1, 2]", "--tag", "a", "--tag", "b").exit_code == 0
    )
    assert fs.get_tags("exp/run 0.csv") == ["a", "b"]
    shown = json.loads(run("meta", "get", url).stdout)
    expected = {"x": "A22", "y": 7, "device": {"gain": 0}, "note": "came off", "w": [1, 2]}
    assert shown == fs.get_metadata("exp/run 0.csv") == expected
    assert run("meta", "get", url, "note").stdout == '"came off"\n'
    assert json.loads(run("meta", "get", url, "x", "y").stdout) == {"x": "A22", "y": 7}
    assert run("meta", "rm", url, "x", "device", "never there").exit_code == 0
    assert json.loads(run("meta", "get", url).stdout) == {"y": 7, "note": "came off", "w": [1, 2]}
    assert run("meta", "set", "--replace", url, "only=true").exit_code == 0
    assert json.loads(run("meta", "get", url).stdout) == {"only": True}


@pytest.mark.usefixtures("fs")
@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["set", "rino://exp/run 0.csv", "x"], 2, "NAME=VALUE is expected"),
        (["set", "rino://exp/run 0.csv"], 2, "what to set is missing: NAME=VALUE"),
        (["set", "rino://exp/run 0.csv", "size=3"], 1, "with `rinofs meta set --replace`"),
        (["set", "rino://exp/nothing", "x=3"], 1, "no such file or folder"),
        (["get", "rino://exp/run 0.csv", "none"], 1, "no none in its metadata"),
        (["rm", "rino://exp/run 0.csv"], 2, "NAME"),
        (["get", "/tmp"], 1, "rino://"),
    ],
)
def test_wrong_changes(run: Run, args: list[str], code: int, said: str) -> None:
    result = run("meta", *args)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


def test_sidecars(run: Run, fs: RinoFileSystem, tmp_path: Path) -> None:
    source = tmp_path / "runs"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a.csv").write_text("a")
    (source / "deep" / "a.csv.json").write_text('{"x": 1, "é": [true]}')
    (source / "b.csv").write_text("b")
    (source / "alone.json").write_text("{}")
    result = run("put", "-r", "--sidecars", source, "rino://up/")
    assert result.exit_code == 0, result.output
    assert fs.find("up") == ["up/alone.json", "up/b.csv", "up/deep/a.csv"]
    assert fs.get_metadata("up/deep/a.csv") == {"x": 1, "é": [True]}
    result = run("get", "-r", "--sidecars", "rino://up", tmp_path / "down")
    assert result.exit_code == 0, result.output
    down = tmp_path / "down"
    assert json.loads((down / "deep" / "a.csv.json").read_text()) == {"x": 1, "é": [True]}
    assert sorted(str(path.relative_to(down)) for path in down.rglob("*.*")) == [
        "alone.json",
        "b.csv",
        "deep/a.csv",
        "deep/a.csv.json",
    ]


def test_broken_sidecars_are_reported(run: Run, fs: RinoFileSystem, tmp_path: Path) -> None:
    for name, text in (("a", "{"), ("b", "[1]"), ("c", "{}")):
        (tmp_path / name).write_text(name)
        (tmp_path / f"{name}.json").write_text(text)
    result = run("put", "--sidecars", *(tmp_path / name for name in "abc"), "rino://broken/")
    assert result.exit_code == 1
    assert {line.partition(".json")[0][-1] for line in result.stderr.splitlines()} == {"a", "b"}
    assert fs.find("broken") == ["broken/c"]


def test_meta_of_many(run: Run, fs: RinoFileSystem) -> None:
    for number in range(3):
        fs.pipe_file(f"many/{number}.csv", b"x", metadata={"kept": number})
    fs.pipe_file("many/a=b", b"x")
    assert run("meta", "set", "rino://many/*.csv", "rino://many/a=b", "n=1", "see=http://x/=").exit_code == 0
    fs.invalidate_cache()
    assert fs.get_metadata("many/2.csv") == {"kept": 2, "n": 1, "see": "http://x/="}
    assert fs.get_metadata("many/a=b") == {"n": 1, "see": "http://x/="}
    result = run("meta", "set", "rino://many/0.csv", "rino://gone", "rino://many/1.csv", "n=2")
    assert result.exit_code == 1
    assert result.stderr.startswith("rinofs: rino://gone: no such file or folder")
    assert run("meta", "rm", "rino://many/*", "see").exit_code == 0
    fs.invalidate_cache()
    assert [fs.get_metadata(f"many/{number}.csv")["n"] for number in range(3)] == [2, 2, 1]
    assert not any("see" in fs.get_metadata(path) for path in fs.find("many"))
    assert run("meta", "rm", "rino://many/*").exit_code == 2


def test_search(run: Run, fs: RinoFileSystem) -> None:
    fs.pipe_file("found/cold_1.csv", b"1", metadata={"rate_hz": 100})
    fs.pipe_file("found/warm.csv", b"12", metadata={"rate_hz": 300})
    for args, printed in (
        (["cold"], ["rino://found/cold_1.csv"]),
        (["rate_hz:>=200"], ["rino://found/warm.csv"]),
        (["name:*.csv", "--sort", "rate_hz", "--descending", "--limit", "1"], ["rino://found/warm.csv"]),
        (["+csv -warm", "--columns", "path,rate_hz"], ["path              rate_hz", "found/cold_1.csv  100"]),
        (["nothing"], []),
    ):
        result = run("search", "rino://found", *args)
        assert (result.exit_code, result.stdout.splitlines()) == (0, printed), result.output
    shown = run("search", "rino://found", "cold", "--json", "--columns", "url,size")
    assert json.loads(shown.stdout) == [{"url": "rino://found/cold_1.csv", "size": 1}]
    for text, problem in (("cold~", "fuzzy"), ("(cold", "too early"), ("size__foo:1", "unknown operator")):
        refused = run("search", "rino://found", text)
        assert (refused.exit_code, problem in refused.output) == (2, True), refused.output


def test_csv_holds_no_formula_and_nothing_for_the_terminal(fs: RinoFileSystem, run: Run) -> None:
    texts = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "a\x1b[31mb", "a\u202eb", "plain", "1-2"]
    each = {f"t{n}": text for n, text in enumerate(texts)}
    fs.pipe_file("exp/texts", b"", metadata={"kind": "texts", "number": -5, **each})
    names = ",".join(["number", *each])
    result = run("query", "rino://exp", "kind=texts", "--csv", "--columns", names)
    assert result.exit_code == 0, result.output
    number, *cells = next(iter(csv.reader(io.StringIO(result.stdout.partition("\n")[2]))))
    assert number == "-5"
    quoted = [f"'{text}" for text in texts[:6]]
    assert cells == [*quoted, "a\\x1b[31mb", "a\\u202eb", "plain", "1-2"]
