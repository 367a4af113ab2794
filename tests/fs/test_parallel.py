"""When several connections are used for one content: the decisions, one by one."""

from __future__ import annotations

import pytest

from rinofs.fs.transfer.parallel import MEBIBYTE, PART, Pace, how_many, is_held_back, paid, part_size, suits

SIZE = 256 * MEBIBYTE


def pace(rate: float, waited: float = 0.9) -> Pace:
    return Pace(2.0, int(2 * rate * MEBIBYTE), 2 * waited)


@pytest.mark.parametrize(
    ("round_trip", "size", "left", "expected"),
    [
        (0.02, SIZE, SIZE // 2, True),
        (0.0005, SIZE, SIZE // 2, False),  # this machine
        (0.005, SIZE, SIZE // 2, False),  # a network like it
        (0.0, SIZE, SIZE // 2, False),  # nothing is known
        (0.02, 64 * MEBIBYTE, 63 * MEBIBYTE, True),
        (0.02, 64 * MEBIBYTE - 1, 63 * MEBIBYTE, False),
        (0.02, SIZE, 2 * PART, True),
        (0.02, SIZE, 2 * PART - 1, False),
    ],
)
def test_only_what_is_large_and_comes_from_afar_suits(
    round_trip: float, size: int, left: int, expected: bool
) -> None:
    assert suits(round_trip, size, left) is expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (pace(10), True),
        (pace(200), True),
        (pace(300), False),  # as fast as processors are
        (pace(10, waited=0.3), False),  # the reader itself is what is slow
    ],
)
def test_only_a_reader_that_waits_is_held_back(one: Pace, expected: bool) -> None:
    assert is_held_back(one) is expected


@pytest.mark.parametrize(("after", "expected"), [(9, False), (12, False), (12.6, True), (40, True)])
def test_several_pay_only_where_they_are_clearly_faster(after: float, expected: bool) -> None:
    assert paid(pace(10), pace(after)) is expected


@pytest.mark.parametrize(
    ("left", "most", "places", "expected"),
    [
        (SIZE, 4, 15, 4),
        (SIZE, 4, 2, 3),
        (SIZE, 4, 0, 1),
        (3 * PART - 1, 4, 15, 2),
        (PART, 4, 15, 1),
        (0, 4, 15, 1),
        (SIZE, 2, 15, 2),
    ],
)
def test_as_many_as_there_are_places_and_parts(left: int, most: int, places: int, expected: int) -> None:
    assert how_many(left, most, places) == expected


def test_parts_are_neither_small_nor_all_of_it() -> None:
    assert part_size(32 * MEBIBYTE, 2) == PART
    assert part_size(1024 * MEBIBYTE, 4) == 64 * MEBIBYTE
    assert part_size(512 * MEBIBYTE, 4) == 32 * MEBIBYTE
    assert part_size(10**12, 4) == 64 * MEBIBYTE
