"""A tab of the page that drives, and what can be asked of it."""

import time
from collections.abc import Callable

from benchmarks.browser import Page

from benchmarks import browser

DRAWN = """(() => {
    const view = document.getElementById('view');
    return [...view.getContext('2d').getImageData(0, 0, view.width, view.height).data];
})()"""
PATIENCE_S = 120.0
"""A machine may be busy with other things; nothing here takes longer because of it."""
SOCKETS = "window.sockets = []; WebSocket = class extends WebSocket { constructor(...all) { super(...all); sockets.push(this); } };"


def wait_for(condition: Callable[[], object]):
    """The first true value of `condition`."""
    return browser.wait_for(condition, PATIENCE_S)


def drive(chromium, address: str, fragment: str = "#drive") -> Page:
    """A tab that drives this server; its sockets are kept in `sockets`."""
    page = opened(chromium, address + fragment)
    is_in(page, "driving")
    return page


def opened(chromium, address: str) -> Page:
    """A tab at this address, whose sockets are kept in `sockets`."""
    page = chromium("about:blank")
    page.call("Page.addScriptToEvaluateOnNewDocument", source=SOCKETS)
    page.size(1280, 800)
    page.call("Page.navigate", url=address)
    return page


def is_in(page: Page, state: str) -> None:
    """Wait until the page says that it is in this state."""
    wait_for(lambda: page.text("connection") == state)


def press(page: Page, code: str, key: str = "") -> None:
    """A key, down and up."""
    page.call("Input.dispatchKeyEvent", type="rawKeyDown", code=code, key=key or code)
    page.call("Input.dispatchKeyEvent", type="keyUp", code=code, key=key or code)


def click(page: Page, selector: str) -> None:
    page.script(f"document.querySelector('{selector}').click()")


def number(page: Page, element: str) -> float:
    """The number that an element shows; NaN for a dash."""
    return float(page.text(element).replace("\u2212", "-").replace("\u2013", "nan").removesuffix(" s"))


def frames(page: Page) -> list[dict]:
    """What the page has drawn so far."""
    return page.script("window.roadcast.frames")


def still(page: Page) -> list[int]:
    """The picture of a world that stands, once it does."""
    before = None
    while (now := page.script(DRAWN)) != before:
        before = now
        time.sleep(0.3)
    return now


def unhurt(page: Page) -> None:
    """Close a tab in which nothing has gone wrong."""
    errors = page.errors
    page.close()
    assert not errors, errors
