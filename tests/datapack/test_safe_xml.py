"""Untrusted XML: what is read of it, and what that costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs.datapack.formats.laboratory.safe_xml import parse_xml
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.datapack.formats.laboratory.safe_xml import Element

Content = list["str | Content"]  # of an element: texts and elements, in order

CONTENTS = st.recursive(
    st.lists(st.text("aé<&;\U0001f600", max_size=5), max_size=2),
    lambda inner: st.lists(st.text("aé<&;\U0001f600", max_size=5) | inner, max_size=5),
    max_leaves=10,
)


def written(content: Content) -> str:
    inside = (escape(part) if isinstance(part, str) else written(part) for part in content)
    return f"<a>{''.join(inside)}</a>"


def check(element: Element, content: Content) -> None:
    assert element.text == "".join(part for part in content if isinstance(part, str))
    inside = [part for part in content if not isinstance(part, str)]
    for child, part in zip(element.children, inside, strict=True):
        check(child, part)


@settings(max_examples=rounds(50, 1000))
@given(CONTENTS)
def test_text_is_that_directly_inside_an_element(content: Content) -> None:
    check(parse_xml(written(content).encode()), content)


GROWING: dict[str, Callable[[int], bytes]] = {
    "text between elements": lambda size: b"<a>" + (b"x" * 40 + b"<b/>") * size + b"</a>",
    "text between elements inside": lambda size: b"<a><b>" + (b"x" * 40 + b"<c/>") * size + b"</b></a>",
    "lines": lambda size: b"<a>" + (b"x" * 40 + b"\n") * size + b"</a>",
    "characters by number": lambda size: b"<a>" + b"&#228;" * 10 * size + b"</a>",
    "sections": lambda size: b"<a>" + b"<![CDATA[some text]]>" * size + b"</a>",
    "comments": lambda size: b"<a>" + b"some text <!-- -->" * size + b"</a>",
    "elements with text": lambda size: b"<a>" + b"<b>some text</b>" * size + b"</a>",
}
SIZE = 200_000
NOISE = 0.4  # seconds of processor time below which nothing can be said


@pytest.mark.parametrize("name", GROWING)
def test_twice_as_long_a_document_takes_about_twice_as_long(name: str) -> None:
    def cost(size: int) -> float:
        document = GROWING[name](size)
        began = time.process_time()
        parse_xml(document)
        return time.process_time() - began

    large = cost(SIZE)
    if large > NOISE:
        small = min(cost(SIZE // 4) for _ in range(2))
        assert large < max(10 * small, NOISE), f"{large:.2f} s, and {small:.2f} s for a quarter"
