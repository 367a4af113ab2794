"""Trees in notebooks."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from rinofs.datapack import Container, DataNode, Document, Tree

VOID = {"br", "img", "input", "meta", "link"}


class Outline(HTMLParser):
    """Reads HTML strictly: every element has to be closed, and in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.deepest = 0
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= {"class", "open"}
        assert tag not in VOID
        self.tags.add(tag)
        self.open.append(tag)
        self.deepest = max(self.deepest, self.open.count("ul"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)


def session() -> Document:
    imu = Container.create(
        "IMU",
        [
            DataNode.create("Accelerometer", "a.json", datatype="ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc"),
            DataNode.create("Gyroscope", "g.csv", mime="text/csv", text="left arm"),
        ],
    )
    clip = DataNode.create("clip", "clip.mp4", mime="video/mp4")
    return Document.create(
        "take 1", [imu, Container.create("empty"), clip], author="A. Researcher", keywords=["arm"]
    )


def test_a_tree_shows_what_is_in_it() -> None:
    outline = Outline(Tree(session())._repr_html_())
    assert outline.texts == [
        "take 1",
        "A. Researcher",
        "arm",
        "IMU/",
        "Accelerometer",
        "3-axis accelerometer",
        "Gyroscope",
        "text/csv",
        "left arm",
        "empty/",
        "clip",
        "video/mp4",
    ]
    assert outline.deepest == 2
    assert session()._repr_html_() == Tree(session())._repr_html_()


def test_nothing_in_a_document_becomes_markup() -> None:
    evil = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
    node = DataNode.create(evil, evil, mime=evil, text=evil, datatype=evil, meta={"datatype": {"name": evil}})
    document = Document.create(
        evil, [Container.create(evil, [node], text=evil)], author=evil, description=evil, keywords=[evil]
    )
    outline = Outline(document._repr_html_())
    assert outline.tags == {"div", "style", "span", "ul", "li", "details", "summary"}
    assert outline.texts.count(evil) >= 6


def test_large_and_deep_trees_stay_readable() -> None:
    many = Document.create("many", [DataNode.create(f"n{number}", "x") for number in range(2_000)])
    html = many._repr_html_()
    assert len(html) < 60_000
    assert Outline(html).texts[-1] == "and 1,500 more nodes"

    node: Container | DataNode = DataNode.create("leaf", "x")
    for _ in range(45):
        node = Container.create("c", [node])
    deep = Outline(Document.create("deep", [node])._repr_html_())
    assert deep.deepest <= 40
    assert deep.texts[-1] == "leaf"


def test_an_empty_datapack_has_a_heading() -> None:
    html = Document.create("")._repr_html_()
    assert re.sub("<style>.*</style>", "", html).count("datapack") == 1
    Outline(html)
