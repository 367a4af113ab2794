"""Generated documents, and a folder of files that one describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from rinofs.datapack import Container, DataNode, Document, Node

if TYPE_CHECKING:
    from pathlib import Path

TRICKY = [
    *(
        "",
        ".",
        "..",
        "/",
        "a",
        "a/b",
        "a.csv",
        "a~2.csv",
        "a~2",
        "%2F",
        "%252F",
        "%2525F",
        "%2E",
        "%2E.",
        "%252E",
    ),
    *(
        "%2f",
        "%",
        "100%",
        "datapack.json",
        "datapack~2.json",
        "unnamed",
        " ",
        "é",
        "e\u0301",
        ".hidden",
        "a.tar.gz",
    ),
]

names = st.one_of(st.sampled_from(TRICKY), st.text("%25F2E/.~a", max_size=8), st.text(max_size=6))
links = st.sampled_from(["x.csv", "IMU/acc.json", "a", "repovizz:0123456789abcdef0123456789abcdef01234567"])
data_nodes = st.builds(lambda name, link: DataNode.create(name, link), names, links)
nodes: st.SearchStrategy[Node] = st.recursive(
    data_nodes,
    lambda inner: st.builds(Container.create, names, st.lists(inner, max_size=5)),
    max_leaves=12,
)
documents = st.builds(Document.create, st.text(max_size=5), st.lists(nodes, max_size=6))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def deep_text(depth: int) -> str:
    """JSON text of a valid document with so many containers within each other."""
    head = '{"info": {"name": "x", "author": "", "description": "", "keywords": []}, "children": ['
    container = '{"class": "container", "name": "c", "text": "", "children": ['
    return head + container * depth + "]}" * depth + "]}"


def tutorial() -> dict[str, Any]:
    """A document like the one of the service's tutorial."""

    def data(name: str, link: str, **more: Any) -> dict[str, Any]:
        return {"class": "data", "name": name, "text": f"{name} of the arm", "link": link, **more}

    imu = [data(name, f"IMU/{name.lower()}.json") for name in ("Accelerometer", "Gyroscope")]
    imu[0]["type"] = "ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc"
    return {
        "info": {"name": "MYO", "author": "me", "description": "An arm", "keywords": ["arm", "IMU"]},
        "children": [
            data("video", "clip 1.mp4", meta={"mime": "video/mp4; charset=binary"}),
            {"class": "container", "name": "EMG", "text": "", "children": [data("EMG", "emg 100%#2.csv")]},
            {"class": "container", "name": "IMU", "text": "", "children": imu},
        ],
    }


def write_tutorial(folder: Path) -> Path:
    """Write the files of that document, and the document beside them."""
    import json

    (folder / "IMU").mkdir(parents=True)
    (folder / "clip 1.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "emg 100%#2.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "IMU" / "accelerometer.json").write_text("[[0.947266, -0.337891, 0.169922], [0.9, -0.3, 0.2]]")
    (folder / "IMU" / "gyroscope.json").write_text("[[1, 2, 3]]")
    document = folder / "pack.json"
    document.write_text(json.dumps(tutorial()))
    return document
