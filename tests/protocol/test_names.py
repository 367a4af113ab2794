from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rinofs.protocol.names import is_loopback, without_login


@pytest.mark.parametrize("host", ["localhost", "rino.localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_a_host_on_the_machine_itself(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.org",
        "localhost.example.org",
        "notlocalhost",
        "127.0.0.1.example.org",
        "10.0.0.1",
        "0.0.0.0",
        "::",
        "2130706433",
        "[::1]",
    ],
)
def test_a_host_that_may_be_another_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:1/x", "https://host:1/x"),
        ("https://me:s3cret@host:1/x", "https://host:1/x"),
        ("//me:s3cret@host", "//host"),
        ("host", "host"),
        ("", ""),
    ],
)
def test_a_url_without_its_login(url: str, shown: str) -> None:
    assert without_login(url) == shown


@given(
    st.text("ab:/@?#[]%. \n", max_size=20),
    st.sampled_from(["https://", "http:/", "HTTP:", "", "//", "s3://"]),
)
@example("me:a/b", "https://")
@example("me:a//b", "")
def test_nothing_of_a_malformed_login_is_shown(login: str, scheme: str) -> None:
    assume(scheme or not re.match(r"[ab.]*://", login))  # it would be the scheme
    shown = without_login(f"{scheme}S3CRET{login}S3CRET@host/x")
    assert "S3CRET" not in shown
    assert shown.endswith("host/x")
