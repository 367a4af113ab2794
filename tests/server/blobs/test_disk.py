from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from rinofs.protocol.digests import PART_SIZE
from rinofs.server.blobs.disk import DiskBlobStore, UnsuitableDiskError
from rinofs.server.blobs.store import Blob, digests_of
from rinofs.server.errors import InsufficientStorage, Unavailable

MIB = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> DiskBlobStore:
    return DiskBlobStore(root)


def store(blobs: DiskBlobStore, content: bytes, step: int = MIB, *, sha1: bool = False) -> Blob:
    with blobs.new_upload(sha1=sha1, sha256=True) as upload:
        for start in range(0, len(content), step):
            upload.write(content[start : start + step])
        return upload.finish()


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "size", [0, 1, 9, 65_535, 65_536, 3 * MIB + 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE]
)
def test_a_content_comes_back_with_its_digests(blobs: DiskBlobStore, root: Path, size: int) -> None:
    content = os.urandom(size)
    blob = store(blobs, content, sha1=True)
    parts = [hashlib.md5(content[i : i + PART_SIZE]).digest() for i in range(0, size, PART_SIZE)]
    assert blob == Blob(
        key=f"b3/{blake3(content).hexdigest()}",
        blake3=blake3(content).hexdigest(),
        sha256=hashlib.sha256(content).hexdigest(),
        etag=f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}",
        size=size,
        taken_sha1=hashlib.sha1(content).hexdigest(),
    )
    assert store(blobs, content) == replace(blob, taken_sha1=None)
    with blobs.open_range(blob.key, size) as file:
        assert file.read() == content
    assert files_below(root) == [blobs.local_path(blob.key)]


def test_a_sha1_that_nobody_asked_for_is_not_made_up(blobs: DiskBlobStore) -> None:
    with pytest.raises(ValueError, match="not taken"):
        _ = store(blobs, b"content").sha1


def test_the_example_of_the_protocol_has_its_etag(blobs: DiskBlobStore) -> None:
    assert store(blobs, b"1\n2\n3\n4\n5").etag == "fe743783afdf86af96aac1781ceff960-1"


def test_a_buffer_may_be_reused_after_a_write(blobs: DiskBlobStore) -> None:
    buffer = bytearray(MIB)
    with blobs.new_upload() as upload:
        for byte in range(5):
            buffer[:] = bytes([byte]) * MIB
            upload.write(memoryview(buffer))
        blob = upload.finish()
    content = b"".join(bytes([byte]) * MIB for byte in range(5))
    assert blob.blake3 == blake3(content).hexdigest()
    assert blobs.local_path(blob.key).read_bytes() == content


def test_one_content_is_kept_once(blobs: DiskBlobStore, root: Path) -> None:
    first = store(blobs, b"same")
    assert store(blobs, b"same", step=1) == first
    assert files_below(root) == [blobs.local_path(first.key)]


def test_another_upload_of_a_content_changes_no_file_that_somebody_has(
    blobs: DiskBlobStore, tmp_path: Path
) -> None:
    blob = store(blobs, b"content")
    path, backup = blobs.local_path(blob.key), tmp_path / "backup"
    os.link(path, backup)
    path.write_bytes(b"CONTENT")
    with blobs.open_range(blob.key, blob.size) as reader:
        assert reader.read(3) == b"CON"
        store(blobs, b"content")
        assert reader.read() == b"TENT"
    assert (path.read_bytes(), backup.read_bytes()) == (b"content", b"CONTENT")


def damage(content: bytes, how: str) -> bytes:
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    return {"flipped": flipped, "shortened": content[:-1], "lengthened": content + b"x", "emptied": b""}[how]


DAMAGES = ["flipped", "shortened", "lengthened", "emptied"]


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("size", [1, 3 * MIB])
def test_a_damaged_content_that_is_kept_is_replaced_before_an_upload_ends(
    blobs: DiskBlobStore, root: Path, size: int, how: str
) -> None:
    content = os.urandom(size)
    blob = store(blobs, content)
    path = blobs.local_path(blob.key)
    uploading = threading.Thread(target=store, args=(blobs, content))
    with blobs.keep(blob.key, size) as whole:
        assert whole
        path.write_bytes(damage(content, how))
        uploading.start()
    uploading.join()
    assert path.read_bytes() == content
    assert files_below(root) == [path]


@pytest.mark.parametrize("how", DAMAGES)
def test_many_uploads_of_damaged_contents_at_once_repair_them(
    blobs: DiskBlobStore, root: Path, how: str
) -> None:
    """Each upload, alone or of many contents in any order, finds all of its contents whole at its end."""
    other = DiskBlobStore(root)
    contents = [bytes([number]) * 100 for number in range(12)]
    for content in contents:
        blobs.local_path(store(blobs, content).key).write_bytes(damage(content, how))
    start, failures = threading.Barrier(8), list[object]()

    def upload(seed: int) -> None:
        of = (blobs, other)[seed % 2]
        mine = random.Random(seed).sample(contents, len(contents))
        try:
            start.wait()
            if seed < 4:
                with of.write_many({digests_of(content): content for content in mine}) as stored:
                    check({digests.blake3: blob for digests, blob in stored.items()}, mine)
                return
            for content in mine:
                with of.new_upload() as one:
                    one.write(content)
                    blob = one.finish()
                    check({blob.blake3: blob}, [content])
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    def check(stored: dict[str, Blob], mine: list[bytes]) -> None:
        for content in mine:
            key = stored[blake3(content).hexdigest()].key
            assert blobs.local_path(key).read_bytes() == content
            assert not blobs.remove_unless(key, lambda _: False)

    threads = [threading.Thread(target=upload, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(path.read_bytes() for path in files_below(root)) == sorted(contents)


def test_what_an_earlier_version_stored_is_read_kept_and_removed(blobs: DiskBlobStore, root: Path) -> None:
    key = hashlib.sha256(b"before").hexdigest()
    path = root / "contents" / key[:2] / key
    path.parent.mkdir()
    path.write_bytes(b"before")
    new = store(blobs, b"before")
    assert dict(blobs.stored()) == {key: 6, new.key: 6}
    assert blobs.local_path(key) == path
    with blobs.open_range(key, 6) as file:
        assert file.read() == b"before"
    assert blobs.verify(key).problem_of(blake3=new.blake3, sha256=new.sha256) is None
    with blobs.keep(key, 6) as whole:
        assert whole
        assert blobs.collect(lambda keys: {new.key} & set(keys)).blobs == 0
    assert blobs.collect(lambda keys: {key} & set(keys)).blobs == 1
    assert files_below(root) == [path]
    blobs.remove([key], lambda _: set())
    assert files_below(root) == []


@pytest.mark.parametrize("size", [0, 3_000, 3 * MIB])
@pytest.mark.parametrize("together", [False, True])
def test_what_is_known_takes_the_same_work_as_what_is_not(
    blobs: DiskBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch, size: int, together: bool
) -> None:
    """Else the time of an upload would tell whether somebody else has the same content."""
    done: list[str] = []

    def noted(name: str) -> None:
        function = getattr(os, name)

        def noting(*args: Any, **options: Any) -> Any:
            done.append(name)
            return function(*args, **options)

        monkeypatch.setattr(os, name, noting)

    def work(content: bytes) -> Counter[str]:
        done.clear()
        if together:
            with blobs.write_many({digests_of(content): content}):
                pass
        else:
            store(blobs, content)
        return Counter(done)

    store(blobs, b"x")  # of which the folder is made, and those of others
    content = os.urandom(size)
    blobs.make_folders([blobs.local_path(f"b3/{blake3(content).hexdigest()}").parent])
    for name in ("fsync", "link"):
        noted(name)
    fresh = work(content)
    assert fresh == {"fsync": 2, "link": 1}
    assert work(content) == fresh
    assert len(files_below(root)) == 2


def test_giving_up_leaves_nothing(blobs: DiskBlobStore, root: Path) -> None:
    with blobs.new_upload() as upload:
        upload.write(b"x" * MIB)
        assert files_below(root)
    assert files_below(root) == []


def test_a_content_is_synced_before_it_has_its_name_and_its_name_before_it_is_acknowledged(
    blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        seen.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().parent.name)
        sync(descriptor)

    def linked(source: Path, target: Path) -> None:
        seen.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", linked)
    store(blobs, b"durable")
    # The folder of the first two digits is new, so it is made known in its own folder first.
    assert seen == ["sync blobs", "sync temporary", "link", "sync b3"]
    seen.clear()
    store(blobs, b"durable")
    assert seen == ["sync temporary", "link", "sync b3"]


def test_a_folder_that_another_upload_made_is_made_known_too(
    blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever made it may still be about to, or was killed before.
    blobs.local_path(f"b3/{blake3(b'durable').hexdigest()}").parent.mkdir()
    seen: list[str] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store(blobs, b"durable")
    assert "b3" in seen


def test_a_shortened_content_is_refused_until_the_next_upload(blobs: DiskBlobStore) -> None:
    blob = store(blobs, b"whole content")
    os.truncate(blobs.local_path(blob.key), 5)
    with pytest.raises(Unavailable, match=r"damaged"):
        blobs.open_range(blob.key, blob.size)
    assert store(blobs, b"whole content") == blob
    assert blobs.local_path(blob.key).read_bytes() == b"whole content"


def test_a_missing_content_is_an_answer(blobs: DiskBlobStore) -> None:
    with pytest.raises(Unavailable):
        blobs.open_range("0" * 64, 1)


@pytest.mark.parametrize("size", [100, MIB])
def test_a_full_disk_is_an_answer_and_leaves_nothing(blobs: DiskBlobStore, root: Path, size: int) -> None:
    with blobs.new_upload() as upload:
        upload._file.close()
        upload._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        with pytest.raises(InsufficientStorage):
            upload.write(b"x" * size)
    assert files_below(root) == []


def test_a_content_stays_until_the_upload_lets_go_of_it(blobs: DiskBlobStore, root: Path) -> None:
    other = DiskBlobStore(root)
    with blobs.new_upload() as first, blobs.new_upload() as second:
        for upload in (first, second):
            upload.write(b"leased")
        key = first.finish().key
        assert second.finish().key == key
        assert not other.remove_unless(key, lambda _: False)
        first.release()
        assert not other.remove_unless(key, lambda _: False)
        second.release()
        assert not other.remove_unless(key, lambda _: True)
        assert other.remove_unless(key, lambda _: False)
        assert not other.remove_unless(key, lambda _: False)
    assert files_below(root) == []


CHILD = """
import sys
from pathlib import Path
from rinofs.server.blobs.disk import DiskBlobStore
upload = DiskBlobStore(Path(sys.argv[1])).new_upload()
upload.write(b"content of a process")
if sys.argv[2] == "finish":
    upload.finish()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("stage", ["write", "finish"])
def test_another_process_keeps_what_it_works_on_until_it_is_killed(
    blobs: DiskBlobStore, root: Path, stage: str
) -> None:
    command = [sys.executable, "-c", CHILD, str(root), stage]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert blobs.remove_abandoned() == 0
        stored = list(blobs.stored())
        assert len(stored) == (stage == "finish")
        assert not any(blobs.remove_unless(key, lambda _: False) for key, _ in stored)
        child.kill()
    assert blobs.remove_abandoned() == (stage == "write")
    assert all(blobs.remove_unless(key, lambda _: False) for key, _ in stored)
    assert files_below(root) == []


@pytest.mark.parametrize(
    ("module", "name", "lacking"),
    [(os, "link", "hard links"), (fcntl, "flock", "flock"), (os, "fsync", "fsync")],
    ids=["link", "flock", "fsync"],
)
def test_a_disk_without_what_is_needed_is_named_at_the_start(
    root: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str, lacking: str
) -> None:
    DiskBlobStore(root).close()

    def unsupported(*_arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(module, name, unsupported)
    with pytest.raises(UnsuitableDiskError, match=f"{root}.*{lacking}"):
        DiskBlobStore(root)
    monkeypatch.undo()
    assert files_below(root) == []


def test_locks_that_hold_nobody_off_are_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DiskBlobStore(root).close()
    monkeypatch.setattr(fcntl, "flock", lambda _file, _kind: None)
    with pytest.raises(UnsuitableDiskError, match="other processes"):
        DiskBlobStore(root)


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "lost+found/", "contents/.nfs0001", "contents/ab/note.txt", "contents/zz/",
     "temporary/mine", "contents/ab/" + "c" * 64, "contents/README", "contents/ab/deeper/",
     "b3/.nfs0001", "b3/ab/note.txt", "b3/zz/", "b3/ab/" + "c" * 64, "b3/README", "b3/ab/deeper/"],
)  # fmt: skip
def test_foreign_files_are_left_alone(blobs: DiskBlobStore, root: Path, name: str) -> None:
    kept, gone = store(blobs, b"kept"), store(blobs, b"gone")
    foreign = root / name
    if name.endswith("/"):
        foreign.mkdir(parents=True)
    else:
        foreign.parent.mkdir(exist_ok=True)
        foreign.write_bytes(b"foreign")
    assert dict(blobs.stored()) == {kept.key: kept.size, gone.key: gone.size}
    collected = blobs.collect(lambda keys: {kept.key} & set(keys))
    assert (collected.blobs, collected.bytes, collected.temporary) == (1, gone.size, 0)
    assert foreign.exists()
    assert dict(blobs.stored()) == {kept.key: kept.size}
