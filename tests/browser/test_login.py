"""A person signs in and lets a program in, with a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rinofs.testing import live_server
from tests.browser.conftest import chromium
from tests.server.browsing import Program, query_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

    from rinofs.testing import LiveServer
    from tests.browser.conftest import Listener

pytestmark = pytest.mark.browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture
def program(server: LiveServer, listener: Listener) -> Program:
    return Program.register(server, public=True, redirect_uri=listener.url)


def find(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element("css selector", selector)


def press(browser: Chrome, label: str) -> None:
    browser.find_element("xpath", f"//button[normalize-space()='{label}']").click()


def arrive(browser: Chrome, title: str) -> None:
    """Wait for a page."""
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 30, poll_frequency=0.05).until(lambda driver: driver.title == f"{title} · rinofs")


def sign_in(browser: Chrome, server: LiveServer) -> None:
    arrive(browser, "Sign in")
    find(browser, "#username").send_keys(server.username)
    find(browser, "#password").send_keys(server.password)
    press(browser, "Sign in")
    arrive(browser, "Allow access")


def complaints(browser: Chrome) -> list[str]:
    """What the browser refused to do, or found wrong; a refused form is an answer, and no mistake."""
    messages = [entry["message"] for entry in browser.get_log("browser")]
    return [message for message in messages if "favicon" not in message and "status of 403" not in message]


def test_signing_in_and_allowing(
    browser: Chrome, server: LiveServer, program: Program, listener: Listener
) -> None:
    browser.get(program.url())
    sign_in(browser, server)
    assert "Notebook" in find(browser, "main").text
    assert server.username in find(browser, "dl").text
    press(browser, "Allow")
    assert listener.came.wait(30)
    told = query_of(listener.paths[0])
    assert told["state"] == program.state
    assert listener.referrers == [None]
    granted = program.token(code=told["code"]).json()
    assert program.opens(granted["access_token"])
    assert complaints(browser) == []


def test_it_all_works_with_the_keyboard(
    browser: Chrome, server: LiveServer, program: Program, listener: Listener
) -> None:
    from selenium.webdriver import ActionChains, Keys

    def type_(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    browser.get(program.url())
    type_(server.username, Keys.TAB, "wrong", Keys.ENTER)
    arrive(browser, "Error: Sign in")
    assert find(browser, "[role=alert]").text == "The username or the password is wrong."
    assert find(browser, "#username").get_attribute("value") == server.username
    type_(server.password, Keys.ENTER)
    arrive(browser, "Allow access")
    type_(Keys.TAB, Keys.TAB, Keys.ENTER)
    assert listener.came.wait(30)
    assert query_of(listener.paths[0]) == {"error": "access_denied", "state": program.state}
    assert complaints(browser) == []


def test_another_site_cannot_frame_or_use_the_pages(
    browser: Chrome, server: LiveServer, program: Program, tmp_path: Path
) -> None:
    browser.get(program.url())
    sign_in(browser, server)
    evil = tmp_path / "evil.html"
    evil.write_text(
        f'<iframe src="{program.url().replace("&", "&amp;")}"></iframe>'
        f'<form method="post" action="{program.url().replace("&", "&amp;")}">'
        '<input name="form_token" value="guessed"><button name="decision" value="allow">Win</button></form>'
    )
    browser.get(evil.as_uri())
    browser.switch_to.frame(0)
    assert "Notebook" not in browser.page_source
    browser.switch_to.default_content()
    press(browser, "Win")
    arrive(browser, "This does not work")
    assert "Nothing has been done." in find(browser, "main").text


def test_nothing_needs_a_script(
    tmp_path: Path, server: LiveServer, program: Program, listener: Listener
) -> None:
    with chromium(tmp_path / "quiet", "--blink-settings=scriptEnabled=false") as browser:
        browser.get(program.url())
        sign_in(browser, server)
        press(browser, "Allow")
        assert listener.came.wait(30)
    assert "code" in query_of(listener.paths[0])


@pytest.mark.parametrize("width", [320, 390, 900])
def test_pages_fit_on_any_screen(tmp_path: Path, server: LiveServer, program: Program, width: int) -> None:
    with chromium(tmp_path / "narrow", "--window-size=900,800") as browser:
        emulated = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 900}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", emulated)
        for follow in (lambda: browser.get(program.url()), lambda: sign_in(browser, server)):
            follow()
            root = find(browser, "html")
            assert int(root.get_property("scrollWidth")) <= width
            for button in browser.find_elements(
                "css selector", "input:not([type=hidden]), button:not(.plain)"
            ):
                assert button.size["height"] >= 44


def test_pictures_for_the_docs(browser: Chrome, server: LiveServer) -> None:
    program = Program.register(server, public=True)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 560, "height": 600, "deviceScaleFactor": 2, "mobile": False},
    )
    browser.get(program.url())
    arrive(browser, "Sign in")
    browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": False})
    assert is_drawn(take(browser, "login.png"))
    sign_in(browser, server)
    assert is_drawn(take(browser, "consent.png"))


def take(browser: Chrome, name: str) -> bytes:
    picture: bytes = browser.get_screenshot_as_png()
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / name).write_bytes(picture)
    return picture


def is_drawn(picture: bytes) -> bool:
    """Whether a picture has more in it than one colour: that would compress to almost nothing."""
    return picture.startswith(b"\x89PNG") and len(picture) > 20_000
