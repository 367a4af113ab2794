"""Tables as recorders, spreadsheets and programs write them: the right values, or a warning."""

from __future__ import annotations

import csv
import io
import itertools
import re
import tracemalloc
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rinofs.datapack import DataNode, DataWarning, Document, dump
from rinofs.datapack.formats.detect import NotDataError
from rinofs.datapack.formats.handles import FileHandle
from rinofs.datapack.formats.tables.reading import TableSamples
from tests.campaign import rounds
from tests.forkserver import in_own_process

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELD = Path(__file__).parent / "field"
DRUMS, THREE = "drum notes", "3-axis accelerometer"
NAN, INF = np.nan, np.inf

THOUSANDS = ["1,234.5", "1.234,5", "1'234.5", "1 234,5", "1\u00a0234", "1_234", "1\u2019234"]
DATES = ["24.12.2024", "24.12.2024 10:00", "12/24/2024", "2024/12/24 10:00", "24-Dec-2024", "2024-12-24"]


def opened(path: Path, *, warned: str | None = None, **options: Any) -> xr.Dataset:
    """Open a file, which has to warn if and only if that is expected."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = xr.open_dataset(path, engine="datapack", **options).load()
    told = [str(one.message) for one in caught if issubclass(one.category, DataWarning)]
    if warned is None:
        assert told == []
    else:
        assert any(warned in one for one in told), told
    return data


STREAMS: dict[str, tuple[list[str] | None, Any, str | None]] = {
    "tsv_gap.tsv": (["hip", "knee", "ankle"], [[11, 12, 13], [21, NAN, 23], [31, 32, 33]], None),
    "tsv_gap_in_each_row.tsv": (None, [[11, NAN, 13], [NAN, 22, 23], [31, 32, NAN]], None),
    "tsv_frame_without_values.tsv": (["hip", "knee"], [[11, 12], [NAN, NAN], [31, 32], [41, 42]], None),
    "tsv_names_with_blanks.tsv": (["Acc X", "Acc Y", "Head tilt (deg)"], [[1, 2, 30], [4, 5, 60]], None),
    "cr_one_column.csv": (["hr"], [[61], [62], [63], [64]], None),
    "cr_three_columns.csv": (["x", "y", "z"], [[1.5, 2, 3], [4, 5, 6]], None),
    "whole_first_row.csv": (["x", "y"], [[0, 0], [0.5, 1.5], [0.75, 2.25]], None),
    "comments_then_labels.csv": (["x", "y", "z"], [[1, 2, 3], [4, 5, 6]], None),
    "percent_comments.txt": (["Index", "A", "B"], [[0, 1.5, 2.5], [1, 3.5, 4.5]], None),
    "trailing_comma.csv": (["x", "y", "z"], [[1, 2, 3], [4, 5, 6]], None),
    "trailing_comma_labels_too.csv": (["x", "y", "z"], [[1, 2, 3], [4, 5, 6]], None),
    "counted_rows.csv": (["x", "y", "z"], [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5], [7.5, 8.5, 9.5]], "index"),
    "sep_line.csv": (["x", "y"], [[0.5, 1.5], [2.5, 3.5]], None),
    "units_below_labels.csv": (["x", "y"], [[1.5, 2], [3, 4]], "units"),
    "windows_1252.csv": (["EMG [µV]", "Temp [°C]"], [[1, 20.5], [3, 20.75]], "Windows-1252"),
    "other_words_for_nan.csv": (["x", "y"], np.c_[[1, NAN, 5, NAN, NAN, INF], [2, 4, NAN, 8, 10, 12]], None),
    "tabs_and_decimal_commas.tsv": (["x", "y"], [[0.1, 1.52], [0.2, -1.53]], None),
    "quoted_decimal_commas.csv": (["x", "y"], [[0.5, 1.5], [2.5, -3.5]], None),
    "start_and_rate_first.csv": (None, [[-11, 22, 61], [-12, 23, 60], [-10, 22, 62]], "a rate (32 Hz)"),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_from_the_field(name: str) -> None:
    labels, values, warned = STREAMS[name]
    data = opened(FIELD / name, warned=warned)
    np.testing.assert_array_equal(data.value, values)
    expected = labels or [str(number) for number in range(1, np.shape(values)[1] + 1)]
    assert data.channel.values.tolist() == expected


def test_labels_in_another_case_are_those_of_the_datatype() -> None:
    data = opened(FIELD / "labels_in_lower_case.csv", datatype=THREE).acceleration
    for channel, values in {"X": [3, 6], "Y": [2, 5], "Z": [1, 4]}.items():
        assert data.sel(channel=channel).values.tolist() == values


@pytest.mark.parametrize("name", ["ns_stamps.csv", "ns_stamps.json"])
def test_nanoseconds_stay_exact(name: str) -> None:
    data = opened(FIELD / name, warned="is used as the time axis, at 1000 Hz")
    assert data.value[:, 0].values.tolist() == [0.5, 0.25]
    assert data.time.values.tolist() == [0, 0.001]
    assert data.attrs["start_time"] == "2023-11-14T22:13:20.123456789Z"
    data = opened(FIELD / name, warned="digits are lost", time_column=False)
    assert data.value[:, 1].values.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("name", "onset", "offset", "kind"),
    [
        ("events_decimal_commas.csv", [0.5, 2.5], [1.0, 3.25], ["free", "damped"]),
        ("events_first_row_lost.csv", [0.5, 2.5], [1.0, 3.25], ["free", "damped"]),
        ("events_columns_in_other_order.csv", [12.5, 40.0], [13.0, 42.0], ["damped", "free"]),
        ("events_comment_first.csv", [12.5, 40.0], [13.0, 42.0], ["damped", "free"]),
        ("events_labels_capitals.json", [0.5, 2.5], [1.0, 3.25], ["free", "damped"]),
    ],
)
def test_events_from_the_field(name: str, onset: list[float], offset: list[float], kind: list[str]) -> None:
    data = opened(FIELD / name, datatype=DRUMS)
    assert data.onset_time.values.tolist() == onset
    assert data.offset_time.values.tolist() == offset
    assert data.offset_type.values.tolist() == kind


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]
LINE_ENDS = ["\n", "\r\n", "\r"]
ABOVE = ["", "# subject 3\n# rate 100\n", "% made by hand\n\n", "sep=@\n"]
LABELS = ["Acc X", "größe [m]", "z;y", 'a "b"']


def written(frame: pd.DataFrame, delimiter: str, decimal: str, *, header: bool, quoted: bool) -> str:
    file = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    frame.to_csv(file, sep=delimiter, decimal=decimal, header=header, index=False, quoting=quoting, na_rep="")
    return file.getvalue()


@pytest.mark.parametrize("delimiter", ["\t", ";", ",", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("gaps", [False, True])
def test_every_way_to_write_a_table_is_read_as_pandas_wrote_it(
    tmp_path: Path, delimiter: str, decimal: str, header: bool, gaps: bool
) -> None:
    values = np.random.default_rng(3).normal(size=(20, 4)).round(4)
    if gaps:
        values[[0, 5, 5, 19], [1, 0, 3, 2]] = NAN
    frame = pd.DataFrame(values, columns=LABELS)
    path = tmp_path / "table"
    ways = itertools.product(ENCODINGS, LINE_ENDS, ABOVE, [False, True])
    # Each way with a part of the tables, and each table with a part of the ways.
    part = rounds(6, 1)
    first = ["\t", ";", ",", "|"].index(delimiter) + (decimal == ",") + header + gaps
    for encoding, end, above, trailing in itertools.islice(ways, first % part, None, part):
        if delimiter == "|" and "sep" in above:
            continue
        text = written(frame, delimiter, decimal, header=header, quoted=delimiter == decimal)
        if trailing:
            text = text.replace("\n", f"{delimiter}\n")
        text = above.replace("@", delimiter) + text
        path.write_bytes(text.replace("\n", end).encode(encoding))
        doubt = "every row ends with an empty cell" if trailing and not header else None
        data = opened(path, warned=doubt)
        np.testing.assert_array_equal(data.value, values)
        assert data.channel.values.tolist() == (LABELS if header else ["1", "2", "3", "4"])


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("columns", [1, 2, 5])
@pytest.mark.parametrize("header", [True, False])
def test_columns_between_blanks(tmp_path: Path, decimal: str, columns: int, header: bool) -> None:
    values = np.random.default_rng(4).normal(size=(30, columns)).round(3)
    lines = [" ".join(f"{number:>9}" for number in row) for row in values.tolist()]
    above = [" ".join(f"c{number}" for number in range(columns))] if header else []
    for end in LINE_ENDS:
        (tmp_path / "t").write_text(end.join([*above, *lines]).replace(".", decimal), newline="")
        np.testing.assert_array_equal(opened(tmp_path / "t").value, values)


@pytest.mark.parametrize(
    ("text", "values", "warned"),
    [
        ("1,5\n2,25\n", [[1, 5], [2, 25]], "one column with decimal commas looks the same"),
        ("x\n1,5\n2,25\n", [[1.5], [2.25]], None),
        ("-0,5\n1,25\n", [[-0.5], [1.25]], None),
        ("x,y\n1,5\n2,25\n", [[1, 5], [2, 25]], None),
        ("1,234;5,678\n2,345;6,789\n", [[1.234, 5.678], [2.345, 6.789]], "commas are read as decimal"),
        ("0,234;5,678\n", [[0.234, 5.678]], None),
        ("0,5;1.5\n", [[0.5, 1.5]], "decimal points and decimal commas"),
        ("0,1,2\n0.5,1.5,2.5\n", [[0, 1, 2], [0.5, 1.5, 2.5]], "could be values or column numbers"),
        (",0,1\n0,0.5,1.5\n1,2.5,3.5\n", [[0.5, 1.5], [2.5, 3.5]], "it is read as an index"),
        ("x y\n1 0.5 1.5\n2 2.5 3.5\n", [[0.5, 1.5], [2.5, 3.5]], "it is read as an index"),
        ("1,2,\n3,4,\n", [[1, 2], [3, 4]], "every row ends with an empty cell"),
        ("; made by hand\nx,y\n1,2\n", [[1, 2]], None),
        ("1,2.5\n# a pause\n3,4\n", [[1, 2.5], [3, 4]], None),
        (b"\xb5,y\r\n1,2\r\n", [[1, 2]], "Windows-1252"),
        ("1700000000.5\n4.0\n0.1\n0.2\n", [[0.1], [0.2]], "a rate (4 Hz)"),
        ("a,b\n9007199254740993,0.5\n", [[9007199254740992, 0.5]], "column 'a' holds integers"),
        (f"a,b\n{'9' * 308},0.5\n", [[1e308, 0.5]], "column 'a' holds integers"),
        (f"a,b\n{'9' * 5000},0.5\n", [[INF, 0.5]], None),
        ("9007199254740993,1,1\n2,3,4\n", [[9007199254740993, 1, 1], [2, 3, 4]], None),
    ],
)
def test_what_can_be_meant_in_two_ways_is_told_of(
    tmp_path: Path, text: str | bytes, values: Any, warned: str | None
) -> None:
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    np.testing.assert_array_equal(opened(tmp_path / "t.csv", warned=warned).value, np.array(values))


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("commas", [[0], [1], [0, 1], [2, 0]])
@pytest.mark.parametrize("labels", [None, "a@b@c"])
def test_decimal_commas_of_the_first_row_alone(
    tmp_path: Path, delimiter: str, commas: list[int], labels: str | None
) -> None:
    values = np.arange(12.0).reshape(4, 3)
    values[0, commas] += 0.5
    quote = '"' if delimiter == "," else ""
    rows = [[f"{quote}{number:g}{quote}".replace(".", ",") for number in row] for row in values.tolist()]
    text = "".join(delimiter.join(row) + "\n" for row in rows)
    header = f"{labels}\n".replace("@", delimiter) if labels else ""
    (tmp_path / "t.csv").write_text(header + text)
    data = opened(tmp_path / "t.csv")
    np.testing.assert_array_equal(data.value, values)
    assert data.channel.values.tolist() == (["a", "b", "c"] if labels else ["1", "2", "3"])


@pytest.mark.parametrize("delimiter", ["", ",", ";", "\t", " "])
@pytest.mark.parametrize(
    "words", [("true", "false"), ("True", "False"), ("TRUE", "FALSE"), ('"true"', '"false"')]
)
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_true_and_false_are_values(
    tmp_path: Path, delimiter: str, words: tuple[str, str], labelled: bool, first: bool
) -> None:
    truths = [first, True, False, True]
    others = [[], [0.5], [0.5, 0.25]] if delimiter else [[]]
    for more in others:
        rows = [[words[not truth], *map(str, more)] for truth in truths]
        rows = [["on", *"xy"[: len(more)]], *rows] if labelled else rows
        (tmp_path / "t.csv").write_text("".join(delimiter.join(row) + "\n" for row in rows))
        data = opened(tmp_path / "t.csv")
        np.testing.assert_array_equal(data.value, [[truth, *more] for truth in truths])


def test_true_and_false_above_other_numbers_are_labels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("true,false\n5,0.5\n6,1.5\n")
    data = opened(tmp_path / "t.csv")
    assert data.channel.values.tolist() == ["true", "false"]
    assert data.value.values.tolist() == [[5, 0.5], [6, 1.5]]


@pytest.mark.parametrize(
    "row", ["0.1,#REF!,3", "#REF!,1.5,3", "5,6,error", "7,x,2024-01-01 10:00:00", 'x,y,"0,5"']
)
def test_a_first_row_with_numbers_that_is_read_as_labels_is_told_of(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.csv").write_text(f"{row}\n0.2,5,6\n0.3,7,8\n")
    data = opened(tmp_path / "t.csv", warned="is read as labels because of")
    assert data.value.values.tolist() == [[0.2, 5, 6], [0.3, 7, 8]]


@pytest.mark.parametrize(
    "row", ["x,1,2", "x,2,3", "force,0,1", "a,b,c", "a,,c", "nan,x,inf", "x1,x2,x3", "x,y,3"]
)
def test_labels_that_number_the_columns_are_no_doubt(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.csv").write_text(f"{row}\n0.2,5,6\n0.3,7,8\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = xr.open_dataset(tmp_path / "t.csv", engine="datapack")
    assert not [one for one in caught if "read as labels" in str(one.message)]
    assert data.value.values.tolist() == [[0.2, 5, 6], [0.3, 7, 8]]


ERRORS = ["#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#ref!"]


@pytest.mark.parametrize("word", ERRORS)
@pytest.mark.parametrize("before", [2, 20_000])
def test_errors_of_spreadsheets_are_no_comments(tmp_path: Path, word: str, before: int) -> None:
    for cells in (f"{word},2", f"2,{word}", f'"{word}",2'):
        (tmp_path / "t.csv").write_text("# made by hand\nx,y\n" + "1,2\n" * before + f"{cells}\n3,4\n")
        with pytest.raises(NotDataError, match=re.escape(f"row {before + 3} holds {word!r}")):
            opened(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("late", "message"),
    [
        ("1.5;2.5;3.5", "row 20002 has 3 values, row 2 has 2"),
        ("1.5", "row 20002 has 1 values, row 2 has 2"),
        ("1.5;soon", "row 20002 holds 'soon', which is not a number"),
    ],
)
def test_a_late_row_that_disagrees_is_named(tmp_path: Path, late: str, message: str) -> None:
    (tmp_path / "t.csv").write_text("x;y\n" + "0.25;0.75\n" * 20_000 + late + "\n0.25;0.75\n" * 3)
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("x;y\n" + "0,25;75\n" * 20_000 + "1.5;2\n")
    assert opened(tmp_path / "t.csv").value[-1].values.tolist() == [1.5, 2]


@pytest.mark.parametrize("delimiter", ["", ",", ";", "\t"])
@pytest.mark.parametrize("before", [1, 500, 20_000])
def test_a_lone_minus_is_a_missing_number(tmp_path: Path, delimiter: str, before: int) -> None:
    others = f"{delimiter}7" if delimiter else ""
    for first, last in (("1", "3"), ("1.5", "3"), ("1", "3.5"), ("NA", "3")):
        cells = [first, *["2"] * before, "-", last]
        header = f"x{delimiter and delimiter + 'y'}"
        (tmp_path / "t.csv").write_text("\n".join([header, *(cell + others for cell in cells)]))
        found = opened(tmp_path / "t.csv").value[:, 0].values
        expected = [NAN if cell in {"NA", "-"} else float(cell) for cell in cells]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("cell", ["+", "-.", "+.", ".-5", ".+5", ".-", "5-", "--5"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_late_sign_in_a_wrong_place_is_named(tmp_path: Path, cell: str, decimal: str) -> None:
    cell = cell.replace(".", decimal)
    for last in ("", "0;1\n"):
        text = f"x;y\n0{decimal}5;2\n" + "1;2\n" * 500 + f"3;{cell}\n{last}"
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(NotDataError, match=re.escape(f"row 503 holds {cell!r}, which is not a number")):
            opened(tmp_path / "t.csv")


def test_a_late_row_that_does_not_go_on_counting_is_named(tmp_path: Path) -> None:
    rows = [f"{number},{number / 4}" for number in range(20_000)]
    (tmp_path / "t.csv").write_text("\n".join([",x", *rows, "7,0.5", ""]))
    with pytest.raises(ValueError, match="has no label and counts the rows"):
        opened(tmp_path / "t.csv", warned="index")


def test_late_fractions_and_gaps_keep_all_values(tmp_path: Path) -> None:
    values = np.arange(60_000.0).reshape(20_000, 3)
    values[-1] = [0.5, NAN, 3]
    pd.DataFrame(values).to_csv(tmp_path / "t.csv", index=False, header=["a", "b", "c"])
    np.testing.assert_array_equal(opened(tmp_path / "t.csv").value, values)


class CountingHandle(FileHandle):
    """Counts the bytes that are read, and by how many requests."""

    def __init__(self, path: Path) -> None:
        super().__init__(fsspec.filesystem("file"), str(path))
        self.reads: list[int] = []

    def stream(self, start: int, stop: int, size: int) -> Iterator[bytes]:
        self.reads.append(stop - start)
        return super().stream(start, stop, size)


@in_own_process
def test_a_slice_of_a_large_table_reads_little(tmp_path: Path) -> None:
    values = np.arange(1_200_000).reshape(-1, 4) / 8
    pd.DataFrame(values, columns=["a", "b", "c", "d"]).to_csv(tmp_path / "t.csv", index=False)
    handle = CountingHandle(tmp_path / "t.csv")
    tracemalloc.start()
    samples = TableSamples(handle, "csv", "t.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(handle.reads) == 1  # one pass
    assert peak < 16 * 1024 * 1024
    for start in (0, 123_456, 288_000):
        handle.reads.clear()
        np.testing.assert_array_equal(samples.read(start, start + 12_000), values[start : start + 12_000])
        assert len(handle.reads) == 1
        assert sum(handle.reads) < 1_000_000


GROUPED = ["1.234", "-12.345", "999.001"]


@pytest.mark.parametrize("cell", GROUPED)
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_point_that_may_separate_thousands_is_told_of(tmp_path: Path, cell: str, delimiter: str) -> None:
    table = tmp_path / "t.csv"
    # Decimal commas above, and a point far below: 1234, or 1.234?
    above = f"x{delimiter}y\n" + f"0,25{delimiter}75\n" * 20_000
    for text in (above + f"{cell}{delimiter}2\n", above + f"1,5{delimiter}{cell}\n0,5{delimiter}1\n"):
        table.write_text(text)
        with pytest.raises(ValueError, match=r"row 20002 holds .* among decimal commas, which may be"):
            opened(table)
    table.write_text(f"x{delimiter}y\n0,25{delimiter}{cell}\n")
    assert opened(table, warned="both in its numbers").value[0, 1] == float(cell)
    table.write_text(f"x{delimiter}y\n7{delimiter}{cell}\n8{delimiter}2.345\n")
    assert opened(table, warned="points are read as decimal" if delimiter == ";" else None).value[
        0, 1
    ] == float(cell)
    table.write_text(f"x{delimiter}y\n0.5{delimiter}{cell}\n8{delimiter}2.345\n")
    assert opened(table).value[0, 1] == float(cell)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Zeit;Kraft\n0,5;1.234,5\n1,0;2.345,75\n", "1.234"),
        ('a,b\n1,"1,234.5"\n2,"2,345.5"\n', "1,234.5"),
        ("a;b\n1;1 234,5\n2;2 345,5\n", "1 234,5"),
        ("a;b\n1;1'234.5\n2;2'345.5\n", "1'234.5"),
        ("a,b\n1,2\n\ufeff3,4\n", r"\ufeff3"),
        ("a,b\n1,2\n3,4,5\n", "row 3 has 3 values"),
        ("a,b,c\n1,2,3\n4,5\n", "row 3 has 2 values"),
        ("Force,Force\nX,1\n1,2\n", "'X'"),
        ("a,b\n1,2\nmean,3\n", "'mean'"),
        ("d;v\n01.02.2024;1\n", "01.02.2024"),
        ("d;v\n01.02.2024 12:00:00;1\n", "01.02.2024 12:00:00"),
        ("d,v\n02/01/2024 12:00,1\n", "02/01/2024 12:00"),
        ("time,v\n12:00:00.5,1\n", "12:00:00.5"),
        ("a,b\n10%,1\n", "10%"),
        ("a,b\n\u22121,2\n", "\u22121"),
        ("a,b\n1_000,2\n", "1_000"),
        ("a,b\n\u0661,2\n", "\u0661"),
        ("a b\n1.5D+03 2\n", "1.5D+03"),
        ("", "empty"),
    ],
)
def test_what_is_no_number_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(named)):
        opened(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "labels", "values"),
    [
        ("\ufeff\ufeffa,b\n1,2\n", ["a", "b"], [[1, 2]]),
        ('"Force\n(N)",b\n1,2\n3,4\n', ["Force\n(N)", "b"], [[1, 2], [3, 4]]),
        ('a,b\n1,"2\n"\n3,4\n', ["a", "b"], [[1, 2], [3, 4]]),
        ("a,b,c\n", ["a", "b", "c"], np.zeros((0, 3))),
        ("a;b\n1,5E+03;2,5e-2\n2;3\n", ["a", "b"], [[1500, 0.025], [2, 3]]),
        ("a,b\r\n1,2\n3,4\r5,6\n", ["a", "b"], [[1, 2], [3, 4], [5, 6]]),
        ("a, b\n1, 2\n3, 4\n", ["a", "b"], [[1, 2], [3, 4]]),
    ],
)
def test_odd_but_ordinary_tables(tmp_path: Path, text: str, labels: list[str], values: Any) -> None:
    (tmp_path / "t.csv").write_text(text, newline="")
    data = opened(tmp_path / "t.csv")
    assert data.channel.values.tolist() == labels
    np.testing.assert_array_equal(data.value, values)


LONG = 60_000  # characters; if a cell takes the square of the time, these take longer than a test may


@pytest.mark.parametrize(
    ("text", "labels", "values"),
    [
        ("{digits}x,b\n1,2\n3,4\n", ["{digits}x", "b"], [[1, 2], [3, 4]]),
        ("{digits}x;b\n1,5;2\n3,5;4\n", ["{digits}x", "b"], [[1.5, 2], [3.5, 4]]),
        ("force ({blanks}x,b\n1,2\n3,4\n", ["force ({blanks}x", "b"], [[1, 2], [3, 4]]),
        ("a,b\nnan,2\n" + "{blanks}3,4\n" * 20, ["a", "b"], [[NAN, 2]] + [[3, 4]] * 20),
    ],
)
def test_long_cells(tmp_path: Path, text: str, labels: list[str], values: Any) -> None:
    fill = {"digits": "1" * LONG, "blanks": " " * LONG}
    (tmp_path / "t.csv").write_text(text.format(**fill))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        data = xr.open_dataset(tmp_path / "t.csv", engine="datapack")
    assert data.channel.values.tolist() == [label.format(**fill) for label in labels]
    np.testing.assert_array_equal(data.value, values)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_row_of_many_columns(tmp_path: Path, rows: int, labelled: bool) -> None:
    values = np.arange(rows * 30_000).reshape(rows, 30_000) / 4
    header = ",".join(f"c{number}" for number in range(30_000)) if labelled else ""
    np.savetxt(tmp_path / "t.csv", values, fmt="%.2f", delimiter=",", header=header, comments="")
    np.testing.assert_array_equal(opened(tmp_path / "t.csv").value, values)


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        *((cell, "thousands separators: write it without them") for cell in THOUSANDS),
        *((cell, "a date: only dates with times as 2024-12-31 09:30:00 are read") for cell in DATES),
        *((cell, "a time of day: only seconds, and dates with times") for cell in ("9:30", "09:30:00.5")),
        *((cell, "a unit: write units beside the labels") for cell in ("5 V", "5%", "-2.5mV", "37.5 °C")),
        ("soon", "^((?!;).)*$"),
    ],
)
@pytest.mark.parametrize("before", [0, 20_000])
def test_what_is_meant_as_a_number_and_is_not_read_is_named(
    cell: str, advice: str, before: int, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("a;b\n" + "1.5;2\n" * before + f"{cell};2\n" * 3, "utf-8")
    with pytest.raises(NotDataError, match=advice) as caught:
        xr.open_dataset(tmp_path / "t.csv", engine="datapack")
    assert f"row {before + 2} holds {cell!r}, which is not a number" in str(caught.value)


def test_a_tree_tells_of_tables_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "dates.csv").write_text("day,x\n24.12.2024,1\n25.12.2024,2\n")
    (tmp_path / "notes.csv").write_text("who,what\nAnn,ill\nBob,well\n")
    nodes = [DataNode.create(name, f"{name}.csv", mime="text/csv") for name in ("dates", "notes")]
    (tmp_path / "datapack.json").write_text(dump(Document.create("lab", nodes)))
    with pytest.warns(DataWarning) as told:
        tree = xr.open_datatree(tmp_path, engine="datapack")
    assert tree.attrs["other_files"] == ["dates", "notes"]
    [message] = [str(one.message) for one in told]
    assert "'24.12.2024', which is not a number; it seems to be a date" in message
