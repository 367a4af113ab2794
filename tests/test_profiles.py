"""The store of logins, with real files and processes."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from rinofs.errors import CredentialsError, InvalidOptionError
from rinofs.profiles import Profile, ProfileStore
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = {"token": "tok-canary", "refresh_token": "ref-canary", "client_secret": "cli-canary"}


def a_profile(**changes: object) -> Profile:
    whole = Profile(
        "rino", "default", "https://lab.example:8440/", "ada", expires_at=1e9, client_id="c1", **SECRETS
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore(tmp_path / "config" / "profiles.json")


def test_what_was_saved_is_loaded(store: ProfileStore) -> None:
    store.save(a_profile())
    assert ProfileStore(store.path).load("rino") == a_profile()


def test_what_is_not_there_is_none(store: ProfileStore) -> None:
    assert store.load("rino") is None
    store.save(a_profile())
    assert store.load("rino", "other") is None
    assert store.load("repovizz") is None


def test_services_and_names_are_apart(store: ProfileStore) -> None:
    for service, name in [("rino", "default"), ("rino", "lab"), ("repovizz", "default")]:
        store.save(a_profile(service=service, name=name, username=f"{service}-{name}"))
    assert store.names("rino") == ["default", "lab"]
    lab = store.load("rino", "lab")
    assert lab is not None
    assert lab.username == "rino-lab"
    assert store.remove("rino", "lab")
    assert not store.remove("rino", "lab")
    assert store.names("rino") == ["default"]
    assert store.names("repovizz") == ["default"]


def test_only_the_owner_can_read_the_file(store: ProfileStore) -> None:
    old = os.umask(0)
    try:
        store.save(a_profile())
        store.save(a_profile(name="second"))
    finally:
        os.umask(old)
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_open_to_others_is_reported_without_its_content(
    store: ProfileStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(a_profile())
    store.path.chmod(0o644)
    with caplog.at_level(logging.DEBUG, "rinofs"):
        assert store.load("rino") is not None
    assert "chmod 600" in caplog.text
    assert "canary" not in caplog.text


def test_secrets_are_in_no_repr_and_no_pickle() -> None:
    profile = a_profile()
    assert "canary" not in repr(profile) + str(profile)
    assert "lab.example" in repr(profile)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(profile)


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ("https://lab.example:8440", True),
        ("HTTPS://LAB.example:8440//", True),
        ("http://lab.example:8440", False),
        ("https://lab.example", False),
        ("https://lab.example:8441", False),
        ("https://lab.example:8440/other", False),
        ("https://lab.example.evil.org:8440", False),
    ],
)
def test_a_token_belongs_to_one_endpoint(asked: str, same: bool) -> None:
    assert a_profile().is_for(asked) is same


def test_a_default_port_may_be_left_out() -> None:
    assert a_profile(endpoint_url="https://rinocloud.com").is_for("https://rinocloud.com:443/")


@pytest.mark.parametrize(
    "changes",
    [
        {"service": "dropbox"},
        {"name": ""},
        {"name": "a/b"},
        {"name": "x" * 65},
        {"token": ""},
        {"endpoint_url": "lab.example"},
        {"endpoint_url": "ftp://lab.example"},
        {"endpoint_url": "https://"},
        {"endpoint_url": "https://lab.example:port"},
        {"endpoint_url": "https://ada:pw-canary@lab.example"},
        {"endpoint_url": "https://lab.example/?token=x"},
    ],
)
def test_a_profile_that_cannot_be_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        a_profile(**changes)
    assert "canary" not in str(refused.value)


DAMAGED = {
    "cut": '{"version": 1, "profiles": {"rino": {"default": {"token": "tok-canary", "endp',
    "binary": b"\xff\xfe\x00tok-canary",
    "empty": "",
    "list": "[]",
    "newer": '{"version": 2, "logins": "tok-canary"}',
    "no profiles": '{"version": 1, "profiles": "tok-canary"}',
    "not named": '{"version": 1, "profiles": {"rino": ["tok-canary"]}}',
    "no token": '{"version": 1, "profiles": {"rino": {"default": {"endpoint_url": "https://a.b"}}}}',
    "odd values": '{"version": 1, "profiles": {"rino": {"default": {"endpoint_url": 3, "token": "canary"}}}}',
    "not an entry": '{"version": 1, "profiles": {"rino": {"default": "tok-canary"}}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_an_error_that_shows_no_secret(store: ProfileStore, content: str | bytes) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CredentialsError) as failed:
        store.load("rino")
    assert failed.value.filename == str(store.path)
    assert "log in again" in failed.value.message
    assert "canary" not in "".join(map(str, [failed.value, failed.value.__cause__]))


@pytest.mark.parametrize(
    "case", [name for name in DAMAGED if name not in {"no token", "odd values", "not an entry"}]
)
def test_a_damaged_file_is_left_as_it_is(store: ProfileStore, case: str) -> None:
    content = DAMAGED[case]
    before = content if isinstance(content, bytes) else content.encode()
    store.path.parent.mkdir()
    store.path.write_bytes(before)
    with pytest.raises(CredentialsError):
        store.save(a_profile())
    assert store.path.read_bytes() == before


def test_one_bad_entry_leaves_the_others_usable(store: ProfileStore) -> None:
    store.save(a_profile(name="good"))
    document = json.loads(store.path.read_text())
    document["profiles"]["rino"]["bad"] = "?"
    document["profiles"]["future"] = {"x": {"kept": True}}
    document["note"] = "kept"
    store.path.write_text(json.dumps(document))
    store.save(a_profile(name="more"))
    assert store.load("rino", "good") is not None
    after = json.loads(store.path.read_text())
    assert after["note"] == "kept"
    assert after["profiles"]["future"] == {"x": {"kept": True}}
    assert after["profiles"]["rino"]["bad"] == "?"


def test_a_link_to_the_file_stays_a_link(store: ProfileStore, tmp_path: Path) -> None:
    link = tmp_path / "linked.json"
    link.symlink_to(store.path)
    ProfileStore(link).save(a_profile())
    assert link.is_symlink()
    assert store.load("rino") == a_profile()


def test_the_folder_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(tmp_path / "here"))
    ProfileStore().save(a_profile())
    assert (tmp_path / "here" / "profiles.json").exists()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CredentialsError, match="RINOFS_CONFIG_DIR"):
        ProfileStore(tmp_path / "file" / "profiles.json").save(a_profile())


SAVE_MANY = """
import sys
from pathlib import Path
from rinofs.profiles import Profile, ProfileStore
store = ProfileStore(Path(sys.argv[1]))
for n in range(20):
    store.save(Profile("rino", f"{sys.argv[2]}-{n}", "https://lab.example", token="t"))
"""


def test_processes_that_save_at_once_lose_nothing(store: ProfileStore) -> None:
    savers = [
        subprocess.Popen([sys.executable, "-c", SAVE_MANY, str(store.path), f"p{number}"])
        for number in range(4)
    ]
    while any(saver.poll() is None for saver in savers):
        store.names("rino")  # a reader never sees half a file
    assert [saver.returncode for saver in savers] == [0] * 4
    assert set(store.names("rino")) == {f"p{p}-{n}" for p in range(4) for n in range(20)}


HOLD = """
import sys
from pathlib import Path
from rinofs.profiles import ProfileStore
with ProfileStore(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_lock_keeps_others_out_and_ends_with_its_holder(store: ProfileStore) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    entered = threading.Event()

    def save() -> None:
        store.save(a_profile())
        entered.set()

    waiting = threading.Thread(target=save)
    waiting.start()
    assert not entered.wait(0.3)
    assert store.load("rino") is None  # reading does not wait
    holder.kill()
    holder.communicate()
    assert entered.wait(PATIENCE)
    waiting.join()


def test_the_lock_may_be_entered_again_by_its_holder_only(store: ProfileStore) -> None:
    entered = threading.Event()

    def enter() -> None:
        with store.locked():
            entered.set()

    with store.locked():
        with store.locked():
            store.save(a_profile())
        other = threading.Thread(target=enter)
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(PATIENCE)
    other.join()


DIE_WRITING = """
import os, sys
from pathlib import Path
from rinofs.profiles import Profile, ProfileStore

def die(descriptor):
    os._exit(9)
os.fsync = die
ProfileStore(Path(sys.argv[1])).save(Profile("rino", "new", "https://lab.example", token="t"))
"""


def test_a_killed_writer_leaves_the_old_file_and_its_remains_go_with_the_next(store: ProfileStore) -> None:
    store.save(a_profile())
    died = subprocess.run([sys.executable, "-c", DIE_WRITING, str(store.path)], check=False)
    assert died.returncode == 9
    assert len(list(store.path.parent.glob("*.tmp")) + list(store.path.parent.glob(".*.tmp"))) > 0
    assert store.names("rino") == ["default"]
    store.save(a_profile(name="next"))
    assert store.names("rino") == ["default", "next"]
    assert {entry.name for entry in store.path.parent.iterdir()} == {"profiles.json", "profiles.json.lock"}
