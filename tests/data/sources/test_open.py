"""Which source an address names: by contents, by a class's address, and the example of the documentation."""

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import small_sets as made
from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.data.sources.comma import CommaSource
from roadcast.data.sources.conform import check_source
from roadcast.data.sources.donkey import DonkeySource
from roadcast.data.sources.lerobot import LeRobotSource
from roadcast.data.sources.open import Several, open_source
from roadcast.data.sources.waymo import WaymoSource
from roadcast.errors import UserError

DOCS = Path(__file__).resolve().parents[3] / "docs" / "sources.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, which is empty, and from which modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def simulate(folder: Path, frames: int = 12) -> Path:
    """A recording as the Udacity simulator writes it, 10 a second, steering to the right."""
    (folder / "IMG").mkdir(parents=True)
    lines = []
    for n in range(frames):
        names = [f"{camera}_2016_12_01_13_30_{48 + n // 10}_{n % 10}00.jpg" for camera in ("center", "left", "right")]
        for name in names:
            cv2.imwrite(str(folder / "IMG" / name), np.full((48, 64, 3), 10 * n, np.uint8))
        lines.append(
            ",".join([*(f"C:/sim/IMG/{name}".replace("C:/", "/") for name in names), "0.25", "0.5", "0", "10"])
        )
    (folder / "driving_log.csv").write_text("\n".join(lines) + "\n")
    return folder


def documented() -> str:
    """The example of the documentation: its first block of Python."""
    return re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[1]


def test_the_documented_source_is_forty_lines_and_keeps_the_contract(here):
    code = documented()
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
    (here / "drives.py").write_text(code)
    simulate(here / "sim" / "a")
    assert check_source(open_source("drives:Drives:folder=sim")) == []


def test_the_documented_source_is_ingested_by_its_address(here):
    (here / "drives.py").write_text(documented())
    for name in ("a", "b"):
        simulate(here / "sim" / name)
    ingest("drives:Drives:folder=sim", here / "reel", height=48, width=64, fps=10.0, min_seconds=0.5, workers=1)
    reel = Reel(here / "reel")
    assert reel.cameras == ["center", "left", "right"] and reel.frames == 24
    assert np.asarray(reel.signals["steer"]) == pytest.approx(-0.25)
    assert np.asarray(reel.signals["speed"]) == pytest.approx(4.4704)


def test_a_time_that_is_none_is_told_by_the_documented_source(here):
    (here / "drives.py").write_text(documented())
    log = simulate(here / "sim") / "driving_log.csv"
    log.write_text(log.read_text().replace("center_2016", "centre_2016"))
    with pytest.raises(UserError, match=r"driving_log.csv: .* holds no time"):
        list(open_source("drives:Drives:folder=sim").recordings())


OWN = """
class Numbers:
    cameras = ("front",)
    def __init__(self, count: int, rate: float = 1.0, name: str = "x", other: "int" = 0):
        self.given = (count, rate, name, other)
    def recordings(self):
        return iter(())

class NoSource:
    pass

number = 3
"""


def test_arguments_are_numbers_where_they_are_annotated_so(here):
    (here / "numbers_of_mine.py").write_text(OWN)
    source = open_source("numbers_of_mine:Numbers:count=3,rate=2,name=7,other=5")
    assert source.given == (3, 2.0, "7", 5) and isinstance(source.given[1], float)
    assert open_source("numbers_of_mine:Numbers:count=1").given == (1, 1.0, "x", 0)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "nowhere_at_all:Numbers",
            "nowhere_at_all cannot be imported.*no file or folder.*a LeRobot dataset.*module:Class",
        ),
        ("mine:Missing", "mine has no class Missing"),
        ("mine:number", "mine has no class number"),
        ("mine:NoSource", "is no source; give it `cameras`"),
        ("mine:Numbers", "lacks count"),
        ("mine:Numbers:count=1,speed=3", "'speed=3' is no option of Numbers.*count, rate, name, other"),
        ("mine:Numbers:count", "'count' is no option"),
        ("mine:Numbers:count=many", "count = 'many' is no number"),
        ("toyroad:frames=1.5", "frames = '1.5' is no number"),
        ("toyroad:speed=1", "'speed=1' is no option of ToyroadSource"),
        ("no/such/place", "no such file or folder; give a LeRobot dataset.*comma2k19.*donkeycar.*images.*toyroad"),
    ],
)
def test_an_address_that_cannot_be_is_told(here, address, message):
    (here / "mine.py").write_text(OWN)
    with pytest.raises(UserError, match=message):
        open_source(address)


def test_a_folder_is_known_by_its_contents(here, make):
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    assert isinstance(open_source(made.write_waymo_tables(here / "w2", frames=1)), WaymoSource)
    assert isinstance(open_source(made.write_waymo_records(here / "w1", frames=1)), WaymoSource)
    assert isinstance(open_source(next((here / "w1").iterdir())), WaymoSource)
    assert isinstance(open_source(made.write_comma_segment(here / "c" / "r" / "0", frames=1)), CommaSource)
    assert isinstance(open_source(made.write_lerobot_2(here / "l", frames=1)), LeRobotSource)
    assert isinstance(open_source(make.write_tub(here / "t", [0, 50])), DonkeySource)
    with pytest.raises(UserError, match="has no use for rate"):
        open_source(here / "w2", rate=10.0)


def test_several_of_a_kind_are_read_as_one(here):
    pytest.importorskip("pyarrow")
    for name in ("training", "validation"):
        made.write_waymo_tables(here / "sets" / name, frames=1)
    source = open_source(here / "sets")
    assert isinstance(source, Several) and source.cameras == ("front", "front_left", "front_right")
    names = [recording.name for recording in source.recordings()]
    assert names == [f"training_{made.SEGMENT}", f"validation_{made.SEGMENT}"]
    made.write_records(here / "sets" / "testing" / "one.tfrecord", [made.waymo_frame(0, cameras=(1,))])
    with pytest.raises(
        UserError, match=r"training: has cameras front, front_left, front_right, but .*testing has front;"
    ):
        open_source(here / "sets")


def test_what_holds_nothing_is_told_with_what_could_be(here):
    (here / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds nothing that can be read; give a LeRobot dataset"):
        open_source(here / "empty")
    (here / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"notes.txt: is of no known format; give"):
        open_source(here / "notes.txt")


def test_one_of_several_that_cannot_be_read_is_rejected_alone(here):
    for name in ("a", "b"):
        made.write_lerobot_2(here / "sets" / name)
    (here / "sets" / "a" / "meta" / "info.json").write_text("{")
    broken, *whole = open_source(here / "sets").recordings()
    assert broken.name == "a" and len(whole) == 2
    with pytest.raises(UserError, match=r"a/meta/info\.json"):
        next(iter(broken.frames()))
    (here / "sets" / "b" / "meta" / "info.json").write_text("{")
    with pytest.raises(UserError, match=r"a/meta/info\.json"):
        open_source(here / "sets")
