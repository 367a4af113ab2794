"""Buckets that can be used, and those that cannot: each is refused within seconds, by one sentence."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from rinofs.server.blobs import checks
from rinofs.server.blobs.bucket import Bucket, parse_url
from rinofs.server.blobs.checks import PATIENCE, check_storage, open_bucket
from rinofs.server.blobs.store import BucketError
from tests.server.seaweed import READER, READER_SECRET, SECRET
from tests.server.store_proxy import StoreFault, store_proxy

if TYPE_CHECKING:
    from tests.server.seaweed import Seaweed

OWN, OTHER = "5e1f", "07e4"


def refused(url: str, message: str, *, fresh: bool = True) -> None:
    with pytest.raises(BucketError, match=message) as caught:
        open_bucket(url, OWN, fresh=fresh)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    assert READER_SECRET not in text


def test_a_store_that_can_do_all(s3_url: str) -> None:
    checks = list(check_storage(Bucket(s3_url)))
    assert [check.problem for check in checks] == [None] * 8
    assert {check.name for check in checks} > {"PUT with a SHA-256", "ranged GET", "HEAD", "DELETE"}
    assert list(Bucket(s3_url).objects("")) == []


def test_a_bucket_is_its_installations_alone(s3_url: str) -> None:
    for _ in range(2):
        open_bucket(s3_url, OWN, fresh=True)
    with pytest.raises(
        BucketError, match="another installation of rinofs; name a bucket or prefix of its own"
    ):
        open_bucket(s3_url, OTHER, fresh=True)
    open_bucket(f"{s3_url}/below", OTHER, fresh=True)


def test_contents_of_nobody_are_not_taken_over(s3_url: str) -> None:
    Bucket(s3_url).put("c/1/2", b"of somebody")
    refused(s3_url, "has contents, but rinofs-installation.json is missing")


def test_an_empty_bucket_is_not_the_one_with_the_contents(s3_url: str) -> None:
    refused(s3_url, "is empty, but the server has contents in a bucket", fresh=False)


def test_a_missing_bucket(s3_url: str) -> None:
    refused("s3://not-there/x", "the store has no bucket 'not-there'; create it, or name another one")


@pytest.mark.parametrize(
    ("key", "secret", "message"),
    [
        (READER, READER_SECRET, "may not read, write and delete there"),
        ("AKIDUNKNOWN", READER_SECRET, "the store does not accept the key"),
        (READER, "wrong", "the store does not accept the key; check AWS_ACCESS_KEY_ID"),
    ],
    ids=["not writable", "unknown key", "wrong secret"],
)
def test_wrong_keys(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, key: str, secret: str, message: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    refused(s3_url, message)


def test_no_key(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    refused(s3_url, "no key of the store is known; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_nobody_answers(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    refused(s3_url, "http://127.0.0.1:1 does not answer; check AWS_ENDPOINT_URL")


def test_somebody_listens_and_says_nothing(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setattr(checks, "PATIENCE", PATIENCE)
        refused(s3_url, "does not answer; check AWS_ENDPOINT_URL")
    assert 2 * PATIENCE < 5


@pytest.mark.parametrize("address", ["http://s3.example.org", "http://192.0.2.1:9000", "http://0.0.0.0:1"])
def test_nothing_crosses_a_network_in_the_clear(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    refused(s3_url, "unencrypted; set AWS_ENDPOINT_URL to an https:// address")


@pytest.mark.parametrize(("minutes", "where"), [(-6, "ahead of"), (6, "behind"), (60, "behind")])
def test_a_clock_that_is_off(
    s3_url: str, shared_seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch, minutes: int, where: str
) -> None:
    told = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    with store_proxy(shared_seaweed.endpoint_url) as proxy:
        proxy.fault = lambda method, _: StoreFault(
            headers={"last-modified": told} if method == "HEAD" else {}
        )
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        refused(s3_url, f"the clock of this machine is {abs(minutes)} minutes {where} the store's; set it")
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_seaweed.endpoint_url)
    assert list(Bucket(s3_url).objects("")) == []


@pytest.mark.parametrize(
    ("fault", "of", "message"),
    [
        (StoreFault(status=500), "PUT", "the store failed: it answered 500"),
        (StoreFault(status=404), "GET", "an object that was written is not there"),
        (StoreFault(wrong_byte=4), "GET", "read with other bytes than were written"),
        (StoreFault(status=403), "DELETE", "may not read, write and delete"),
        (StoreFault(status=403), "POST", "may not read, write and delete"),
    ],
    ids=["failing", "not consistent", "wrong bytes", "no deletion", "no deletion of many"],
)
def test_a_store_that_cannot_do_something(
    s3_url: str,
    shared_seaweed: Seaweed,
    monkeypatch: pytest.MonkeyPatch,
    fault: StoreFault,
    of: str,
    message: str,
) -> None:
    with store_proxy(shared_seaweed.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        trial = Bucket(s3_url, timeout=3, retries=0)
        proxy.fault = lambda method, _: fault if method == of else None
        if of == "DELETE":
            monkeypatch.setenv("AWS_DISABLE_BULK_DELETE", "true")
            trial = Bucket(s3_url, timeout=3, retries=0)
        problems = [check.problem for check in check_storage(trial, parts=False)]
    assert problems[:-1] == [None] * (len(problems) - 1)
    assert message in str(problems[-1])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket", "gs: unknown kind of store; expected s3://BUCKET"),
        ("/srv/blobs", "no scheme: unknown kind of store"),
        ("s3://", "'' is not the name of a bucket"),
        ("s3://Bucket", "'Bucket' is not the name of a bucket"),
        ("s3://a_b/x", "is not the name of a bucket"),
        ("s3://bucket/a//b", "is not a prefix"),
        ("s3://bucket/../b", "is not a prefix"),
        ("s3://bucket/ü", "is not a prefix"),
        (f"s3://key:{SECRET}@bucket/x", "more than a bucket and a prefix"),
        (f"s3://bucket/x?secret={SECRET}", "more than a bucket and a prefix"),
    ],
)
def test_malformed_urls(url: str, message: str) -> None:
    with pytest.raises(BucketError, match=message) as caught:
        parse_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://b.1-2/a/b/", ("b.1-2", "a/b")),
        ("s3://bucket/", ("bucket", "")),
    ],
)
def test_urls(url: str, parts: tuple[str, str]) -> None:
    assert parse_url(url) == parts
