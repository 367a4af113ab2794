"""How much of a campaign to run: a part in the suite, all of it under ``make soak``.

A marker of a test selects the cases that the suite runs:

``covering(strength=1)``
    As few cases as have each value of each parameter; with a strength of 2, each pair of such values.
``one_in(number)``
    One of so many cases, of which different tests with the same parameters take different ones.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def rounds(quick: int, soak: int) -> int:
    """Return the number of rounds to run: `soak` if ``RINOFS_SOAK`` is set, else `quick`."""
    return soak if os.environ.get("RINOFS_SOAK") else quick


def left_out(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """Mark tests of which the suite runs only some cases, and return the cases to leave out now."""
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("covering") or item.get_closest_marker("one_in"):
            item.add_marker("soak")
            tests[item.nodeid.partition("[")[0]].append(item)
    left: set[pytest.Item] = set()
    if not rounds(0, 1):
        for name, cases in tests.items():
            left |= set(cases) - set(_some(name, cases))
    return left


def _some(name: str, cases: list[pytest.Item]) -> list[pytest.Item]:
    if marker := cases[0].get_closest_marker("one_in"):
        (number,) = marker.args
        return cases[zlib.crc32(name.encode()) % min(number, len(cases)) :: number]
    marker = cases[0].get_closest_marker("covering")
    (strength,) = marker.args if marker and marker.args else (1,)
    # Cases with the same value of a parameter share the object.
    values = [{key: id(value) for key, value in _parameters(case).items()} for case in cases]
    chosen = covering(values, strength)
    return [cases[number] for number in chosen]


def _parameters(case: pytest.Item) -> dict[str, object]:
    return getattr(case, "callspec").params  # noqa: B009 - only functions with parameters have it


def covering(cases: Sequence[dict[str, int]], strength: int = 1) -> list[int]:
    """Choose cases that contain each value of each parameter, all about equally often.

    Parameters
    ----------
    cases : sequence of dict
        The values of the parameters in each case.
    strength : int
        With 2, each pair of values that occurs in any case also occurs in a chosen one.
    """
    parts = [set(itertools.combinations(sorted(case.items()), min(strength, len(case)))) for case in cases]
    missing = set().union(*parts)
    chosen: list[int] = []
    met: Counter[tuple[str, int]] = Counter()
    while missing:
        gains = [len(part & missing) for part in parts]
        most = [number for number, gain in enumerate(gains) if gain == max(gains)]
        best = min(most, key=lambda number: sum(met[value] for value in cases[number].items()))
        chosen.append(best)
        met.update(cases[best].items())
        missing -= parts[best]
    return sorted(chosen)
