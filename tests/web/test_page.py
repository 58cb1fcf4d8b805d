"""The page in a real browser, driving a real server."""

import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from roadcast.serving.mock import MockSession

VALUES_DRAWN = """(() => {
    const view = document.getElementById('view');
    return new Set(view.getContext('2d').getImageData(0, 0, view.width, view.height).data).size;
})()"""


@pytest.fixture(scope="module")
def address(served):
    with served(lambda: MockSession(height=64, width=128), title="toyroad", fps=30.0) as address:
        yield address


@pytest.fixture
def page(chromium, address, wait_for):
    page = chromium(address + "#drive")
    page.size(1280, 800)
    wait_for(lambda: page.text("connection") == "driving")
    yield page
    errors = page.errors
    page.close()
    assert errors == []


def numbers(page, *elements: str) -> list[float]:
    return [float(page.text(element).replace("\u2212", "-").replace("\u2013", "nan")) for element in elements]


def test_drive(page, wait_for, tmp_path):
    wait_for(lambda: page.script(VALUES_DRAWN) > 16)
    assert page.text("name") == "toyroad"

    page.key("ArrowUp", down=True)
    page.key("ArrowLeft", down=True)
    wait_for(lambda: numbers(page, "steer")[0] > 0.4)
    assert page.text("side") == "left"
    time.sleep(0.5)
    page.key("ArrowLeft", down=False)
    wait_for(lambda: numbers(page, "steer")[0] == 0)
    page.key("KeyD", down=True)
    wait_for(lambda: numbers(page, "steer")[0] < -0.4)
    page.key("KeyD", down=False)
    wait_for(lambda: numbers(page, "fps")[0] > 20)
    wait_for(lambda: numbers(page, "p50")[0] > 0 and numbers(page, "frame")[0] > 20)
    p50, p99 = numbers(page, "p50", "p99")
    assert 0 < p50 <= p99
    page.key("ArrowUp", down=False)
    assert page.screenshot(tmp_path / "drive.png").stat().st_size > 10_000


def test_pause_and_reset(page, wait_for):
    wait_for(lambda: numbers(page, "frame")[0] > 3)
    page.key("KeyP", down=True)
    page.key("KeyP", down=False)
    wait_for(lambda: page.text("connection") == "paused")
    assert page.script("!document.getElementById('notice').hidden")
    time.sleep(0.6)
    before = numbers(page, "frame")
    time.sleep(0.6)
    assert numbers(page, "frame") == before
    page.script("document.getElementById('notice-button').click()")
    wait_for(lambda: numbers(page, "frame")[0] > before[0] + 3)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (820, 1180), (390, 844), (844, 390), (360, 640)])
def test_everything_fits(page, width, height):
    page.size(width, height, phone=width < 1000)
    time.sleep(0.2)
    outside = page.script(
        """[...document.querySelectorAll('button, select, input, #wheel, #view, dd, #connection')].filter(one => {
            const box = one.getBoundingClientRect();
            const inside = Math.min(box.left, box.top, innerWidth - box.right, innerHeight - box.bottom) > -1;
            return box.width && !inside;
        }).map(one => one.id || one.textContent)"""
    )
    assert outside == []
    assert page.script("document.documentElement.scrollWidth <= innerWidth")


def test_every_control_has_a_name(page):
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = [n for n in nodes if n.get("role", {}).get("value") in ("button", "slider", "combobox", "image")]
    names = [n.get("name", {}).get("value") for n in controls if not n.get("ignored")]
    assert len(names) >= 9 and all(names)


def test_lost_and_found_again(page, chromium, address, wait_for):
    second = chromium(address + "#drive")
    wait_for(lambda: second.text("connection") == "busy")
    assert "Someone else is driving" in second.text("notice")
    page.call("Page.navigate", url="about:blank")  # kept by the browser for its back button
    wait_for(lambda: second.text("connection") == "driving")
    assert second.script("document.getElementById('notice').hidden")
    second.close()


def test_server_gone(chromium, served, wait_for):
    with served(MockSession) as address:
        page = chromium(address + "#drive")
        wait_for(lambda: page.text("connection") == "driving")
    wait_for(lambda: page.text("connection") == "lost")
    assert "Connection lost" in page.text("notice") and "Trying again" in page.text("notice")
    page.close()
