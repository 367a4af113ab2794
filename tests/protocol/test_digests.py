"""Digests by name, and the headers that carry them."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rinofs.protocol.digests import (
    BLAKE3,
    DIGESTS,
    SHA256,
    best_digest,
    new_hasher,
    parse_repr_digest,
    parse_want_repr_digest,
    repr_digest,
    want_repr_digest,
)

EMPTY_BLAKE3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
ONE = "sha-256=:" + "A" * 43 + "=:"


def test_hashers_compute_what_their_name_says() -> None:
    assert new_hasher(BLAKE3).hexdigest() == EMPTY_BLAKE3  # the first of the published test vectors
    assert new_hasher(SHA256).hexdigest() == hashlib.sha256().hexdigest()


@given(st.dictionaries(st.sampled_from([*DIGESTS]), st.binary(min_size=32, max_size=32).map(bytes.hex)))
def test_a_header_gives_back_the_digests(digests: dict[str, str]) -> None:
    parsed = parse_repr_digest(repr_digest(digests))
    assert parsed == digests
    assert list(parsed) == [name for name in DIGESTS if name in digests]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (f"md5=:AAAA:, {ONE}", [SHA256]),
        (f"{ONE};q=1,blake3=:short:", [SHA256]),
        (f" {ONE.replace('sha-256', 'blake3')} ,\t{ONE}", [BLAKE3, SHA256]),
        (ONE.replace("sha-256", "sha-2560"), []),
        (ONE.replace("sha-256", "x-sha-256"), []),
        (ONE.replace("=:", "=", 1), []),
        ("sha-256=:" + "=" * 44 + ":", []),
        ("sha-256=:" + "A" * 44 + ":", []),
        ("", []),
    ],
)
def test_digests_of_other_kinds_or_forms_are_passed_over(value: str, names: list[str]) -> None:
    assert list(parse_repr_digest(value)) == names


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("sha-256=3, blake3=10", [BLAKE3, SHA256]),
        ("blake3=1,sha-256=10", [SHA256, BLAKE3]),
        ("blake3=5, sha-256=5", [BLAKE3, SHA256]),
        ("sha-512=10, sha-256=1", [SHA256]),
        ("blake3=0, sha-256=1", [SHA256]),
        ("blake3=11, sha-256", []),
        ("", []),
    ],
)
def test_wanted_digests_in_order_of_preference(value: str, names: list[str]) -> None:
    assert parse_want_repr_digest(value) == names
    assert parse_want_repr_digest(want_repr_digest(names)) == names


def test_the_best_digest_that_both_sides_have() -> None:
    assert best_digest([SHA256, BLAKE3]) == BLAKE3
    assert best_digest([SHA256]) == SHA256
    assert best_digest(["md5"]) is None


def test_without_the_module_blake3_is_never_the_best() -> None:
    program = (
        "import sys; sys.modules['blake3'] = None\n"
        "from rinofs.protocol.digests import best_digest, new_hasher\n"
        "assert best_digest(['blake3', 'sha256']) == 'sha256' and best_digest(['blake3']) is None\n"
        "new_hasher('blake3')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("BLAKE3 needs the module blake3: pip install blake3\n")
