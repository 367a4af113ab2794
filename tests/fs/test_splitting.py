"""When several connections are used for one content: the decisions, one by one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from rinofs.fs.transfer.splitting import MEBIBYTE, PART, Split, connection_count, is_worthwhile, part_size

if TYPE_CHECKING:
    from rinofs.http.session.session import HttpSession

SIZE = 256 * MEBIBYTE


@pytest.mark.parametrize(
    ("round_trip", "size", "expected"),
    [
        (0.02, SIZE, True),
        (0.0005, SIZE, False),  # this machine
        (0.005, SIZE, False),  # a network like it
        (0.0, SIZE, False),  # nothing is known
        (0.02, 64 * MEBIBYTE, True),
        (0.02, 64 * MEBIBYTE - 1, False),
    ],
)
def test_only_what_is_large_and_comes_from_afar_suits(round_trip: float, size: int, expected: bool) -> None:
    assert is_worthwhile(round_trip, size) is expected


@dataclass
class Session:
    """As far away as it says."""

    round_trip: float
    free_connections: int = 15


@pytest.mark.parametrize(
    ("rate", "round_trip", "most", "expected"),
    [
        (10, 0.02, 0, 4),
        (200, 0.02, 0, 4),
        (300, 0.02, 0, 1),  # as fast as processors are
        (10, 0.0005, 0, 1),
        (10, 0.0005, 3, 3),  # as the user wants it
    ],
)
def test_the_rest_comes_by_several_where_one_connection_is_held_back(
    rate: float, round_trip: float, most: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    split = Split(cast("HttpSession", Session(round_trip)), 10 * SIZE, most)
    arrived = 0
    while now < 1 and not split.begins(int(0.01 * rate * MEBIBYTE)):
        now += 0.01
        arrived += 1
    assert split.count == expected
    assert (arrived > 10) is (most == 0)  # it takes a while to see


def test_a_connection_is_measured_after_it_came_up_to_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    split = Split(cast("HttpSession", Session(0.02)), 10 * SIZE, 0)
    while now < 1:
        assert not split.begins(int((0 if now < 0.15 else 0.01) * 300 * MEBIBYTE))
        now += 0.01


@pytest.mark.parametrize(
    ("left", "most", "free", "expected"),
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
def test_as_many_as_there_are_free_connections_and_parts(
    left: int, most: int, free: int, expected: int
) -> None:
    assert connection_count(left, most, free) == expected


def test_parts_are_neither_small_nor_all_of_it() -> None:
    assert part_size(32 * MEBIBYTE, 2) == PART
    assert part_size(1024 * MEBIBYTE, 4) == 64 * MEBIBYTE
    assert part_size(512 * MEBIBYTE, 4) == 32 * MEBIBYTE
    assert part_size(10**12, 4) == 64 * MEBIBYTE
