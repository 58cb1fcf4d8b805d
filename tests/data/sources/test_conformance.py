"""Every source against its contract, and the check against sources that break it."""

import importlib.util
import shutil
from dataclasses import replace

import numpy as np
import pytest

import small_sets as made
from roadcast.data.sources.base import Recording, Sensor, Signal
from roadcast.data.sources.conform import check_source
from roadcast.data.sources.open import open_source
from roadcast.errors import UserError


def write_images(folder, make):
    folder.mkdir()
    for n in range(5):
        make.cv2.imwrite(str(folder / f"f{n}.png"), make.picture(n))
    (folder / "signals.csv").write_text("t,steer,_file\n" + "".join(f"{n},0.1,f{n}.png\n" for n in range(5)))


def write_films(folder, make):
    folder.mkdir()
    make.write_video(folder / "a.mp4", 30)
    (folder / "a.csv").write_text("t,steer,speed\n0,0.1,3\n1,0.2,4\n")


SETS = {
    "images": (write_images, ()),
    "films": (write_films, ()),
    "tubs": (lambda folder, make: make.write_tub(folder / "tub", [50 * n for n in range(6)], missing=(3,)), ()),
    "waymo tables": (lambda folder, make: made.write_waymo_tables(folder), ("pyarrow",)),
    "waymo records": (lambda folder, make: made.write_waymo_records(folder), ()),
    "comma": (lambda folder, make: made.write_comma_segment(folder / "route" / "0", frames=4), ("av",)),
    "lerobot": (lambda folder, make: made.write_lerobot_2(folder), ("pyarrow",)),
}


@pytest.mark.parametrize("kind", SETS)
def test_every_source_keeps_the_contract(kind, make, tmp_path):
    write, packages = SETS[kind]
    for package in packages:
        pytest.importorskip(package)
    write(tmp_path / "set", make)
    assert check_source(open_source(tmp_path / "set"), frames=6) == []


def test_toyroad_keeps_the_contract():
    address = "toyroad:recordings=2,frames=6,seed=1,height=32,width=64,cameras=front+left,sensors=lidar+radar+depth"
    assert check_source(open_source(address), frames=6) == []


@pytest.mark.parametrize(
    ("path", "options", "module"),
    [
        ("donkey/elsewhere.tar.gz", {}, "donkey"),
        ("mp4/kart_dashcam.mp4", {}, "video"),
        ("mp4/transcoded_h264_vfr.mp4", {}, "video"),
        ("mp4/transcoded_raw.hevc", {"rate": 25.0}, "video"),
        ("kitti/2011_09_26", {}, "kitti"),
        ("nuscenes", {}, "nuscenes"),
        ("radiate", {}, "radiate"),
        ("carla", {}, "carla"),
    ],
)
def test_real_recordings_keep_the_contract(shared_data, path, options, module):
    if importlib.util.find_spec(f"roadcast.data.sources.{module}") is None:
        pytest.skip(f"no source {module} yet")
    assert check_source(open_source(shared_data / path, **options), frames=4) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", ["donkey", "mp4"])
def test_all_real_recordings_keep_the_contract(shared_data, path):
    source = open_source(shared_data / path, rate=25.0 if path == "mp4" else None)
    assert check_source(source, frames=20, recordings=100) == []


def test_a_recording_that_loses_a_file_says_which_and_the_others_stay(tmp_path):
    pytest.importorskip("av")
    for route in ("a", "b"):
        made.write_comma_segment(tmp_path / route / "0", frames=2)
    source = open_source(tmp_path)
    assert check_source(source) == []
    (tmp_path / "a" / "0" / "global_pose" / "frame_times").unlink()
    (complaint,) = check_source(source)
    assert complaint.startswith("a: frames() raised") and "frame_times: cannot be read" in complaint
    assert check_source(source, unreadable=True) == []
    shutil.copy(tmp_path / "b/0/global_pose/frame_times", tmp_path / "a/0/global_pose/frame_times")
    assert check_source(source) == []


T_NS = np.arange(4, dtype=np.int64) * 100_000_000


def image(t: int, shade: int = 0) -> np.ndarray:
    return np.full((20, 30, 3), shade + t // 100_000_000, np.uint8)


def good() -> Recording:
    sensors = {
        "lidar": Sensor("lidar", ("x", "y", "z", "intensity"), T_NS, lambda n: np.full((3, 4), 0.5, np.float32)),
        "boxes": Sensor(
            "boxes", ("x", "y", "z", "length", "width", "height", "yaw", "class", "track"), T_NS,
            lambda n: np.ones((2, 9), np.float32), classes=("car", "bus"),
        ),
    }  # fmt: skip
    calibration = {
        "front": {"intrinsics": [[30, 0, 15], [0, 30, 10], [0, 0, 1]], "to_ego": np.eye(4).tolist()},
        "lidar": {"to_ego": np.eye(4).tolist()},
    }
    return Recording(
        "drive", "made", lambda: ((t, image(t)) for t in T_NS.tolist()),
        {"steer": Signal.of(T_NS, np.zeros(4)), "ego_pose": Signal.of(T_NS, np.tile([0, 0, 0, 1, 0, 0, 0], (4, 1)))},
        calibration=calibration, sensors=sensors, period_ns=100_000_000,
    )  # fmt: skip


class Given:
    """A source of the recordings that a function makes."""

    cameras: tuple[str, ...] = ("front",)

    def __init__(self, make):
        self.make = make

    def recordings(self):
        yield from self.make()


def test_a_good_source_has_no_complaint():
    assert check_source(Given(lambda: [good()])) == []


def signal(name, t_ns=T_NS, values=None):
    values = np.zeros(len(t_ns), np.float32) if values is None else np.asarray(values, np.float32)
    return lambda r: replace(r, signals={name: Signal(np.asarray(t_ns), values)})


def frames(function):
    return lambda r: replace(r, frames=function)


def sensor(kind, fields, reading, t_ns=T_NS, **more):
    return lambda r: replace(r, calibration=None, sensors={"it": Sensor(kind, fields, t_ns, lambda n: reading, **more)})


def entry(**told):
    return lambda r: replace(r, calibration={"front": told})


def raising(error):
    def frames():
        raise error
        yield

    return frames


COUNTER = iter(range(10**6))
XYZ = ("x", "y", "z")
MIRROR = np.diag([1.0, -1.0, 1.0, 1.0]).tolist()
FAR = np.eye(4)
FAR[0, 3] = 50


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: replace(r, name="a/b"), "holds a slash"),
        (lambda r: replace(r, split="training"), "split = 'training'"),
        (lambda r: replace(r, period_ns=0.1), "period_ns = 0.1"),
        (frames(lambda: iter(())), "gives none"),
        (frames(raising(UserError("x.mp4: is cut short; copy it again"))), "x.mp4: is cut short"),
        (frames(raising(UserError("bad"))), "not one line that names file"),
        (frames(raising(KeyError("t"))), "which is no UserError"),
        (frames(lambda: ((t, image(t, next(COUNTER) % 200)) for t in T_NS.tolist())), "same pictures and times"),
        (frames(lambda: ((t, image(t)) for t in T_NS)), "no int of ns"),
        (frames(lambda: ((0, image(t)) for t in T_NS.tolist())), "has the time of the one before"),
        (frames(lambda: ((t, None) for t in T_NS.tolist())), "none of the first 4 moments has pictures"),
        (frames(lambda: ((t, (image(t), image(t))) for t in T_NS.tolist())), "2 pictures for 1 cameras"),
        (frames(lambda: (((t, t), image(t)) for t in T_NS.tolist())), "2 times for 1 cameras"),
        (frames(lambda: ((t, image(t).astype(float)) for t in T_NS.tolist())), "is not RGB uint8"),
        (frames(lambda: ((t, image(t)[: 10 + t // 10**8]) for t in T_NS.tolist())), "others are (10, 30)"),
        (signal("wheel"), "signal wheel: is unknown"),
        (signal("steer", values=np.zeros((4, 1))), "should be float32 [4]"),
        (signal("steer", values=[0, 0, 0, 1.5]), "lies outside -1 to 1"),
        (signal("steer", values=[0, 0, 0, np.nan]), "NaN or infinity"),
        (signal("steer", t_ns=[0, 2, 2, 3]), "does not increase at sample 2"),
        (signal("steer", t_ns=T_NS.astype(float)), "should be int64"),
        (signal("steer", t_ns=T_NS + 10**15), "give both one clock"),
        (signal("steer", t_ns=T_NS[:0]), "holds nothing"),
        (signal("ego_pose", values=np.ones((4, 7))), "of lengths 2 to 2"),
        (signal("ego_pose", values=[[5e6, 0, 0, 1, 0, 0, 0]] * 4), "more than 100 km"),
        (signal("gps", values=[[120, 10, 0]] * 4), "no latitude and longitude"),
        (sensor("sonar", XYZ, None), "kind = 'sonar'"),
        (sensor("lidar", ("range", "angle"), None), "do not begin with x, y, z"),
        (sensor("lidar", XYZ, np.zeros((3, 4), np.float32)), "should be float32 [n, 3]"),
        (sensor("lidar", XYZ, np.zeros((3, 3))), "should be float32 [n, 3]"),
        (sensor("lidar", XYZ, np.full((3, 3), np.nan, np.float32)), "not finite"),
        (sensor("lidar", (*XYZ, "intensity"), np.full((3, 4), 9, np.float32)), "intensity is 9 to 9"),
        (sensor("lidar", XYZ, None), "none of its first 4 readings"),
        (sensor("lidar", XYZ, None, t_ns=T_NS[:0]), "has no readings"),
        (sensor("radar", XYZ, np.zeros((3, 3), np.float32), t_ns=T_NS[::-1]), "does not increase"),
        (sensor("boxes", XYZ, None), "boxes have the fields"),
        (sensor("image", (), np.zeros((3, 3, 3), np.uint8)), "should be uint8 [height, width]"),
        (lambda r: replace(r, sensors={"front": r.sensors["lidar"]}), "bears the name of a camera"),
        (lambda r: replace(r, sensors={"lidar": replace(r.sensors["lidar"], read=lambda n: 1 / 0)}), "ZeroDivisionError"),
        (
            lambda r: replace(r, sensors={**r.sensors, "boxes": replace(r.sensors["boxes"], classes=("car",))}),
            "a class that is none of the 1 named",
        ),
        (lambda r: replace(r, calibration={"rear": {}}), "neither a camera nor a sensor"),
        (entry(to_ego=np.eye(3).tolist()), "no 4x4"),
        (entry(to_ego=MIRROR), "determinant -1.000"),
        (entry(to_ego=FAR.tolist()), "no place on a car"),
        (entry(distortion=[0, 0]), "five numbers"),
        (entry(intrinsics=[[30, 0, 15], [0, 30, 10]]), "no 3x3"),
        (entry(intrinsics=[[3, 0, 15], [0, 3, 10], [0, 0, 1]]), "focal lengths 3, 3 do not fit"),
        (entry(intrinsics=[[30, 0, 600], [0, 30, 10], [0, 0, 1]]), "centre 600, 10"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_told(change, complaint):
    found = check_source(Given(lambda: [change(good())]))
    assert any(complaint in one for one in found), found


def test_what_breaks_the_contract_of_a_source_is_told():
    assert "comes twice" in check_source(type("Twice", (Given,), {"cameras": ("a", "a")})(lambda: [good()]))[0]
    assert "no tuple of names" in check_source(type("List", (Given,), {"cameras": ["a"]})(lambda: [good()]))[0]
    assert check_source(Given(lambda: [])) == ["recordings() gives none"]
    assert "'drive' names 2 recordings" in check_source(Given(lambda: [good(), good()]))
    names = iter("abcdef")
    assert "other names the second time" in check_source(Given(lambda: [replace(good(), name=next(names))]))[0]
    assert "recordings() raised" in check_source(Given(raising(ValueError("x"))))[0]
