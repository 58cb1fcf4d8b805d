"""The page in a real browser, driving a real server."""

import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from roadcast.serving.mock import MockSession

DRAWN = "(() => {const c = document.getElementById('view'); return c.width > 2 && new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size})()"


@pytest.fixture(scope="module")
def address(served):
    with served(MockSession, title="toyroad", fps=30.0) as address:
        yield address


@pytest.fixture
def page(chromium, address, wait_for):
    page = chromium(address)
    page.size(1280, 800)
    wait_for(lambda: page.script("document.getElementById('connection')?.textContent") == "driving")
    yield page
    errors = page.errors
    page.close()
    assert errors == []


def numbers(page, *elements: str) -> list[float]:
    return [float(page.text(element).replace("\u2212", "-").replace("\u2013", "nan")) for element in elements]


def test_drive(page, wait_for, tmp_path):
    wait_for(lambda: page.script(DRAWN) and page.script(DRAWN) > 16)
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
    wait_for(lambda: numbers(page, "p50")[0] > 0)
    p50, p99, frame = numbers(page, "p50", "p99", "frame")
    assert p50 <= p99 < 1000 and frame > 20
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
            return box.width && (box.left < -1 || box.top < -1 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1);
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
    second = chromium(address)
    wait_for(lambda: second.text("connection") == "busy")
    assert "Someone else is driving" in second.text("notice")
    page.call("Page.navigate", url="about:blank")
    wait_for(lambda: second.text("connection") == "driving")
    assert second.script("document.getElementById('notice').hidden")
    second.close()


def test_server_gone(chromium, served, wait_for):
    with served(MockSession) as address:
        page = chromium(address)
        wait_for(lambda: page.script("document.getElementById('connection')?.textContent") == "driving")
    wait_for(lambda: page.text("connection") == "lost")
    assert "Connection lost" in page.text("notice") and "Trying again" in page.text("notice")
    page.close()
