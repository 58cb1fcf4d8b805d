"""The page in a real browser, driving a real server: what it shows, on screens of any size, and what becomes of it when others drive."""

import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("websockets", reason="the browser is driven through websockets")

from driven import DRAWN, drive, frames, is_in, number, opened, press, unhurt, wait_for
from roadcast.serving.mock import MockSession

SIZES = [(1440, 900), (820, 1180), (390, 844), (844, 390), (360, 640)]


@pytest.fixture(scope="module")
def address(served):
    with served(lambda: MockSession(height=64, width=128), title="toyroad", fps=30.0) as address:
        yield address


@pytest.fixture(scope="module")
def module_page(chromium, address):
    page = drive(chromium, address)
    yield page
    unhurt(page)


@pytest.fixture
def page(module_page):
    module_page.size(1280, 800)
    is_in(module_page, "driving")
    return module_page


def test_keys_drive_and_it_is_measured_how_fast_they_are_answered(page, tmp_path):
    wait_for(lambda: len(set(page.script(DRAWN))) > 16)
    assert page.text("name") == "toyroad"
    page.key("ArrowUp", down=True)
    page.key("ArrowLeft", down=True)
    wait_for(lambda: number(page, "steer") > 0.4)
    assert page.text("side") == "left"
    page.key("ArrowLeft", down=False)
    wait_for(lambda: number(page, "steer") == 0)
    page.key("KeyD", down=True)
    wait_for(lambda: number(page, "steer") < -0.4)
    page.key("KeyD", down=False)
    page.key("ArrowUp", down=False)
    wait_for(lambda: 0 < number(page, "p50") <= number(page, "p99"))
    wait_for(lambda: number(page, "fps") > 0)
    drawn = frames(page)
    answered = [one for one in drawn if one["keyToCanvasMs"] is not None]
    assert answered and all(one["keyToCanvasMs"] > 0 and one["drawnAt"] >= one["receivedAt"] for one in answered)
    assert [one["frameId"] for one in drawn] == sorted({one["frameId"] for one in drawn})
    assert page.script("window.roadcast.counts.drawn") >= len(drawn)
    assert page.screenshot(tmp_path / "drive.png").stat().st_size > 10_000


def test_the_world_waits_while_it_is_paused(page):
    press(page, "KeyP")
    is_in(page, "paused")
    assert page.script("!document.getElementById('notice').hidden")
    time.sleep(0.6)
    before = frames(page)[-1]["frameId"]
    time.sleep(0.6)
    assert frames(page)[-1]["frameId"] == before
    page.script("document.getElementById('notice-button').click()")
    wait_for(lambda: frames(page)[-1]["frameId"] > before + 3)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_everything_fits(page, width, height):
    page.size(width, height, phone=width < 1000)
    time.sleep(0.2)
    outside = page.script(
        """[...document.querySelectorAll('.tools button, .pedal, #timeline, #wheel, #view, .reading, #connection')].filter(one => {
            const box = one.getBoundingClientRect();
            const inside = Math.min(box.left, box.top, innerWidth - box.right, innerHeight - box.bottom) > -1;
            return box.width && !inside;
        }).map(one => one.id || one.textContent)"""
    )
    assert outside == []
    assert page.script("document.documentElement.scrollWidth <= innerWidth")
    assert page.script("document.getElementById('view').clientWidth") == width


def test_every_control_has_a_name(page):
    roles = ("button", "slider", "spinbutton", "combobox", "image", "radio", "checkbox", "textbox", "meter")
    for sheet in (None, "settings-sheet", "share-sheet", "start-sheet"):
        if sheet:
            page.script(f"document.getElementById('{sheet}').showModal()")
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        controls = [n for n in nodes if n.get("role", {}).get("value") in roles and not n.get("ignored")]
        names = [n.get("name", {}).get("value") for n in controls]
        assert len(names) >= 3 and all(names)
        if sheet:
            page.script(f"document.getElementById('{sheet}').close()")


def test_one_seat_has_no_second_future(page):
    press(page, "KeyB")
    wait_for(lambda: "one seat" in page.text("toast"))
    assert page.script("document.body.dataset.panes") == "1"


def test_who_finds_the_seat_taken_comes_in_when_it_is_free(chromium, served):
    with served(lambda: MockSession(height=64, width=128), fps=30.0) as address:
        first = drive(chromium, address)
        second = opened(chromium, address + "#drive")
        is_in(second, "busy")
        assert "Every seat is taken" in second.text("notice")
        first.call("Page.navigate", url="about:blank")  # kept by the browser for its back button
        is_in(second, "driving")
        assert second.script("document.getElementById('notice').hidden")
        first.close()
        second.close()


def test_a_server_that_is_gone(chromium, served):
    with served(MockSession) as address:
        page = drive(chromium, address)
    is_in(page, "lost")
    assert "Connection lost" in page.text("notice") and "Trying again" in page.text("notice")
    page.close()
