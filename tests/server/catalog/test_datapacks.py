from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3
from sqlalchemy import text

from rinofs.server.catalog.datapacks import KEPT, DatapackStore, ExpectedState
from rinofs.server.catalog.structures import Structure, structure_of
from rinofs.server.errors import Conflict, Forbidden, NotFound, PreconditionFailed, Unprocessable
from rinofs.server.maintenance import fsck, gc
from tests.server.packs import container, data, pack

if TYPE_CHECKING:
    from rinofs.server.catalog.records import User
    from rinofs.server.services import Services


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def create(services: Services, user: User, name: str, *links: str) -> str:
    structure = structure_of(pack(name, *(data(link, link) for link in links)))
    return services.datapacks.create(user, name, structure).id


def put(services: Services, user: User, identifier: str, link: str, content: bytes) -> None:
    with services.blobs.new_upload(sha1=True) as sent:
        sent.write(content)
        services.datapacks.put_content(user, identifier, link, sent.finish(), link)


def stored(services: Services) -> set[str]:
    return {name for name, _ in services.blobs.stored()}


def digests(*contents: bytes) -> set[str]:
    return {f"b3/{blake3(content).hexdigest()}" for content in contents}


def test_contents_of_datapacks_are_not_collected(services: Services, user: User) -> None:
    one, two = create(services, user, "one", "a", "b"), create(services, user, "two", "c")
    put(services, user, one, "a", b"kept")
    put(services, user, one, "b", b"mine alone")
    put(services, user, two, "c", b"kept")
    assert gc(services).blobs_removed == 0
    services.datapacks.delete(user, one)
    assert gc(services).blobs_removed == 1
    assert stored(services) == digests(b"kept")
    services.datapacks.delete(user, two)
    assert gc(services).blobs_removed == 1
    assert stored(services) == set()


def test_what_no_node_links_to_stays_for_a_while(services: Services, user: User) -> None:
    now = time.time()
    moment = [now]
    datapacks = DatapackStore(services.database, clock=lambda: moment[0])
    identifier = create(services, user, "pack", "a")

    def replace(link: str, content: bytes) -> None:
        with services.blobs.new_upload(sha1=True) as sent:
            sent.write(content)
            datapacks.put_content(user, identifier, link, sent.finish(), link)

    replace("a", b"first")
    replace(f"repovizz:{sha1(b'first')}", b"second")
    moment[0] += KEPT - 10
    assert datapacks.forget_unlinked() == 0
    assert datapacks.content(user, identifier, sha1(b"first")).size == 5
    # Undone in time: it is as if it had never gone.
    back = structure_of(pack("pack", data("a", f"repovizz:{sha1(b'first')}")))
    datapacks.edit(user, identifier, structure=back)
    moment[0] += 100
    assert datapacks.forget_unlinked() == 0
    moment[0] += KEPT
    assert datapacks.forget_unlinked() == 1
    assert gc(services).blobs_removed == 1
    assert stored(services) == digests(b"first")
    with pytest.raises(NotFound):
        datapacks.content(user, identifier, sha1(b"second"))


def test_what_waits_for_a_link_stays_for_a_while(services: Services, user: User) -> None:
    moment = [time.time()]
    datapacks = DatapackStore(services.database, clock=lambda: moment[0])
    identifier = create(services, user, "pack", "a")

    def store(content: bytes) -> str:
        with services.blobs.new_upload(sha1=True) as sent:
            sent.write(content)
            datapacks.store_content(user, identifier, sent.finish(), "a")
        return sha1(content)

    used, unused = store(b"used"), store(b"unused")
    moment[0] += KEPT - 10
    store(b"used")  # by another writer, who did not know of it
    moment[0] += 10
    assert datapacks.forget_unlinked() == 1
    with pytest.raises(NotFound):
        datapacks.content(user, identifier, unused)
    linked = structure_of(pack("pack", data("a", f"repovizz:{used}")))
    datapacks.edit(user, identifier, structure=linked)
    store(b"used")  # nodes link to it already
    moment[0] += KEPT + 10
    assert datapacks.forget_unlinked() == 0
    assert datapacks.content(user, identifier, used).size == 4


def test_a_link_never_changes_its_content(services: Services, user: User) -> None:
    identifier = create(services, user, "pack", "a", "b")
    put(services, user, identifier, "a", b"content")
    with services.blobs.new_upload(sha1=True) as sent:
        sent.write(b"another one")
        blob = sent.finish()
        forged = replace(blob, taken_sha1=sha1(b"content"))
        with pytest.raises(Conflict):
            services.datapacks.put_content(user, identifier, "b", forged, "b")
    found = services.datapacks.get(user, identifier).structure
    assert [node["link"] for node in found.data_nodes()] == [f"repovizz:{sha1(b'content')}", "b"]


def test_nothing_is_changed_that_is_not_allowed(services: Services, user: User) -> None:
    identifier = create(services, user, "pack", "a")
    before = services.datapacks.get(user, identifier)

    never = ExpectedState(one_of=frozenset({"another"}))
    with pytest.raises(PreconditionFailed):
        services.datapacks.edit(user, identifier, name="other", expected=never)
    with pytest.raises(PreconditionFailed):
        services.datapacks.delete(user, identifier, expected=never)
    with services.blobs.new_upload(sha1=True) as sent:
        sent.write(b"x")
        blob = sent.finish()
        with pytest.raises(PreconditionFailed):
            services.datapacks.put_content(user, identifier, "a", blob, "a", expected=never)
    assert services.datapacks.get(user, identifier) == before
    assert gc(services).blobs_removed == 1


def test_of_many_of_one_name_one_is_made(services: Services, user: User) -> None:
    def make(_number: int) -> bool:
        try:
            create(services, user, "taken")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(16))) == 1
    assert len(services.datapacks.ids(user)) == 1


def test_names_belong_to_users(services: Services, user: User) -> None:
    other = services.accounts.add_user("eve")
    mine, theirs = create(services, user, "same"), create(services, other, "same")
    assert services.datapacks.ids(user) == [mine]
    with pytest.raises(Forbidden):
        services.datapacks.get(user, theirs)
    assert [found.id for found in services.datapacks.each(user, [mine, theirs])] == [mine]


def test_fsck_reads_datapacks_too(services: Services, user: User) -> None:
    identifier = create(services, user, "pack", "a", "b")
    put(services, user, identifier, "a", b"whole")
    put(services, user, identifier, "b", b"damaged")
    report = fsck(services)
    assert (report.datapacks_checked, report.blobs_checked, report.problems) == (1, 2, ())
    (damaged,) = digests(b"damaged")
    services.blobs.local_path(damaged).write_bytes(b"demaged")
    whole = json.dumps(pack("pack", {"class": "data", "name": "n", "text": ""}))
    with services.database.write() as connection:
        connection.execute(text("UPDATE datapacks SET structure = :whole"), {"whole": whole})
        connection.exec_driver_sql("UPDATE datapack_contents SET size = 1 WHERE size = 5")
    first, second, third = sorted(fsck(services).problems)
    assert first.startswith(f"content {damaged} (of datapack {identifier}) is damaged")
    assert second == f"datapack {identifier}: n: 'link' is missing"
    assert third.startswith(f"datapack {identifier}: the size, etag or hash")


@pytest.mark.parametrize("value", [None, [], "text", {}, {"info": {}}, {"children": []}])
def test_what_is_no_structure(value: Any) -> None:
    with pytest.raises(Unprocessable, match="structure: "):
        structure_of(value)


def test_links_in_metadata_are_left_alone() -> None:
    document = pack(
        "pack", container("c", data("a", "a", meta={"link": "a", "class": "data"})), data("b", "b")
    )
    linked = structure_of(document).linked("a", "0" * 40)
    assert linked is not None
    structure, hashes = linked
    assert hashes == {"0" * 40}
    changed = json.loads(structure.text)
    assert changed["children"][0]["children"][0].pop("link") == f"repovizz:{'0' * 40}"
    del document["children"][0]["children"][0]["link"]
    assert changed == document
    assert structure.linked("a", "0" * 40) is None


def test_the_etag_names_name_and_document() -> None:
    one, other = Structure('{"info":1}'), Structure('{"info":2}')
    assert len({one.etag("a"), one.etag("b"), other.etag("a"), one.etag("")}) == 4
