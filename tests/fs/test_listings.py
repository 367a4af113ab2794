"""What is kept of listings, and for how long."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

from rinofs.fs import listings as module
from rinofs.fs.listings import Known, Listings

if TYPE_CHECKING:
    import pytest


def _listings() -> tuple[Listings[int], list[float]]:
    """Return listings of numbers, of which the larger is the newer, and a clock to turn."""
    now = [0.0]
    return Listings(lambda path: path.startswith("@"), lambda one, other: one >= other, lambda: now[0]), now


def test_what_was_put_last_need_not_be_the_newest() -> None:
    listings, _ = _listings()
    listings.keep_children("a", {"a/b": 1}, listings.moment())
    listings.put("a/b", 8)
    listings.put("a/b", 7)
    assert listings.get("a/b", 10) == Known(8)
    assert listings.children("a", 10) == {"a/b": 8}


def test_nothing_is_kept_that_was_asked_for_before_a_change() -> None:
    listings, _ = _listings()
    moment = listings.moment()
    listings.put("a/b", 2)
    listings.keep("a/b", 1, moment)
    listings.keep_children("a", {}, moment)
    assert listings.get("a/b", 10) == Known(2)
    assert listings.children("a", 10) is None


def test_what_is_kept_expires_by_the_age_that_each_reader_allows() -> None:
    listings, now = _listings()
    listings.keep_children("a", {"a/b": 1}, listings.moment())
    now[0] = 5
    assert listings.get("a/b", 10) == Known(1)
    assert listings.get("a/c", 10) == Known(None)
    assert listings.get("a/b", 5) is None
    assert listings.children("a", 0) is None


def test_removing_a_folder_removes_what_is_below_it_and_nothing_else() -> None:
    listings, _ = _listings()
    for folder in ("", "a", "a/b", "ab"):
        listings.keep_children(folder, {f"{folder}/x".lstrip("/"): 1}, listings.moment())
    listings.removed("a", tree=True)
    assert listings.children("a", 10) is None
    assert listings.children("a/b", 10) is None
    assert listings.children("ab", 10) == {"ab/x": 1}


def test_a_change_forgets_what_was_found_by_other_paths() -> None:
    listings, _ = _listings()
    listings.keep("@1", 1, listings.moment())
    listings.put("a", 2)
    assert listings.get("@1", 10) is None
    listings.put("@1", 3)
    assert listings.get("a", 10) is None


def test_a_moment_allows_only_what_was_asked_for_since() -> None:
    listings, _ = _listings()
    before = listings.moment()
    listings.keep("a/b", 1, before)
    listings.keep_children("c", {"c/d": 1}, before)
    since = listings.moment()
    assert listings.get("a/b", since) is None
    assert listings.get("c/d", since) is None
    assert listings.children("c", since) is None
    assert listings.get("a/b", 10) == Known(1)
    listings.keep("a/b", 2, listings.moment())
    listings.put("e", 3)
    assert listings.get("a/b", since) == Known(2)
    assert listings.get("e", since) == Known(3)


def test_aliases_take_no_more_memory_than_what_is_kept_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SINGLE", 200)
    monkeypatch.setattr(module, "MAX_LISTED", 200)
    listings, _ = _listings()
    held = []
    tracemalloc.start()
    try:
        for number in range(20_000):
            if number in {2_000, 19_999}:
                held.append(tracemalloc.get_traced_memory()[0])
            listings.keep(f"@{number}", number, listings.moment())
            listings.keep_children(f"@{number}/folder", {}, listings.moment())
    finally:
        tracemalloc.stop()
    assert held[1] < 2 * held[0]


def test_a_change_forgets_all_aliases_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SINGLE", 20)
    listings, _ = _listings()
    paths = [f"@{number}" for number in range(500)]
    for number, path in enumerate(paths):
        listings.keep(path, number, listings.moment())
        listings.keep_children(f"{path}/folder", {f"{path}/folder/x": 1}, listings.moment())
    assert any(listings.get(path, 10) for path in paths)
    listings.put("a", 1)
    assert not any(listings.get(path, 10) or listings.children(f"{path}/folder", 10) for path in paths)
