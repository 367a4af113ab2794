from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tests.campaign import covering

ROOT = Path(__file__).parents[1]
CASES = [dict(zip("abc", values, strict=True)) for values in itertools.product(range(5), range(3), range(2))]


def parts_of(cases: list[dict[str, int]], strength: int) -> set[object]:
    return {part for case in cases for part in itertools.combinations(sorted(case.items()), strength)}


@pytest.mark.parametrize(("strength", "most"), [(1, 5), (2, 16)])
def test_few_cases_have_all_values(strength: int, most: int) -> None:
    chosen = [CASES[number] for number in covering(CASES, strength)]
    assert parts_of(chosen, strength) == parts_of(CASES, strength)
    assert len(chosen) <= most


def test_pairs_that_no_case_has_are_not_waited_for() -> None:
    cases = [{"a": number, "b": number % 2} for number in range(6)]
    assert covering(cases, 2) == list(range(6))


def test_each_campaign_has_a_verb() -> None:
    """Everything that the suite runs in part is run in full by some verb."""
    verbs = re.findall(r"^soak-[\w-]+: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run = [word for lines in verbs for word in lines.split() if word.startswith("tests/")]
    sign = re.compile(r"\brounds\(|mark\.(?:soak|covering|one_in)\b")
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if sign.search(path.read_text())]
    assert files
    left = [
        str(path.relative_to(ROOT))
        for path in files
        if not any(path == ROOT / word or (ROOT / word) in path.parents for word in run)
    ]
    assert left == []
