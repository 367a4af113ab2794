from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rinofs.protocol.limits import MAX_RANGES
from rinofs.server.web.ranges import ByteRange, parse_ranges

IGNORED = None
UNSATISFIABLE: list[tuple[int, int]] = []


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-99", [(0, 100)]),
        ("bytes=0-", [(0, 100)]),
        ("bytes=50-", [(50, 100)]),
        ("bytes=99-", [(99, 100)]),
        ("bytes=10-19", [(10, 20)]),
        ("bytes=10-1000", [(10, 100)]),
        ("bytes=-1", [(99, 100)]),
        ("bytes=-100", [(0, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("BYTES=0-0", [(0, 1)]),
        ("bytes=007-009", [(7, 10)]),
        # several
        ("bytes=0-0,99-99", [(0, 1), (99, 100)]),
        ("bytes= 0-0 ,\t5-9", [(0, 1), (5, 10)]),
        ("bytes=,0-0,,5-9,", [(0, 1), (5, 10)]),
        ("bytes=90-,0-9", [(90, 100), (0, 10)]),
        ("bytes=0-9,5-14", [(0, 10), (5, 15)]),
        ("bytes=0-9,500-600", [(0, 10)]),
        ("bytes=-0,0-9", [(0, 10)]),
        # none that the content has
        ("bytes=100-", UNSATISFIABLE),
        ("bytes=100-200", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=100-,200-300", UNSATISFIABLE),
        (f"bytes={'9' * 5000}-", UNSATISFIABLE),
        # to be ignored: no ranges of bytes, or malformed ones
        (None, IGNORED),
        ("", IGNORED),
        ("bytes", IGNORED),
        ("bytes=", IGNORED),
        ("bytes=,", IGNORED),
        ("bytes=-", IGNORED),
        ("bytes=a-b", IGNORED),
        ("bytes=1-2-3", IGNORED),
        ("bytes=--1", IGNORED),
        ("bytes=+1-2", IGNORED),
        ("bytes=1_0-20", IGNORED),
        ("bytes=1 - 2", IGNORED),
        ("bytes=5-4", IGNORED),
        ("bytes=0-9,5-4", IGNORED),
        ("bytes=\u0661-\u0662", IGNORED),
        ("bytes =0-1", IGNORED),
        ("items=0-1", IGNORED),
        ("0-1", IGNORED),
        # to be ignored: more than a sound request asks for
        ("bytes=0-,0-0", IGNORED),
        ("bytes=-60,-60", IGNORED),
        ("bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), IGNORED),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(MAX_RANGES)), [(n, n + 1) for n in range(MAX_RANGES)]),
    ],
)
def test_ranges_of_a_hundred_bytes(header: str | None, expected: list[tuple[int, int]] | None) -> None:
    found = parse_ranges(header, 100)
    assert (None if found is None else [(span.start, span.stop) for span in found]) == expected


@pytest.mark.parametrize(
    ("header", "expected"), [("bytes=0-", []), ("bytes=0-0", []), ("bytes=-0", []), ("bytes=-1", None)]
)
def test_ranges_of_nothing(header: str, expected: list[ByteRange] | None) -> None:
    # A suffix is satisfiable by an empty content, but no Content-Range can say so.
    assert parse_ranges(header, 0) == expected


def test_a_far_end_is_the_end() -> None:
    assert parse_ranges(f"bytes=1-{'9' * 5000}", 100) == [ByteRange(1, 100)]


@given(header=st.text(), size=st.integers(0, 1000))
def test_anything_is_answered(header: str, size: int) -> None:
    for prefix in ("", "bytes="):
        for span in parse_ranges(prefix + header, size) or []:
            assert 0 <= span.start < span.stop <= size


bounds = st.one_of(st.none(), st.integers(0, 40))


@given(specs=st.lists(st.tuples(bounds, bounds), min_size=1, max_size=4), content=st.binary(max_size=30))
def test_ranges_select_what_a_slow_reader_would(
    specs: list[tuple[int | None, int | None]], content: bytes
) -> None:
    header = "bytes=" + ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in specs)
    expected = []
    for first, last in specs:
        if first is None and last is None:
            break
        if first is None:
            chosen = [n for n in range(len(content)) if n >= len(content) - (last or 0)]
        elif last is not None and last < first:
            break
        else:
            chosen = [n for n in range(len(content)) if n >= first and (last is None or n <= last)]
        if chosen:
            expected.append(bytes(content[n] for n in chosen))
    else:
        found = parse_ranges(header, len(content))
        if sum(map(len, expected)) > len(content) or (not content and found is None):
            assert found is None
        else:
            assert found is not None
            assert [content[span.start : span.stop] for span in found] == expected
            assert all(span.content_range(99).endswith("/99") for span in found)
        return
    assert parse_ranges(header, len(content)) is None
