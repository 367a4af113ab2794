"""Tokens end, and are renewed once for all who use them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem
from rinofs.errors import AuthenticationError, CredentialsError
from rinofs.profiles import ProfileStore
from rinofs.repovizz.login.auth import RefreshingAuth
from rinofs.testing import Fault, live_server
from tests.repovizz.logins import stored_login
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.profiles import Profile
    from rinofs.testing import LiveServer

# Waits until the other process is ready too, then reads in 16 threads at once.
PROGRAM = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from rinofs import RepovizzFileSystem
fs = RepovizzFileSystem(max_concurrency=16)
print("ready", flush=True)
sys.stdin.readline()
together = threading.Barrier(16)
def read(_):
    together.wait()
    return fs._backend.client.account().username
with ThreadPoolExecutor(16) as executor:
    assert set(executor.map(read, range(16))) == {"rino"}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(tmp_path / "settings"))


@pytest.fixture
def profile(server: LiveServer, request: pytest.FixtureRequest) -> Profile:
    made = stored_login(server)
    server.reset()
    return made


def refreshes(server: LiveServer) -> list[int]:
    return [request.status for request in server.requests if request.path == "/oauth/token"]


def end(server: LiveServer, profile: Profile) -> Profile:
    """Have the server take the access token for an unknown one, without telling the store."""
    ended = replace(profile, token=f"{profile.token[:-1]}{'a' if profile.token[-1] != 'a' else 'b'}")
    ProfileStore().save(ended)
    return ended


def filesystem(*, knowing: bool = False, **options: Any) -> RepovizzFileSystem:
    RepovizzFileSystem.clear_instance_cache()
    import rinofs.fs.instances as module

    module._sessions._values.clear()
    fs = RepovizzFileSystem(**options)
    if not knowing:
        fs.invalidate_cache()
    return fs


def test_a_refused_token_is_renewed_and_kept(server: LiveServer, profile: Profile) -> None:
    end(server, profile)
    fs = filesystem()
    fs.ls("")
    assert refreshes(server) == [200]
    stored = ProfileStore().load("repovizz")
    assert stored is not None
    assert stored.token != profile.token
    assert stored.refresh_token not in {None, profile.refresh_token}
    fs.invalidate_cache()
    fs.ls("")
    assert refreshes(server) == [200]


def test_sixteen_threads_in_two_processes_renew_once(server: LiveServer, profile: Profile) -> None:
    end(server, profile)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for _ in range(2)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.close()
    assert [program.wait(PATIENCE) for program in programs] == [0, 0]
    assert refreshes(server) == [200]
    for program in programs:
        assert program.stdout is not None
        program.stdout.close()


def test_a_token_that_is_about_to_end_is_renewed_before(server: LiveServer, profile: Profile) -> None:
    ProfileStore().save(replace(profile, expires_at=time.time() - 1))
    filesystem().ls("")
    assert [request.status for request in server.requests if request.status == 401] == []
    assert refreshes(server) == [200]


def test_the_clock_on_the_wall_does_not_matter_once_a_token_is_there(
    server: LiveServer, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    auth = RefreshingAuth(profile, clock=lambda: now)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    first = auth.header()
    assert refreshes(server) == []
    now += 3590
    assert auth.header() != first
    assert refreshes(server) == [200]


def test_renewal_in_the_middle_of_a_transfer(server: LiveServer, profile: Profile, tmp_path: Path) -> None:
    fs = filesystem(max_concurrency=4)
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text(str(number))
    fs.mkdir("transfer")
    revoked = threading.Event()

    def refuse_once_in_a_while(method: str, path: str) -> Fault | None:
        if path.endswith("/content") and not revoked.is_set() and len(server.requests) > 12:
            revoked.set()
            return Fault(status=401)
        return None

    server.faults = refuse_once_in_a_while
    fs.put([str(tmp_path / f"{n}.txt") for n in range(12)], [f"transfer/{n}.txt" for n in range(12)])
    assert revoked.is_set()
    assert refreshes(server) == [200]
    assert fs.cat("transfer", recursive=True) == {f"transfer/{n}.txt": str(n).encode() for n in range(12)}


def test_renewal_in_the_middle_of_a_file(server: LiveServer, profile: Profile) -> None:
    content = os.urandom(3 * 1024 * 1024)
    fs = filesystem()
    fs.pipe_file("reading/a.bin", content)
    with fs.open("reading/a.bin", block_size=256 * 1024, cache_type="none") as file:
        read = file.read(1024 * 1024)
        server.reset()
        left = [1]
        server.faults = lambda _method, path: (
            Fault(status=401) if "/content/" in path and left and left.pop() else None
        )
        while piece := file.read(512 * 1024):
            read += piece
    assert not left
    assert read == content
    assert refreshes(server) == [200]


def test_a_login_that_has_ended_says_to_log_in_again(server: LiveServer, profile: Profile) -> None:
    ProfileStore().save(replace(end(server, profile), refresh_token="rino_no-such-token"))
    with pytest.raises(CredentialsError, match="rinofs login repovizz --endpoint-url http") as caught:
        filesystem().ls("")
    assert isinstance(caught.value, PermissionError)
    assert profile.token not in str(caught.value)
    assert "no-such-token" not in str(caught.value)


def test_a_new_login_by_hand_is_found(server: LiveServer, profile: Profile) -> None:
    end(server, profile)
    fs = filesystem()
    fresh = stored_login(server)
    server.reset()
    fs.ls("")
    assert refreshes(server) == []
    assert fs._backend.session._shared.auth.header() == f"Bearer {fresh.token}"


def test_what_was_known_is_kept_over_a_renewal(server: LiveServer, profile: Profile) -> None:
    fs = filesystem()
    fs.pipe_file("kept/a.txt", b"1")
    fs.cat_file("kept/a.txt")
    end(server, profile)
    again = filesystem(knowing=True)
    server.reset()
    assert again.cat_file("kept/a.txt") == b"1"
    assert server.requests == []


def test_a_token_without_a_refresh_token_is_just_refused(server: LiveServer, profile: Profile) -> None:
    ProfileStore().save(replace(end(server, profile), refresh_token=None, expires_at=None))
    with pytest.raises(AuthenticationError):
        filesystem().ls("")
    assert refreshes(server) == []


def test_threads_that_are_refused_later_do_not_renew_again(server: LiveServer, profile: Profile) -> None:
    auth = RefreshingAuth(end(server, profile))
    refused = auth.header()
    with ThreadPoolExecutor(16) as executor:
        assert all(executor.map(lambda _: auth.renew(refused), range(32)))
    assert refreshes(server) == [200]
    assert auth.renew(refused)
    assert refreshes(server) == [200]


def test_no_token_shows(server: LiveServer, profile: Profile) -> None:
    auth = RefreshingAuth(profile)
    assert profile.token not in repr(auth)
    with pytest.raises(TypeError):
        auth.__reduce__()
