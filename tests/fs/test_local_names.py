"""Names of files on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rinofs.fs.transfer.local_names import LocalNames, NameRules
from tests.fs.dict_backend import DictFileSystem

POSIX = NameRules(windows=False, folds_case=False)
MAC = NameRules(windows=False, folds_case=True)
WINDOWS = NameRules(windows=True, folds_case=True)
ACCENTS = NameRules(windows=False, folds_case=False, normalizes=True)
ALL = [POSIX, MAC, WINDOWS, ACCENTS]
NAMES = ["posix", "mac", "windows", "accents"]


@pytest.mark.parametrize(
    "name", ["a.csv", "con", "a:b", "x" * 255, "ü" * 127, ".hidden", "a\\b", " ", "é", "#?%"]
)
def test_what_posix_holds(name: str) -> None:
    assert POSIX.can_hold(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256, "ü" * 128, "\ud800"])
def test_what_nobody_holds(name: str) -> None:
    assert not POSIX.can_hold(name)
    assert not WINDOWS.can_hold(name)


@pytest.mark.parametrize(
    "name",
    [
        "con",
        "Aux.txt",
        "COM1",
        "lpt9.csv",
        "nul.tar.gz",
        "a:b",
        "a\\b",
        "a?",
        "a ",
        "a.",
        "a\x01",
        "<",
        "COM²",
    ],
)
def test_what_windows_does_not_hold(name: str) -> None:
    assert not WINDOWS.can_hold(name)
    assert WINDOWS.can_hold(WINDOWS.substitute(name))


@pytest.mark.parametrize("name", ["console", "com", "com10", "auxiliary.txt", "nulls.csv", "a b.c"])
def test_what_windows_holds(name: str) -> None:
    assert WINDOWS.can_hold(name)


def test_a_substitute_keeps_what_it_can() -> None:
    made = WINDOWS.substitute("run: 1?.csv")
    assert made.startswith("run_ 1_~")
    assert made.endswith(".csv")
    assert made == WINDOWS.substitute("run: 1?.csv")
    assert made != WINDOWS.substitute("run_ 1_.csv")


@given(st.text(min_size=1, max_size=300))
@pytest.mark.parametrize("rules", ALL, ids=NAMES)
def test_any_name_gets_one_that_can_be_held(rules: NameRules, name: str) -> None:
    assert rules.can_hold(rules.substitute(name))


paths = st.lists(
    st.lists(
        st.sampled_from(["a", "A", "é", "e\u0301", "É", "\u017f", "s", "ß", "ss", "con", "CON", "..", "x:y"]),
        min_size=1,
        max_size=3,
    ).map("/".join),
    unique=True,
    max_size=12,
)


@given(paths)
@pytest.mark.parametrize("rules", ALL, ids=NAMES)
def test_no_two_paths_become_one(rules: NameRules, relatives: list[str]) -> None:
    names = LocalNames(rules)
    made = [names.path(relative) for relative in relatives]
    assert len({rules.key(path) for path in made}) == len(relatives)
    assert [names.path(relative) for relative in relatives] == made
    for path in made:
        assert all(rules.can_hold(part) for part in path.split("/"))


def test_what_fits_stays_and_what_does_not_is_remembered() -> None:
    names = LocalNames(MAC)
    made = [names.path(path) for path in ["run/a", "run/A", "run/b", "RUN/b"]]
    assert [made[0], made[2]] == ["run/a", "run/b"]
    assert list(names.renamed) == ["run/A", "RUN"]
    assert made[3] == f"{names.renamed['RUN']}/b"


def test_the_rules_are_found_by_trying(tmp_path: Path) -> None:
    rules = NameRules.of(tmp_path)
    (tmp_path / "Probe").touch()
    assert rules.folds_case == (tmp_path / "pROBE").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"Probe"}


def test_a_folder_that_takes_no_files_is_named() -> None:
    with pytest.raises(OSError, match=r"'/proc'$"):
        NameRules.of(Path("/proc"))


CONTENTS = {name: name.encode() for name in ("a", "A", "\u00e9", "e\u0301", "\u00c9", "x/b", "X/b", "X/B")}


@pytest.mark.parametrize("rules", ALL, ids=NAMES)
@pytest.mark.filterwarnings("ignore:some names")
def test_a_folder_is_downloaded_whole(
    rules: NameRules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every content arrives, under names that are different to the filesystem."""
    monkeypatch.setattr(NameRules, "of", classmethod(lambda _cls, _folder: rules))
    fs = DictFileSystem(token="t")
    fs.pipe({f"exp/{name}": content for name, content in CONTENTS.items()})
    for _ in range(2):  # the second time makes no other names
        fs.get("exp/", f"{tmp_path}/got", recursive=True)
    found = [path for path in (tmp_path / "got").rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in found) == sorted(CONTENTS.values())
    keys = {rules.key(str(path.relative_to(tmp_path))) for path in found}
    assert len(keys) == len(found)


@pytest.mark.parametrize("rules", [POSIX, MAC, ACCENTS], ids=["posix", "mac", "accents"])
def test_two_files_do_not_become_one(
    rules: NameRules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NameRules, "of", classmethod(lambda _cls, _folder: rules))
    fs = DictFileSystem(token="t")
    fs.pipe({"one/a": b"1", "other/a": b"2", "other/A": b"3"})
    with pytest.raises(FileExistsError, match="another file"):
        fs.get(["one/a", "other/a"], f"{tmp_path}/got/")
    assert not (tmp_path / "got").exists()
    pairs = ["one/a", "other/A"], [str(tmp_path / "\u00e9"), str(tmp_path / "e\u0301")]
    if rules.key("\u00e9") == rules.key("e\u0301"):
        with pytest.raises(FileExistsError, match="another file"):
            fs.get(*pairs)
    else:
        fs.get(*pairs)
        assert (tmp_path / "e\u0301").read_bytes() == b"3"
