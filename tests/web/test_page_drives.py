"""What can be done with a drive, in a real browser: two futures, a way back, films, links, and what becomes of it when a line is cut."""

import math

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("websockets", reason="the browser is driven through websockets")

from driven import DRAWN, click, drive, frames, is_in, number, opened, press, still, unhurt, wait_for
from roadcast.serving.mock import MockBackend

HEIGHT, WIDTH, FPS = 64, 128, 30.0


@pytest.fixture(scope="module")
def address(served):
    with served(lambda seats: MockBackend(seats, HEIGHT, WIDTH), title="toyroad", fps=FPS, seats=3) as address:
        yield address


@pytest.fixture
def page(chromium, address):
    page = drive(chromium, address)
    yield page
    unhurt(page)


def turn(page):
    """Drive on, to the left."""
    page.key("ArrowUp", down=True)
    page.key("ArrowLeft", down=True)
    wait_for(lambda: number(page, "clock") > 1.5)


def test_a_scene_and_a_seed_are_chosen(chromium, address):
    page = opened(chromium, address)
    wait_for(lambda: page.script("document.querySelectorAll('.scene img').length") == 6)
    assert page.script("document.activeElement.id") == "go"
    click(page, ".scene:nth-child(6) input")
    page.script("document.getElementById('seed').value = 7")
    click(page, "#go")
    is_in(page, "driving")
    assert (page.text("name"), page.text("facts")) == ("toyroad", "Night, seed 7")
    dark = np.mean(still_of(page))
    press(page, "KeyN")
    click(page, ".scene:nth-child(1) input")
    click(page, "#go")
    wait_for(lambda: page.text("facts") == "Clear day, seed 7")
    assert np.mean(still_of(page)) > dark + 20
    unhurt(page)


def still_of(page) -> list[int]:
    press(page, "KeyP")
    picture = still(page)
    press(page, "KeyP")
    return picture


def test_two_futures_from_one_moment(page):
    turn(page)
    press(page, "KeyB")
    other = "document.getElementById('other')"
    wait_for(lambda: page.script(f"{other}?.width") == WIDTH)
    is_in(page, "driving")
    assert page.script("document.body.dataset.panes") == "2"
    page.key("ArrowLeft", down=False)
    page.key("ArrowRight", down=True)  # here the other way, there as it was
    both = [DRAWN, DRAWN.replace("'view'", "'other'")]
    wait_for(lambda: np.abs(np.subtract(*map(page.script, both))).mean() > 5)
    click(page, ".pane:not(.driven) .take")
    wait_for(
        lambda: (
            page.script("[...document.querySelectorAll('.pane')].map(one => one.classList.contains('driven'))")
            == [False, True]
        )
    )
    assert (
        page.script("document.getElementById('view').closest('.pane').querySelector('strong').textContent")
        == "You drive"
    )
    page.key("ArrowRight", down=False)
    click(page, ".pane:not(.driven) .mirror")
    assert "The other way" in page.script("document.querySelector('.pane:not(.driven) strong').textContent")
    click(page, ".pane:not(.driven) .shut")
    wait_for(lambda: page.script("document.body.dataset.panes") == "1")
    before = len(frames(page))
    wait_for(lambda: len(frames(page)) > before + 5)


def test_back_in_time_by_a_key_and_by_the_timeline(page):
    page.key("ArrowUp", down=True)
    wait_for(lambda: number(page, "clock") > 3)
    press(page, "Backspace")
    wait_for(lambda: number(page, "clock") < 2.5)
    wait_for(lambda: number(page, "clock") > 3)
    page.key("ArrowUp", down=False)
    press(page, "KeyP")
    is_in(page, "paused")
    page.script(
        "(() => { const at = document.getElementById('timeline'); at.value = at.min; at.dispatchEvent(new Event('input')); })()"
    )
    assert page.text("ago").endswith("ago")
    page.script("document.getElementById('timeline').dispatchEvent(new Event('change'))")
    wait_for(lambda: number(page, "clock") < 1)
    assert page.text("connection") == "paused"


def test_a_film_can_be_played(page, tmp_path):
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.key("ArrowUp", down=True)
    press(page, "KeyV")
    before = len(frames(page))
    wait_for(lambda: page.text("recording") > "0:00" and len(frames(page)) > before + 20)
    press(page, "KeyV")
    (film,) = wait_for(lambda: [*tmp_path.glob("*.mp4"), *tmp_path.glob("*.webm")])
    assert film.stem.startswith("roadcast Clear day 0")
    wait_for(lambda: film.stat().st_size > 1000)
    video, pictures = cv2.VideoCapture(str(film)), []
    while (read := video.read())[0]:
        pictures.append(read[1])
    assert len(pictures) > 5 and pictures[0].shape == (320, 640, 3)
    assert np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 1


def test_a_link_shows_the_same_drive(page, chromium):
    turn(page)
    press(page, "KeyL")
    link = wait_for(lambda: page.script("document.getElementById('link').value"))
    last = still(page)
    other = opened(chromium, link)
    wait_for(lambda: "A drive for you" in (other.text("notice") or ""))
    assert "Clear day, seed 0" in other.text("notice")
    click(other, "#notice-button")
    is_in(other, "replay")
    wait_for(lambda: other.text("notice-title") == "That was the drive")
    wait_for(lambda: still(other) == last)
    click(other, "#notice-button")
    is_in(other, "driving")
    before = number(other, "clock")
    wait_for(lambda: number(other, "clock") > before + 0.3)
    unhurt(other)


def test_a_lost_line_is_found_again(page):
    turn(page)
    before = frames(page)[-1]["frameId"]
    page.script("sockets.at(-1).close(3000)")
    wait_for(lambda: page.script("sockets.length") == 2)
    is_in(page, "driving")
    wait_for(lambda: frames(page)[-1]["frameId"] > before + 5)  # of one session these never fall
    assert number(page, "clock") > 1.5


def test_who_comes_late_waits_in_line(chromium, address):
    three = [drive(chromium, address) for _ in range(3)]
    late = opened(chromium, address + "#drive")
    is_in(late, "queued")
    assert "number 1 in line" in late.text("notice")
    three.pop().close()
    is_in(late, "driving")
    press(three[0], "KeyB")
    wait_for(lambda: "No seat is free" in three[0].text("toast"))
    assert three[0].script("document.body.dataset.panes") == "1"
    for page in (*three, late):
        unhurt(page)


def test_a_server_that_leaves_and_comes_back_is_driven_on(chromium, served):
    def backend(seats):
        return MockBackend(seats, HEIGHT, WIDTH)

    with served(backend, fps=FPS, seats=2) as address:
        page = drive(chromium, address)
        turn(page)
    is_in(page, "lost")
    seconds = number(page, "clock")
    with served(backend, fps=FPS, seats=2, port=int(address.rstrip("/").rpartition(":")[2])):
        is_in(page, "driving")
        assert math.isclose(number(page, "clock"), seconds, abs_tol=2.0) and number(page, "clock") > 1
        page.close()
