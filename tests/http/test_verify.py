"""Digests beside the transfer: right ones pass, wrong ones raise, buffers are never mixed up."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs.errors import ContentMismatchError
from rinofs.http.content.buffers import PIECE, new_buffer
from rinofs.http.content.verify import INLINE, SideDigests, Verifier
from rinofs.protocol.digests import BLAKE3, DIGESTS, PART_SIZE, SHA256, EtagHasher, new_hasher, repr_digest
from tests.campaign import rounds
from tests.forks import in_child
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [0, 1, 1000, INLINE, INLINE + 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE + 12345]


def _data(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _etag(data: bytes) -> str:
    hasher = EtagHasher()
    hasher.update(data)
    return hasher.etag()


def _digest(data: bytes, name: str) -> str:
    hasher = new_hasher(name)
    hasher.update(data)
    return hasher.hexdigest()


def _digest_header(data: bytes, *names: str) -> dict[str, str]:
    return {"repr-digest": "sha-512=:AAAA:, " + repr_digest({name: _digest(data, name) for name in names})}


def _feed_reused(verifier: Verifier, data: bytes, chance: random.Random) -> None:
    """Feed as a transfer does: through the verifier's own buffers, filled by any amount."""
    position = 0
    while position < len(data):
        view = verifier.buffer()
        count = min(chance.randint(1, len(view)), len(data) - position)
        view[:count] = data[position : position + count]
        verifier.feed(view[:count])
        position += count


def _feed_own(verifier: Verifier, data: bytes, chance: random.Random) -> None:
    """Feed from one buffer of the caller's that is overwritten each time."""
    own = bytearray(700_000)
    position = 0
    while position < len(data):
        count = min(chance.randint(1, len(own)), len(data) - position)
        own[:count] = data[position : position + count]
        verifier.feed(memoryview(own)[:count] if chance.random() < 0.5 else own[:count])
        position += count
        own[:count] = bytes(count)


def _feed_bytes(verifier: Verifier, data: bytes, chance: random.Random) -> None:
    position = 0
    while position < len(data):
        piece = data[position : position + chance.randint(1, 2_000_000)]
        verifier.feed(piece, stable=chance.random() < 0.5)
        position += len(piece)


@pytest.mark.parametrize("feed", [_feed_reused, _feed_own, _feed_bytes])
@pytest.mark.parametrize("kind", [*DIGESTS, "etag"])
@pytest.mark.parametrize("size", SIZES)
def test_right_and_wrong_bytes(size: int, kind: str, feed: object) -> None:
    data = _data(size)
    headers = {} if kind == "etag" else _digest_header(data, kind)
    for wrong in (False, True):
        verifier = Verifier.for_response(headers, _etag(data), size, label="rino://a")
        assert verifier.checks == kind
        sent = bytearray(data)
        if wrong and size:
            sent[size // 2] ^= 1
        feed(verifier, bytes(sent), random.Random(size))  # type: ignore[operator]
        if wrong and size:
            with pytest.raises(ContentMismatchError, match=f"{kind}.*the service says"):
                verifier.finish()
        else:
            verifier.finish()
        verifier.abandon()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_count_of_bytes(change: int) -> None:
    data = _data(5000)
    verifier = Verifier.for_response({}, None, 5000)
    assert verifier.checks is None
    verifier.feed(data[:change] if change < 0 else data + b"x")
    with pytest.raises(ContentMismatchError, match=f"received {5000 + change} bytes instead of 5000"):
        verifier.finish()


@pytest.mark.parametrize(
    ("etag", "size"),
    [
        (None, 10),
        ("abc", 10),
        ("0" * 32, 10),
        ("0" * 32 + "-2", 10),
        ("0" * 32 + "-1", None),
        ("0" * 32 + "-0", 1),
        ("G" * 32 + "-1", 10),
    ],
)
def test_etags_that_say_nothing_of_the_bytes(etag: str | None, size: int | None) -> None:
    assert Verifier.for_response({}, etag, size).checks is None


def test_the_best_digest_is_compared_whatever_the_others_say() -> None:
    data = b"abc"
    wrong = {**dict.fromkeys(DIGESTS, "0" * 64), BLAKE3: _digest(data, BLAKE3)}
    verifier = Verifier.for_response({"repr-digest": repr_digest(wrong)}, _etag(data), len(data))
    assert verifier.checks == BLAKE3
    verifier.feed(data)
    verifier.finish()


@pytest.mark.parametrize("value", ["", "blake3=:AAAA:", "sha-256=abc", "sha-512=:AAAA:", "md5=:x:"])
def test_without_a_usable_digest_the_etag_is_compared(value: str) -> None:
    assert Verifier.for_response({"repr-digest": value}, _etag(b"abc"), 3).checks == "etag"


@settings(max_examples=rounds(20, 200), deadline=None)
@given(
    pieces=st.lists(st.integers(0, 3_000_000), max_size=12),
    name=st.sampled_from([None, *DIGESTS]),
    etag=st.booleans(),
    known=st.booleans(),
)
def test_digests_of_any_pieces(pieces: list[int], name: str | None, etag: bool, known: bool) -> None:
    data = _data(sum(pieces))
    digests = SideDigests(name, etag=etag, size=len(data) if known else None)
    position = 0
    for count in pieces:
        digests.feed(memoryview(data)[position : position + count], stable=True)
        position += count
    expected = (_digest(data, name) if name else None, _etag(data) if etag else None)
    assert digests.finish() == expected


def test_abandoned_and_forgotten_ones_leave_no_thread() -> None:
    before = set(threading.enumerate())
    data = _data(4_000_000)
    for number in range(30):
        verifier = Verifier.for_response({}, _etag(data), len(data))
        _feed_reused(verifier, data[: 100_000 * number], random.Random(number))
        if number % 3 == 0:
            verifier.abandon()
            verifier.abandon()
        elif number % 3 == 1:
            verifier.feed(data[100_000 * number :])
            verifier.finish()
        del verifier
    started = set(threading.enumerate()) - before
    wait_until(lambda: not any(thread.name == "rinofs-transfer" and thread.is_alive() for thread in started))


@pytest.mark.parametrize("kind", [*DIGESTS, "etag"])
@pytest.mark.parametrize("fed", [0, 1000, 3_000_000])
def test_a_child_that_goes_on_compares_what_it_can(kind: str, fed: int) -> None:
    data = _data(2 * PART_SIZE)
    headers = {} if kind == "etag" else _digest_header(data, kind)
    for wrong in (False, True):
        sent = data[:-1] + b"x" if wrong else data
        verifier = Verifier.for_response(headers, _etag(data), len(data), passing=True)
        _feed_bytes(verifier, sent[:fed], random.Random(fed))

        def finish(verifier: Verifier = verifier, sent: bytes = sent) -> None:
            _feed_bytes(verifier, sent[fed:], random.Random(fed))
            verifier.finish()

        def in_the_child(wrong: bool = wrong, finish: Callable[[], None] = finish) -> None:
            # What a thread of the parent has hashed is not known here.
            if wrong and (kind == BLAKE3 or not fed):
                with pytest.raises(ContentMismatchError):
                    finish()
            else:
                finish()

        assert in_child(in_the_child) == 0
        assert in_child(verifier.abandon) == 0
        if wrong:
            with pytest.raises(ContentMismatchError):
                finish()
        else:
            finish()


@pytest.mark.parametrize("feed", [True, False])
def test_a_child_counts_the_bytes_in_any_case(feed: bool) -> None:
    data = _data(PART_SIZE)
    verifier = Verifier.for_response({}, _etag(data), len(data))
    verifier.feed(data[:1000])

    def finish() -> None:
        verifier.feed(data[1000:-1] if feed else b"")
        with pytest.raises(ContentMismatchError, match="bytes instead of"):
            verifier.finish()

    assert in_child(finish) == 0
    verifier.abandon()


def test_many_at_once_share_what_buffers_there_are() -> None:
    data = _data(3 * PART_SIZE)

    def work(seed: int) -> None:
        headers = _digest_header(data, *[BLAKE3, SHA256][seed % 2 :]) if seed % 3 else {}
        verifier = Verifier.for_response(headers, _etag(data), len(data))
        _feed_reused(verifier, data, random.Random(seed))
        verifier.finish()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(24)))


def test_buffers_start_at_a_page_and_belong_to_one_process() -> None:
    views = [new_buffer(size) for size in (1, mmap.PAGESIZE, PIECE)]
    assert [len(view) for view in views] == [1, mmap.PAGESIZE, PIECE]
    for view in views:
        assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % mmap.PAGESIZE == 0
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            views[0][:] = b"x"
            os._exit(0)
        os.waitpid(child, 0)
    assert bytes(views[0]) == b"\0"


def _feed_and_write(verifier: Verifier, data: bytes, write: Callable[[memoryview], object]) -> None:
    chance = random.Random(len(data))
    position = 0
    while position < len(data):
        view = verifier.buffer()
        count = min(chance.randint(1, len(view)), len(data) - position)
        view[:count] = data[position : position + count]
        verifier.feed(view[:count], write=write)
        position += count


@pytest.mark.parametrize("kind", [BLAKE3, SHA256, "etag", "nothing"])
@pytest.mark.parametrize("size", [1, INLINE, INLINE + 1, 2 * PART_SIZE + 12345])
def test_a_thread_writes_what_is_hashed(size: int, kind: str) -> None:
    data, written = _data(size), bytearray()
    for expected in (data, data[:-1] + bytes([data[-1] ^ 1])):
        headers = _digest_header(expected, kind) if kind in DIGESTS else {}
        etag = _etag(expected) if kind == "etag" else None
        told = len(data) + (kind == "nothing" and expected != data)
        verifier = Verifier.for_response(headers, etag, told, passing=True, write_thread=True)
        written.clear()
        _feed_and_write(verifier, data, written.extend)
        if expected == data:
            verifier.finish()
            assert written == data
        else:
            with pytest.raises(ContentMismatchError):
                verifier.finish()


@pytest.mark.parametrize("failing", range(1, 14, 4))
def test_the_error_of_a_write_is_raised_and_nothing_is_written_after_it(failing: int) -> None:
    data, calls = _data(2 * PART_SIZE), []

    def write(piece: memoryview) -> None:
        calls.append(len(piece))
        if len(calls) == failing:
            raise OSError(28, "No space left on device")

    verifier = Verifier.for_response(_digest_header(data, BLAKE3), None, len(data), write_thread=True)

    def transfer() -> None:
        _feed_and_write(verifier, data, write)
        verifier.finish()

    with pytest.raises(OSError, match="No space"):
        transfer()
    verifier.abandon()
    assert len(calls) == failing


def test_nothing_is_written_any_more_after_abandoning() -> None:
    data, written, began, go_on = _data(PART_SIZE), bytearray(), threading.Event(), threading.Event()

    def write(piece: memoryview) -> None:
        began.set()
        go_on.wait(60)
        written.extend(piece)

    verifier = Verifier.for_response({}, None, len(data), write_thread=True)
    verifier.feed(data[: 2 * INLINE], write=write)
    verifier.feed(data[2 * INLINE :], write=write)
    began.wait(60)
    abandoning = threading.Thread(target=verifier.abandon)
    abandoning.start()
    assert not written
    go_on.set()
    abandoning.join()
    assert written == data
