"""Who drives the page, and with what: thumbs, a gamepad, wheel and pedals, the keyboard alone; and whether it can be read."""

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("websockets", reason="the browser is driven through websockets")

from driven import click, drive, number, opened, press, unhurt, wait_for
from roadcast.serving.mock import MockBackend

LEAST_CONTRAST = 4.5
"""Of text to its ground: WCAG 2.2, 1.4.3."""

CONTRASTS = """(() => {
    const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
    const over = (top, below) => top.rgb.map((value, i) => top.a * value + (1 - top.a) * below[i]);
    const light = (rgb) => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (one) => {
        const layers = [];
        for (let at = one; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.a > 0) layers.unshift(colour);
            if (colour.a === 1) break;
        }
        return layers.reduce((below, top) => over(top, below), [255, 255, 255]);  // at worst the view is white
    };
    const found = [];
    for (const one of document.querySelectorAll('body *')) {
        const says = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        const seen = one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        if (!says || !seen || one.closest(':disabled, .unseen')) continue;
        const below = ground(one), ink = over(parse(getComputedStyle(one).color), below);
        const [high, low] = [light(ink), light(below)].sort((a, b) => b - a);
        found.push([one.textContent.trim().slice(0, 30), (high + 0.05) / (low + 0.05)]);
    }
    return found;
})()"""
PAD = """(mapping, axes, buttons) => { navigator.getGamepads = () => [{ id: 'pad', connected: true, mapping, axes,
    buttons: buttons.map(value => ({ value, pressed: value > 0.5 })) }]; }"""


@pytest.fixture(scope="module")
def address(served):
    with served(lambda seats: MockBackend(seats, 64, 128), title="toyroad", fps=30.0, seats=3) as address:
        yield address


@pytest.fixture(scope="module")
def module_page(chromium, address):
    page = drive(chromium, address)
    yield page
    unhurt(page)


@pytest.fixture
def page(module_page):
    module_page.size(1280, 800)
    return module_page


def middle(page, element: str) -> list[float]:
    box = f"document.getElementById('{element}').getBoundingClientRect()"
    return page.script(f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])({box})")


def low_contrast(page) -> list:
    found = page.script(CONTRASTS)
    assert len(found) > 10
    return [one for one in found if one[1] < LEAST_CONTRAST]


def test_two_thumbs_on_a_phone(page):
    page.size(390, 844, phone=True)
    page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=5)
    (x, y), (u, v) = (middle(page, one) for one in ("thumb", "throttle"))

    def touch(kind: str, *points) -> None:
        at = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        page.call("Input.dispatchTouchEvent", type=kind, touchPoints=at)

    touch("touchStart", (x, y))
    touch("touchStart", (x, y), (u, v))
    touch("touchMove", (x - 60, y), (u, v))
    wait_for(lambda: number(page, "steer") > 0.5 and page.text("throttle") == "Throttle100")
    assert page.text("side") == "left"
    touch("touchEnd")
    wait_for(lambda: number(page, "steer") == 0 and page.text("throttle") == "Throttle0")
    page.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_gamepad_and_wheel(page):
    page.script(f"({PAD})('standard', [-0.8, 0], [0, 0, 0, 0, 0, 0, 0, 1])")
    wait_for(lambda: number(page, "steer") > 0.7 and page.text("throttle") == "Throttle100")
    page.script(f"({PAD})('', [0.5, 0, 1, 0, 0, -1], [])")  # a wheel: pedals rest at 1
    wait_for(
        lambda: (
            number(page, "steer") < -0.4 and page.text("throttle") == "Throttle0" and page.text("brake") == "Brake100"
        )
    )
    page.script("delete navigator.getGamepads")
    wait_for(lambda: number(page, "steer") == 0)


def test_the_on_screen_wheel_is_dragged(page):
    x, y = middle(page, "wheel")
    for kind, dx in (("mousePressed", 0), ("mouseMoved", 80)):
        page.call("Input.dispatchMouseEvent", type=kind, x=x + dx, y=y, button="left", buttons=1, clickCount=1)
    wait_for(lambda: number(page, "steer") < -0.4)
    assert page.script("document.getElementById('wheel').getAttribute('aria-valuetext')").endswith("percent right")
    page.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + 80, y=y, button="left", clickCount=1)
    wait_for(lambda: number(page, "steer") == 0)


def test_every_control_can_be_reached_by_tab_in_the_order_in_which_it_is_seen(page):
    page.script("document.activeElement.blur()")
    reached = []
    for _ in range(16):
        page.call("Input.dispatchKeyEvent", type="rawKeyDown", code="Tab", key="Tab", windowsVirtualKeyCode=9)
        page.call("Input.dispatchKeyEvent", type="keyUp", code="Tab", key="Tab", windowsVirtualKeyCode=9)
        reached.append(page.script("document.activeElement.id"))
    tools = ["pause", "rewind", "branch", "record", "share", "fresh", "settings", "full", "help"]
    wanted = [*tools, "timeline", "wheel", "brake", "throttle"]
    first = reached.index("pause")
    assert (reached + reached)[first : first + len(wanted)] == wanted


def test_help_holds_the_world_and_the_letters(page):
    page.script("document.activeElement.blur()")
    press(page, "Slash", "?")
    assert page.script("document.getElementById('help-sheet').open")
    assert page.text("connection") == "paused"
    assert low_contrast(page) == []
    press(page, "KeyB")
    assert page.script("document.body.dataset.panes") == "1"
    click(page, "#help-sheet .main")
    wait_for(lambda: page.text("connection") == "driving")


def test_settings_are_kept(page):
    click(page, "#settings")
    assert low_contrast(page) == []
    light = page.script(
        "({ off: document.querySelector('[value=h264]').disabled, why: document.getElementById('light-why').textContent })"
    )
    assert light["off"] == ("cannot" in light["why"] or "not" in light["why"])
    click(page, "[name=crisp]")
    assert page.script(
        "document.body.classList.contains('crisp') && JSON.parse(localStorage['roadcast.settings']).crisp"
    )
    click(page, "[name=letters]")
    click(page, "#settings-sheet .main[value]")
    press(page, "KeyB")
    assert page.script("document.body.dataset.panes") == "1"
    click(page, "[name=letters]")
    click(page, "[name=crisp]")


def test_text_can_be_read(page, chromium, address):
    assert low_contrast(page) == []
    start = opened(chromium, address)
    wait_for(lambda: start.script("document.getElementById('start-sheet')?.open"))
    assert low_contrast(start) == []
    unhurt(start)
