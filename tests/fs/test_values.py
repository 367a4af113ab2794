"""What Python values become in metadata, and what cannot be stored."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rinofs.fs.values import as_metadata, as_tags


class Device(enum.StrEnum):
    MYO = "myo"


class Hand(enum.IntEnum):
    LEFT = 1


MOMENT = datetime(2026, 1, 25, 12, 33, 44, 98427, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (np.float64(2.5), 2.5),
        (np.float32(0.5), 0.5),
        (np.longdouble(2), 2.0),
        (np.int16(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5.0), 5.0),
        (np.array(["2026-01-25"], "M8[ns]"), ["2026-01-25T00:00:00.000000"]),
        (np.datetime64("2026-01-25T01"), "2026-01-25T01:00:00.000000"),
        (MOMENT, "2026-01-25T11:33:44.098427Z"),
        (MOMENT.replace(tzinfo=UTC, microsecond=0), "2026-01-25T12:33:44.000000Z"),
        (MOMENT.replace(tzinfo=None), "2026-01-25T12:33:44.098427"),
        (date(2026, 1, 25), "2026-01-25"),
        (pd.Timestamp("2026-01-25", tz="Europe/Vienna"), "2026-01-24T23:00:00.000000Z"),
        (pd.Timestamp("2026-01-25"), "2026-01-25T00:00:00.000000"),
        (PurePosixPath("a/b"), "a/b"),
        (PureWindowsPath("a\\b"), "a/b"),
        (Device.MYO, "myo"),
        (Hand.LEFT, 1),
        ((1, "a", None), [1, "a", None]),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (1e300, 1e300),
        ({"é": {"日本": ["\0", '"', ""]}}, {"é": {"日本": ["\0", '"', ""]}}),
    ],
    ids=ascii,
)
def test_values(given: Any, stored: Any) -> None:
    found = as_metadata({"x": given})["x"]
    assert found == stored
    assert type(found) is type(stored)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("given", "error", "named"),
    [
        ({"a": {"b": [1, {2}]}}, TypeError, "metadata['a']['b'][1]: a set"),
        ({"a": b"x"}, TypeError, "metadata['a']: a bytes"),
        ({"a": {1: 2}}, TypeError, "metadata['a'][1]: keys must be strings"),
        ({1: 2}, TypeError, "metadata[1]"),
        ({"a": timedelta(1)}, TypeError, "seconds"),
        ({"a": pd.Timedelta(1)}, TypeError, "seconds"),
        ({"a": np.timedelta64(1)}, TypeError, "seconds"),
        ({"a": pd.NA}, TypeError, "metadata['a']"),
        ({"a": pd.Series([1])}, TypeError, "a Series"),
        ({"a": 1j}, TypeError, "complex"),
        ({"a": np.complex64(1)}, TypeError, "complex"),
        ({"a": ...}, TypeError, "metadata['a']: an ellipsis"),
        ([1], TypeError, "metadata: "),
        ("x", TypeError, "metadata: "),
        ({"a": float("nan")}, ValueError, "metadata['a']: nan"),
        ({"a": np.array([1, np.inf])}, ValueError, "metadata['a'][1]: inf"),
        ({"a": pd.NaT}, ValueError, "NaT"),
        ({"a": np.datetime64("NaT")}, ValueError, "NaT"),
        ({"a": 2**63}, ValueError, "64 bits"),
        ({"a": "\ud800"}, ValueError, "surrogate"),
        ({"\ud800": 1}, ValueError, "surrogate"),
        ({"a": nested(63)}, ValueError, "63 levels"),
    ],
    ids=ascii,
)
def test_what_json_cannot_hold(given: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error) as refused:
        as_metadata(given)
    assert type(refused.value) is error
    assert named in str(refused.value)
    str(refused.value).encode()


def test_the_deepest_nesting_is_kept() -> None:
    assert as_metadata({"a": nested(62)}) == {"a": nested(62)}


def test_tags() -> None:
    assert as_tags(("a", np.str_("b"), "a")) == ["a", "b", "a"]
    assert as_tags({"b", "a"}) == ["a", "b"]
    for wrong in ("pilot", b"x", {"a": 1}, 3, ["a", 1], [None], {"a", 1}):
        with pytest.raises(TypeError, match="tags"):
            as_tags(wrong)
    with pytest.raises(ValueError, match="surrogate"):
        as_tags(["\ud800"])
