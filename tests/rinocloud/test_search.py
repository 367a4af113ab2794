"""Searches find the same on a server with the extension, on a plain one, and by looking through all."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rinofs import RinoFileSystem
from rinofs.testing import live_server
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTES = ["Cold spike at noon", "cold-spike", "COLD  spike", "warm", "run_3 é É", "a*b?", "5", ""]


@pytest.fixture(scope="module", params=[True, False], ids=["extended", "plain"])
def full(request: pytest.FixtureRequest) -> Iterator[RinoFileSystem]:
    with live_server(extensions=request.param) as server:
        fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
        for number, notes in enumerate(NOTES):
            metadata = {
                "notes": notes,
                "n": number,
                "deep": {"list": [notes, {"key word": number % 2 == 0}]},
                "day": f"2012-01-0{number + 1}",
                **({"odd": True} if number % 2 else {}),
            }
            fs.pipe_file(
                f"exp/run {number}.csv", b"x" * number, metadata=metadata, tags=[f"t{number % 3}", "all"]
            )
        fs.pipe_file("elsewhere/run 9.csv", b"", metadata={"notes": "cold spike"})
        yield fs


def found(fs: RinoFileSystem, text: str, path: str = "exp", **options: bool) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        names = [info["name"] for info in fs.search(text, path, **options)]
    assert all(name.startswith("exp/run ") for name in names)
    return "".join(sorted(name.removeprefix("exp/run ").removesuffix(".csv") for name in names))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("*", "01234567"),
        ("", ""),
        ("cold", "012"),
        ('"cold spike"', "02"),
        ("+cold -noon", "12"),
        ("co*", "012"),
        ("run", "01234567"),
        ("run_3", "4"),
        ("É", "4"),
        ("a\\*b\\?", "5"),
        ("5", "56"),
        ("n:5", "5"),
        ("deep.list:warm", "3"),
        ('"key word"', "01234567"),
        ("notes:(warm OR noon)", "03"),
        ("odd:* AND NOT tags:t1", "35"),
        ("n:[2 TO 4}", "23"),
        ("size:(>=2 AND <4)", "23"),
        ("day:[2012-01-02 TO 2012-01-03]", "12"),
        ("day:{2012-01-02 TO *]", "234567"),
        ("created:>=2000 -created:>=2500", "01234567"),
        ("created:[2000 TO 2001]", ""),
        ("odd:true", "1357"),
        ("type:directory", ""),
        ("name:*.csv AND n:<2", "01"),
        ("nothing", ""),
    ],
)
def test_searches(full: RinoFileSystem, text: str, numbers: str) -> None:
    assert found(full, text) == numbers
    assert found(full, text, scan=True) == numbers


words = st.sampled_from(
    [
        *("cold", "c*", "*", "sp?ke", "5", '"cold spike"', "n:3", "n:[1 TO 5]", "n:>4", "odd:*", "tags:t1"),
        *("-1", "é", "notes:(cold OR warm)", "day:2012-01-03", "day:[* TO 2012-01-04}", "deep.list:*"),
        *("true", "odd:true", "key"),
    ]
)
searches = st.recursive(
    words,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" ", " AND ", " OR ", " -", " +", " NOT "]), inner).map("".join),
        inner.map("({})".format),
        inner.map("NOT ({})".format),
    ),
    max_leaves=6,
)


@settings(max_examples=rounds(15, 200), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(searches, min_size=5, max_size=5))
def test_both_find_the_same(full: RinoFileSystem, texts: list[str]) -> None:
    for text in texts:
        try:
            here = found(full, text, scan=True)
        except ValueError:
            with pytest.raises(ValueError, match=r"deeply|long|unexpected|early"):
                found(full, text)
        else:
            assert found(full, text) == here, text


def test_order_and_limit(full: RinoFileSystem) -> None:
    infos = full.search("cold", sort="n", descending=True, limit=2)
    assert [info["name"] for info in infos] == ["exp/run 2.csv", "exp/run 1.csv"]
    assert repr(full.search("cold", "exp")) == "<'cold' in rino://exp>"


def test_what_is_no_search_is_refused(full: RinoFileSystem) -> None:
    for text in ("a~", "(", "size__foo:3"):
        with pytest.raises(ValueError, match=r".+: .+"):
            full.search(text)
    with pytest.raises(FileNotFoundError):
        list(full.search("cold", "nowhere"))
