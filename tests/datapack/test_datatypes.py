"""Datatypes: the published ones, one's own, and untidy ones."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from rinofs.datapack.datatypes.datatype import (
    Channel,
    Column,
    Datatype,
    DatatypeWarning,
    Lattice,
    Sparse,
    parse_datatype,
)
from rinofs.datapack.datatypes.registry import DatatypeRegistry
from rinofs.datapack.document.validation import datatype_problems
from rinofs.errors import InvalidDatapackError, UnknownDatatypeError
from tests.datapack.packs import json_values

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED = [
    (
        "3-axis accelerometer",
        "ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc",
        200,
        "acceleration",
        "g",
        "float",
        "X Y Z",
    ),
    (
        "3-axis gyroscope",
        "35524338-dec5-40ca-a099-1fff42fb5460",
        200,
        "angular velocity",
        "radians/second",
        "float",
        "X Y Z",
    ),
    (
        "orientation",
        "d4445fc6-0af0-42e0-979e-74a62b70b2ed",
        200,
        "angle",
        "radians",
        "float",
        "Roll Pitch Yaw",
    ),
    (
        "MYO 8-channel EMG",
        "0746bb48-9b92-4cd3-8d9e-3e1de13269eb",
        200,
        "muscle activity",
        "a.u.",
        "integer",
        8,
    ),
    ("mono audio", "48e3b5d2-c34c-459c-9a2d-0756c20d80de", 44100, "audio intensity", "a.u.", "float", "M"),
]


pytestmark = pytest.mark.filterwarnings("ignore::rinofs.datapack.datatypes.datatype.DatatypeWarning")


@pytest.mark.parametrize(("name", "uuid", "rate", "quantity", "units", "kind", "channels"), PUBLISHED)
def test_published_lattices(
    name: str, uuid: str, rate: int, quantity: str, units: str, kind: str, channels: str | int
) -> None:
    datatype = DatatypeRegistry.published()[uuid]
    assert datatype is DatatypeRegistry.published()[name.upper()]
    assert datatype.id == uuid
    assert datatype.name == name
    layout = datatype.layout
    assert isinstance(layout, Lattice)
    assert layout.sampling_rate == rate
    assert [(d.label, d.units) for d in layout.dimensions] == [("time", "seconds")]
    assert [(q.label, q.units, q.type) for q in layout.quantities] == [(quantity, units, kind)]
    labels = [channel.label for channel in layout.channels]
    assert labels == channels.split() if isinstance(channels, str) else len(labels) == channels


def test_published_ranges() -> None:
    known = DatatypeRegistry.published()
    ranges = {}
    for name in ("MYO 8-channel EMG", "mono audio", "orientation"):
        layout = known[name].layout
        assert isinstance(layout, Lattice)
        ranges[name] = (layout.quantities[0].minimum, layout.quantities[0].maximum)
    assert ranges == {"MYO 8-channel EMG": (-128, 127), "mono audio": (-1, 1), "orientation": (None, None)}


@pytest.mark.parametrize(
    "name", ["68cd3fb2-6f76-4790-b432-c9c49ebaffee", "Drum Notes", "video object annotation"]
)
def test_published_annotations(name: str) -> None:
    layout = DatatypeRegistry.published()[name].layout
    assert isinstance(layout, Sparse)
    assert [(c.label, c.units, c.dimension) for c in layout.coordinates] == [
        *[("onset time", "seconds", "time"), ("offset time", "seconds", "time")]
    ]
    assert [(c.label, c.type) for c in layout.properties] == [("offset type", "text")]
    assert layout.columns == layout.coordinates + layout.properties


def test_published_documents_are_valid_and_tidy() -> None:
    published = list(DatatypeRegistry.published())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DatatypeWarning)
        assert [parse_datatype(datatype.document) for datatype in published] == published
    assert len(published) == len(DatatypeRegistry.published()) == 7
    for datatype in published:
        assert datatype_problems(datatype.document) == []
        assert pickle.loads(pickle.dumps(datatype)) == datatype


def test_unknown_datatypes_are_an_error_that_suggests() -> None:
    known = DatatypeRegistry.published()
    assert "nothing" not in known
    assert known.get("nothing") is None
    with pytest.raises(UnknownDatatypeError, match="'3-axis gyro'; known: 3-axis gyroscope"):
        known["3-axis gyro"]
    with pytest.raises(LookupError, match="known: none"):
        DatatypeRegistry()["x"]


def lattice() -> dict[str, Any]:
    return {
        "datatypeID": "11111111-2222-3333-4444-555555555555",
        "name": "thermometer",
        "tags": ["heat"],
        "datatype": {
            "lattice": {
                "primary_dimensions": [{"label": "time", "units": "seconds", "resolution": 10}],
                "secondary_dimensions": [{"label": "temperature", "units": "K", "type": "float"}],
                "channels": [{"label": "in", "description": "inside"}, {"label": "out"}],
            }
        },
    }


def test_own_datatypes_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "thermometer.json").write_text(json.dumps(lattice()))
    (tmp_path / "notes.txt").write_text("not a datatype")
    known = DatatypeRegistry.published().extended_by_folder(tmp_path)
    assert known["Thermometer"].layout == Lattice(
        known["thermometer"].layout.dimensions,  # type: ignore[union-attr]
        known["thermometer"].layout.quantities,  # type: ignore[union-attr]
        (Channel("in", "inside"), Channel("out")),
    )
    assert known["11111111-2222-3333-4444-555555555555"].tags == ("heat",)
    assert "orientation" in known
    assert "thermometer" not in DatatypeRegistry.published()
    (tmp_path / "broken.json").write_text('{"name": "x"}')
    with pytest.raises(InvalidDatapackError, match=r"broken\.json: a datatype is a JSON object"):
        DatatypeRegistry().extended_by_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        DatatypeRegistry().extended_by_folder(tmp_path / "none")


def test_a_repeated_label_gets_a_suffix_and_no_channel_is_lost() -> None:
    untidy = lattice()
    channels = [{"label": label} for label in ("X", "Y", "Y", "Y", "Y 2", "", None)]
    untidy["datatype"]["lattice"]["channels"] = channels
    with pytest.warns(DatatypeWarning, match=r"datatype thermometer: the label 'Y' of channel 3") as caught:
        datatype = parse_datatype(untidy)
    assert isinstance(datatype.layout, Lattice)
    labels = [channel.label for channel in datatype.layout.channels]
    assert labels == ["X", "Y", "Y 3", "Y 4", "Y 2", "channel 6", "channel 7"]
    assert len(caught) == 4
    assert len(datatype_problems(untidy)) == 1


def test_an_id_that_belongs_to_another_is_named_and_does_not_replace_it() -> None:
    published = DatatypeRegistry.published()
    copied = {**lattice(), "datatypeID": published["3-axis gyroscope"].id}
    with pytest.warns(DatatypeWarning, match="thermometer: 3-axis gyroscope has the same id 35524338"):
        known = published.extended(parse_datatype(copied))
    assert known["35524338-dec5-40ca-a099-1fff42fb5460"].name == "3-axis gyroscope"
    assert known["thermometer"].layout == parse_datatype(lattice()).layout
    assert len(known) == 8


@pytest.mark.parametrize(
    ("tags", "expected", "warned"),
    [
        (["EMG, MYO"], ("EMG", "MYO"), True),
        ("EMG, MYO", ("EMG", "MYO"), True),
        (["EMG", "MYO"], ("EMG", "MYO"), False),
        ([" EMG ", "", 3], ("EMG",), False),
        (None, (), False),
    ],
)
def test_tags_in_one_string(tags: Any, expected: tuple[str, ...], warned: bool) -> None:
    document = {**lattice(), "tags": tags}
    if warned:
        with pytest.warns(DatatypeWarning, match="written as one string; they are read as EMG, MYO"):
            assert parse_datatype(document).tags == expected
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DatatypeWarning)
            assert parse_datatype(document).tags == expected


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    document = copy.deepcopy(lattice())
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return document


LATTICE = ("datatype", "lattice")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed("name", to=None), "'name' is missing; using '11111111"),
        (changed("name", to=5), "'name' is 5, not a string"),
        (changed("datatype", to={}), "neither a lattice nor sparse"),
        (changed("datatype", to=None), "neither a lattice nor sparse"),
        (changed(*LATTICE, "channels", to=None), "'channels' is missing"),
        (
            changed(*LATTICE, "channels", to=["X", {"label": "Y"}]),
            "'channels' has 1 items that are not JSON",
        ),
        (changed(*LATTICE, "secondary_dimensions", 0, "type", to=None), "'temperature' has no type"),
        (changed(*LATTICE, "secondary_dimensions", 0, "type", to="real"), "has the unknown type 'real'"),
        (changed(*LATTICE, "primary_dimensions", 0, "resolution", to=0), "'time' has no resolution"),
        (changed(*LATTICE, "primary_dimensions", 0, "resolution", to="200"), "'time' has no resolution"),
        (changed(*LATTICE, "primary_dimensions", 0, "resolution", to=10**400), "'time' has no resolution"),
    ],
)
def test_untidy_documents_are_read_with_a_warning(document: dict[str, Any], message: str) -> None:
    with pytest.warns(DatatypeWarning, match=message):
        datatype = parse_datatype(document, "odd.json")
    assert datatype.document == document
    assert datatype.layout is None or datatype.layout.dimensions  # type: ignore[union-attr]


def test_untidy_annotations() -> None:
    document = {
        "name": "beats",
        "datatype": {
            "sparse": {
                "dimensions": [{"label": "time", "units": "s"}],
                "format": {
                    "primary_dimensions": [{"label": "at", "primaryDimension": 2}],
                    "secondary_dimensions": [{"label": "at"}],
                },
            }
        },
    }
    with pytest.warns(DatatypeWarning) as caught:
        layout = parse_datatype(document).layout
    assert isinstance(layout, Sparse)
    assert layout.columns == (Column("at", "float", "s", "time"), Column("at 2", "text"))
    assert len(caught) == 3


@pytest.mark.parametrize(
    "text", ["[]", "3", "{", '{"name": "x"}', '{"datatype": ' + "[" * 9999 + "]" * 9999 + "}"]
)
def test_what_is_no_datatype_is_refused(text: str) -> None:
    with pytest.raises(InvalidDatapackError):
        parse_datatype(text, "x.json")


@given(json_values, json_values, json_values)
def test_anything_is_read_or_refused(one: Any, two: Any, three: Any) -> None:
    for document in (
        {"datatype": one, "name": two, "tags": three},
        {
            "datatype": {
                "lattice": {"primary_dimensions": one, "channels": two, "secondary_dimensions": [three]}
            }
        },
        {"datatype": {"lattice": {"channels": [{"label": one, "description": two}]}}},
        {
            "datatype": {
                "sparse": {"dimensions": [one], "format": {"primary_dimensions": [{"label": two}, three]}}
            }
        },
        {"datatype": {"sparse": {"format": one}}},
    ):
        datatype = parse_datatype(document)
        assert isinstance(datatype, Datatype)
        if isinstance(datatype.layout, Lattice):
            labels = [channel.label for channel in datatype.layout.channels]
            assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (lattice(), None),
        ({}, "'name' is missing"),
        (changed("tags", to="EMG, MYO"), "'tags' is 'EMG, MYO', not an array"),
        (
            changed(*LATTICE, "channels", 1, "label", to=None),
            "'datatype.lattice.channels.1.label' is missing",
        ),
    ],
)
def test_validation_names_what_is_wrong(document: dict[str, Any], problem: str | None) -> None:
    assert datatype_problems(document)[:1] == ([problem] if problem else [])
