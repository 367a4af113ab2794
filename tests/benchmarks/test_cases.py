"""Test that all cases can be run, and that all are on the page; nothing is measured here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import report
from tests.benchmarks.__main__ import CASES
from tests.benchmarks.child import work_of

if TYPE_CHECKING:
    from pathlib import Path


def test_every_contender_of_a_case_has_work_to_do() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        for contender in case.contenders:
            assert callable(work_of(case.name, contender)), (case.name, contender)


def test_every_case_that_was_measured_is_on_the_page(tmp_path: Path) -> None:
    run = {"wall": 1.0, "cpu": 1.0, "served": 2.0, "memory": 1.0, "requests": 1, "sent": 1}
    made = [
        report.Result(case.name, "a machine", False, {name: [run] for name in case.contenders})
        for case in CASES
    ]
    report.write({result.key: result for result in made}, CASES, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    for case in CASES:
        for contender in case.contenders:
            assert f"| {case.title} | {contender} | 1.000 (1.000 - 1.000) |" in page
        for goal in case.goals:
            assert f"| {case.title} | {goal.label} | **1.00**" in page
