"""A datapack of streams as a recording session leaves it, on this machine."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack import Container, DataNode, Document, dump
from rinofs.datapack.datatypes.registry import DatatypeRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KNOWN = DatatypeRegistry.published()
RATE = 44100


def node(name: str, link: str, datatype: str | None = None, **more: Any) -> DataNode:
    """Return a data node of a published datatype."""
    return DataNode.create(name, link, datatype=KNOWN[datatype].id if datatype else None, **more)


def wav(samples: NDArray[np.int16], rate: int = RATE, frames: int | None = None) -> bytes:
    """Return a mono WAV file, whose header may speak of more frames than there are."""
    size = 2 * (len(samples) if frames is None else frames)
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size)
    return head + samples.astype("<i2").tobytes()


@dataclass(frozen=True)
class Session:
    """What was recorded, and where the datapack is."""

    folder: Path
    values: dict[str, NDArray[Any]]

    @property
    def document(self) -> Path:
        """The datapack's document."""
        return self.folder / "datapack.json"

    def url(self, path: str) -> str:
        """Return the URL of a node."""
        return f"datapack://{path}::file://{self.document}"


def record(folder: Path) -> Session:
    """Make a datapack: audio, video, three IMU streams, EMG, annotations."""
    rng = np.random.default_rng(5)
    values: dict[str, NDArray[Any]] = {
        "IMU/Accelerometer": rng.normal(size=(600, 3)),
        "IMU/Gyroscope": rng.normal(size=(600, 3)),
        "IMU/Orientation": rng.normal(size=(600, 3)),
        "EMG": rng.integers(-128, 128, (600, 8)),
        "audio": rng.integers(-(2**15), 2**15, 3 * RATE).astype(np.int16),
    }
    (folder / "IMU").mkdir(parents=True)
    (folder / "IMU" / "acc.json").write_text(json.dumps(values["IMU/Accelerometer"].tolist()))
    np.savetxt(folder / "IMU" / "gyro.csv", values["IMU/Gyroscope"], delimiter=",", fmt="%.17g")
    np.save(folder / "IMU" / "orientation.npy", values["IMU/Orientation"])
    header = ",".join(channel.label for channel in KNOWN["MYO 8-channel EMG"].layout.channels)  # type: ignore[union-attr]
    np.savetxt(folder / "emg.csv", values["EMG"], delimiter=",", fmt="%d", header=header, comments="")
    (folder / "audio.wav").write_bytes(wav(values["audio"]))
    (folder / "video.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(1000))
    (folder / "report.pdf").write_bytes(b"%PDF-1.7\n" + bytes(100))
    (folder / "drums.json").write_text(json.dumps([[0.5, 1.0, "hit"], [1.5, 2.25, "roll"]]))
    children = [
        node("video", "video.mp4", mime="video/mp4; charset=binary"),
        node("audio", "audio.wav", "mono audio", mime="audio/wav", text="The room."),
        node("EMG", "emg.csv", "MYO 8-channel EMG"),
        Container.create(
            "IMU",
            [
                node(
                    "Accelerometer",
                    "IMU/acc.json",
                    "3-axis accelerometer",
                    mime="text/plain; charset=us-ascii",
                ),
                node("Gyroscope", "IMU/gyro.csv", "3-axis gyroscope", meta={"start": 0.5}),
                node("Orientation", "IMU/orientation.npy", "orientation"),
                node("report", "report.pdf"),
            ],
            text="On the wrist.",
        ),
        node("drums", "drums.json", "drum notes"),
    ]
    about = {"author": "A. Researcher", "description": "One session.", "keywords": ["arm", "EMG"]}
    document = Document.create("MYO", children, **about)
    (folder / "datapack.json").write_text(dump(document))
    return Session(folder, values)
