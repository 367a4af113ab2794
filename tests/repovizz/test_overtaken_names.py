"""Changes act on the datapack that has the name now, whatever was known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.repovizz.api import data

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs import RepovizzFileSystem
    from tests.repovizz.api import Api

CHANGES: dict[str, Callable[[RepovizzFileSystem, str], Any]] = {
    "rm": lambda fs, pack: fs.rm(f"{pack}/a"),
    "rm of several": lambda fs, pack: fs.rm([f"{pack}/a", f"{pack}/b"]),
    "rm of a datapack": lambda fs, pack: fs.rm(pack, recursive=True),
    "mv": lambda fs, pack: fs.mv(f"{pack}/a", f"{pack}/moved"),
    "mv of a datapack": lambda fs, pack: fs.mv(pack, f"{pack} moved"),
    "cp": lambda fs, pack: fs.copy(f"{pack}/a", f"{pack}/copied"),
    "mkdir": lambda fs, pack: fs.mkdir(f"{pack}/folder"),
    "makedirs": lambda fs, pack: fs.makedirs(f"{pack}/folder", exist_ok=True),
}


@pytest.fixture
def first(fs: RepovizzFileSystem, name: str, api: Api) -> str:
    """The id of a datapack that the filesystem knows, and that another client then renames."""
    identifier = api.create(name, *(data(file, f"{file}.csv") for file in "ab"))
    fs.find(name)
    api.post(f"/datapacks/{identifier}", name=f"{name} renamed")
    return identifier


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_renamed_datapack_stays_as_it_is(
    change: Callable[[RepovizzFileSystem, str], Any], fs: RepovizzFileSystem, name: str, api: Api, first: str
) -> None:
    before = api.get(f"/datapacks/{first}")["structure"]
    if change in (CHANGES["mkdir"], CHANGES["makedirs"]):
        change(fs, name)  # makes the datapack, as for any name that is free
    else:
        with pytest.raises(FileNotFoundError):
            change(fs, name)
    assert api.get(f"/datapacks/{first}")["structure"] == before
    assert api.get(f"/datapacks/{first}")["name"] == f"{name} renamed"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_one_that_has_the_name_now_is_changed(
    change: Callable[[RepovizzFileSystem, str], Any], fs: RepovizzFileSystem, name: str, api: Api, first: str
) -> None:
    second = api.create(name, *(data(file, f"{file}.csv") for file in "ab"))
    before = api.get(f"/datapacks/{second}")
    try:
        change(fs, name)
    except NotImplementedError:  # a server without extensions deletes no datapacks
        assert change is CHANGES["rm of a datapack"]
        return
    assert api.get(f"/datapacks/{first}")["structure"] == api.structure(first)
    assert len(api.structure(first)["children"]) == 2
    if change is CHANGES["rm of a datapack"]:
        assert second not in api.ids()
        assert first in api.ids()
    else:
        assert api.get(f"/datapacks/{second}") != before
