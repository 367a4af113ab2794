"""What a notebook shows: text in tables, and nothing of what was given as a token."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.credentials import digest_of
from rinofs.fs.display import cell, facts, table
from rinofs.profiles import Profile, ProfileStore

SECRET = "a-token-that-nobody-may-see"


@pytest.mark.parametrize("kind", [RinoFileSystem, RepovizzFileSystem])
def test_a_filesystem_tells_where_it_is_and_no_secret(kind: type[RinoFileSystem]) -> None:
    shown = kind(endpoint_url="http://127.0.0.1:9", token=SECRET)._repr_html_()
    assert f"<strong>{kind.__name__}</strong>" in shown
    assert "http://127.0.0.1:9" in shown
    assert SECRET not in shown
    assert digest_of(SECRET) not in shown


@pytest.mark.parametrize("kind", [RinoFileSystem, RepovizzFileSystem])
def test_a_filesystem_tells_whose_it_is(kind: type[RinoFileSystem]) -> None:
    profile = Profile(
        service=kind.service.name,
        name="lab",
        endpoint_url="http://127.0.0.1:9",
        username="ada <b>",
        token=SECRET,
        refresh_token=SECRET + "2",
        expires_at=None,
        client_id=None,
        client_secret=SECRET + "3",
    )
    ProfileStore().save(profile)
    shown = kind(profile="lab")._repr_html_()
    assert "ada &lt;b&gt;" in shown
    assert SECRET not in shown


def test_values_are_text() -> None:
    assert cell(None) == ""
    assert cell(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)) == "2026-01-02 03:04:05"
    assert cell({"é": ["<"]}) == "{&quot;é&quot;: [&quot;&lt;&quot;]}"
    assert cell("x" * 100) == "x" * 79 + "…"
    nasty = "<img src=x onerror=alert(1)>"
    for html in (facts(nasty, {nasty: nasty}), table(nasty, [nasty], [[nasty]], nasty)):
        assert "<img" not in html
