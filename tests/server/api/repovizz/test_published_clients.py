"""Requests of the published repovizz2 clients, and what they make of answers.

The C++ client, repovizz2js, the service's documentation and its notebook.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import requests

from tests.server.browsing import REDIRECT, Browser, Program, query_of
from tests.server.packs import Api, container, data, pack

if TYPE_CHECKING:
    from rinofs.testing import LiveServer


def test_a_taken_name_ends_in_the_id_of_the_other(api: Api) -> None:
    identifier = api.create(pack("taken"))
    owner = api.get("/user").json()["id"]
    body = {"name": "taken", "owner": owner, "structure": pack("taken")}
    refused = api.post("/datapacks", json=body)
    answer = refused.json()
    assert (refused.status_code, answer["error_code"]) == (409, 409)
    assert answer["error"][-36:] == identifier


def test_every_error_has_its_status_as_a_number(api: Api) -> None:
    identifier = api.create(pack("errors", data("n", "n.csv")))
    other = f"/datapacks/{'0' * 8}-0000-4000-8000-{'0' * 12}"
    nobody = requests.get(f"{api.base}/user", timeout=30)
    wrong = requests.get(f"{api.base}/user", headers={"authorization": "Bearer wrong"}, timeout=30)
    for answer, status in (
        (nobody, 401),
        (wrong, 401),
        (api.get(other), 403),
        (api.get(f"/datapacks/{identifier}/content/{'0' * 40}"), 404),
        (api.get("/nothing"), 404),
        (api.post("/user"), 405),
        (api.post("/datapacks", json={"name": "x", "structure": {}}), 422),
        (api.post("/datapacks", data=b"{"), 400),
        (api.post(f"/datapacks/{identifier}/content/n.csv", json={}), 415),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (status, status), answer.text
        assert isinstance(answer.json()["error"], str)


def test_a_program_with_a_secret_needs_no_state(server: LiveServer) -> None:
    program = Program.register(server)
    asked = {
        "response_type": "code",
        "client_id": program.client_id,
        "redirect_uri": REDIRECT,
        "scope": "basic",
    }
    browser = Browser()
    without = dict.fromkeys({"state", "code_challenge", "code_challenge_method"})
    assert program.asks(**without) == asked
    browser.log_in(program.url(**without), server.username, server.password)
    told = browser.allow(program, **without)
    assert set(told) == {"code"}
    granted = program.token(code=told["code"], code_verifier=None)
    assert program.opens(granted.json()["access_token"])
    public = Program.register(server, public=True)
    for changes in (without, {**without, "state": "tied"}):
        answer = browser.get(public.url(**changes))
        assert query_of(answer.headers["location"])["error"] == "invalid_request"


@pytest.mark.parametrize("link", ["http://example.org/a.mp4", "", "../up", "a//b", "/abs", ".", "C:\\a"])
def test_documents_keep_links_of_any_kind(api: Api, link: str) -> None:
    structure = pack(f"links {link!r}", container("c", data("n", link)), data("m", "m.csv"))
    identifier = api.create(structure)
    assert api.structure(identifier) == structure
    listed = api.get(f"/datapacks/{identifier}/content").json()
    assert listed[link]["name"] == "n"
    assert api.put(identifier, "m.csv", b"1").status_code == 200
    changed = api.structure(identifier)
    assert api.post(f"/datapacks/{identifier}", json={"structure": changed}).json() == {"result": "OK"}
    if link != "C:\\a":  # that is a name like any other here
        for answer in (
            api.put(identifier, f"x/../{link}" if link == "" else link.replace(".", "%2E"), b"x"),
            api.get(f"/datapacks/{identifier}/content/{link.replace('.', '%2E')}"),
        ):
            assert answer.status_code in {404, 405, 422}, answer.text


def test_an_upload_is_answered_as_documentation_and_notebook_have_it(api: Api) -> None:
    identifier = api.create(pack("answers", data("n", "n.csv")))
    stored = api.put(identifier, "n.csv", b"1,2")
    assert (stored.status_code, stored.json()) == (
        200,
        {"id": hashlib.sha1(b"1,2").hexdigest(), "result": "OK"},
    )


def test_the_whole_item_is_sent_back(api: Api) -> None:
    identifier = api.create(pack("whole", data("n", "n.csv")))
    item = api.get(f"/datapacks/{identifier}").json()
    assert set(item) == {"id", "name", "owner", "folder", "structure", "group_edit_permissions"}
    item["structure"]["info"]["description"] = "new"
    item["name"] = "renamed"
    assert api.post(f"/datapacks/{identifier}", json=item).json() == {"result": "OK"}
    assert api.get(f"/datapacks/{identifier}").json() == item


def test_the_old_address_of_contents(api: Api) -> None:
    identifier = api.create(pack("old", data("n", "emg 2.json")))
    made = api.post(f"/datapack/{identifier}/content/emg%202.json", files={"file": b"[[1]]"})
    content_hash = made.json()["id"]
    assert api.structure(identifier)["children"][0]["link"] == f"repovizz:{content_hash}"
    assert api.get(f"/datapack/{identifier}/content/{content_hash}").content == b"[[1]]"


@pytest.mark.parametrize("path", ["/users", "/new_client", "/clients", "/user/register"])
def test_what_is_no_part_of_this_server(api: Api, path: str) -> None:
    assert api.get(path).status_code == 404
    assert api.post(path, json={}).status_code == 404
