"""CARLA: routes that turn left, as common recorders write them, read back; and a real (simulated) one."""

import gzip
import json
import math

import cv2
import numpy as np
import pytest

from roadcast.data.geometry import yaw_of
from roadcast.data.sources.carla import CarlaSource, is_carla, read_dict
from roadcast.data.sources.conform import check_source
from roadcast.errors import UserError

SPEED, YAW_RATE = 6.0, 0.2


def states(count, period):
    """Unreal's world: x east, y south; heading clockwise. A left bend from heading south: (x, y, yaw) a frame."""
    for n in range(count):
        turned = YAW_RATE * period * n
        yaw = math.pi / 2 - turned
        radius = SPEED / YAW_RATE
        yield 50 + radius * (1 - math.cos(turned)), 20 + radius * math.sin(turned), yaw


def write_pictures(folder, count, grey=0, height=30, suffix="png", name="{:04d}"):
    folder.mkdir(parents=True)
    for n in range(count):
        cv2.imwrite(str(folder / f"{name.format(n)}.{suffix}"), np.full((height, 40, 3), grey + 10 * n, np.uint8))


def write_route(path, count=8, period=0.5, python=False, packed=False, compass=False, matrix=False, cameras=("rgb",)):
    for k, camera in enumerate(cameras):
        write_pictures(path / camera, count, grey=k)
    (path / "measurements").mkdir()
    for n, (x, y, yaw) in enumerate(states(count, period)):
        row = {
            "x": x,
            "y": y,
            "theta": yaw,
            "speed": SPEED,
            "steer": -0.25,
            "throttle": 0.5,
            "brake": False,
            "command": 4,
        }
        if compass:
            row |= {"x": -y, "y": x, "theta": (yaw + math.pi / 2) % (2 * math.pi)}
        if matrix:
            c, s = math.cos(yaw), math.sin(yaw)
            row |= {"ego_matrix": [[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0.5], [0, 0, 0, 1]], "theta": None}
        text = repr(row) if python else json.dumps(row)
        if packed:
            (path / "measurements" / f"{n:04d}.json.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (path / "measurements" / f"{n:04d}.json").write_text(text)
    return path


def only(path):
    (recording,) = CarlaSource(path).recordings()
    return recording


LAYOUTS = {
    "python text, compass": {"python": True, "compass": True, "cameras": ("rgb", "rgb_left", "rgb_right")},
    "json, yaw": {"cameras": ("rgb_front", "rgb_left")},
    "packed json, matrix, 4 a second": {"packed": True, "matrix": True, "period": 0.25},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_left_bend_is_a_left_bend_in_every_layout(tmp_path, layout):
    options = LAYOUTS[layout]
    write_route(tmp_path / "Town01" / "route_03", **options)
    assert is_carla(tmp_path) and is_carla(tmp_path / "Town01") and is_carla(tmp_path / "Town01" / "route_03")
    assert check_source(CarlaSource(tmp_path)) == []
    recording, period = only(tmp_path), options.get("period", 0.5)
    assert recording.name == "Town01_route_03" and recording.period_ns == round(period * 1e9)
    assert [t for t, _ in recording.frames()] == [round(n * period * 1e9) for n in range(8)]
    signals = recording.signals
    for name, value in {"steer": 0.25, "throttle": 0.5, "brake": 0, "speed": SPEED, "yaw_rate": YAW_RATE}.items():
        np.testing.assert_allclose(signals[name].values, value, rtol=1e-3)
    np.testing.assert_allclose(signals["curvature"].values[1:-1], YAW_RATE / SPEED, rtol=0.01)
    pose = signals["ego_pose"].values
    np.testing.assert_allclose(pose[0, :3], 0, atol=1e-6)
    np.testing.assert_allclose(np.diff(np.unwrap(yaw_of(pose))), YAW_RATE * period, rtol=1e-4)
    np.testing.assert_allclose(signals["velocity"].values[1:-1], [[SPEED, 0, 0]] * 6, atol=0.02)


def test_cameras_are_named_by_their_folders_front_first(tmp_path):
    write_route(tmp_path, cameras=("rgb_left", "rgb_front", "rgb_right", "rgb_rear", "rgb_augmented"))
    assert CarlaSource(tmp_path).cameras == ("front", "left", "rear", "right")
    images = next(iter(only(tmp_path).frames()))[1]
    assert [image[0, 0, 0] for image in images] == [1, 0, 3, 2]


def test_a_stack_of_pictures_is_taken_apart(tmp_path):
    write_route(tmp_path, cameras=())
    (tmp_path / "rgb_full").mkdir()
    for n in range(8):
        stack = np.repeat(np.array([10, 20, 30], np.uint8), 30)[:, None, None] * np.ones((1, 40, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "rgb_full" / f"{n:04d}.png"), stack)
    assert CarlaSource(tmp_path).cameras == ("front", "left", "right") and check_source(CarlaSource(tmp_path)) == []
    images = next(iter(only(tmp_path).frames()))[1]
    assert [(image.shape, image.mean()) for image in images] == [((30, 40, 3), 10 * k) for k in (1, 2, 3)]


def test_a_csv_beside_pictures(tmp_path):
    write_pictures(tmp_path / "images", 5, name="frame_{:06d}")
    lines = ["frame,timestamp,steer,throttle,brake,speed_kmh,x,y,yaw"]
    for n, (x, y, yaw) in enumerate(states(5, 0.1)):
        lines.append(f"{n},{7 + 0.1 * n},-0.1,0.4,0,{SPEED * 3.6},{x},{y},{math.degrees(yaw)}")
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    assert (
        is_carla(tmp_path) and CarlaSource(tmp_path).cameras == ("front",) and check_source(CarlaSource(tmp_path)) == []
    )
    recording = only(tmp_path)
    assert [t for t, _ in recording.frames()] == [7_000_000_000 + n * 100_000_000 for n in range(5)]
    np.testing.assert_allclose(recording.signals["steer"].values, 0.1)
    np.testing.assert_allclose(recording.signals["speed"].values, SPEED, rtol=1e-6)
    np.testing.assert_allclose(recording.signals["yaw_rate"].values, YAW_RATE, rtol=1e-3)


def test_images_with_a_table_of_ours_are_no_carla(tmp_path):
    write_pictures(tmp_path / "images", 2)
    (tmp_path / "images" / "signals.csv").write_text("t,steer,throttle,_file\n0,0.1,0.2,0000.png\n")
    assert not is_carla(tmp_path) and not is_carla(tmp_path / "images")


def test_lidar_and_boxes_are_turned_to_our_axes(tmp_path):
    write_route(tmp_path)
    for folder in ("lidar", "boxes"):
        (tmp_path / folder).mkdir()
    box = {"class": "car", "position": [10, 3, 0.7], "extent": [2.2, 0.9, 0.7], "yaw": 0.2, "id": 4}
    ego = {"class": "ego_car", "position": [0, 0, 0], "extent": [1, 1, 1], "yaw": 0, "id": 1}
    for n in range(8):
        np.save(tmp_path / "lidar" / f"{n:04d}.npy", np.array([[5, 2, -1, 0.5]], np.float32))
        (tmp_path / "boxes" / f"{n:04d}.json.gz").write_bytes(gzip.compress(json.dumps([ego, box]).encode()))
    recording = only(tmp_path)
    assert check_source(CarlaSource(tmp_path)) == []
    np.testing.assert_allclose(recording.sensors["lidar"].read(0), [[5, -2, -1, 0.5]])
    np.testing.assert_allclose(
        recording.sensors["boxes"].read(3), [[10, -3, 0.7, 4.4, 1.8, 1.4, -0.2, 0, 4]], rtol=1e-6
    )
    assert recording.sensors["boxes"].classes == ("car",)


def test_pickled_points_are_never_opened(tmp_path):
    write_route(tmp_path)
    (tmp_path / "lidar").mkdir()
    np.save(tmp_path / "lidar" / "0000.npy", np.array([1, None], object), allow_pickle=True)
    recording = only(tmp_path)
    assert "lidar" not in recording.sensors and any("no .npy of plain numbers" in note for note in recording.notes)


def test_a_missing_picture_cuts(tmp_path):
    write_route(tmp_path, cameras=("rgb", "rgb_left"))
    (tmp_path / "rgb_left" / "0002.png").unlink()
    recording = only(tmp_path)
    assert [images is None for _, images in recording.frames()] == [n == 2 for n in range(8)]
    assert any("1 of 8 pictures of rgb_left are missing" in note for note in recording.notes)


def test_a_rate_that_nothing_tells_is_told_as_taken(tmp_path):
    write_route(tmp_path)
    for file in (tmp_path / "measurements").iterdir():
        file.write_text(json.dumps({"steer": 0.5, "throttle": 0, "brake": 1}))
    recording = only(tmp_path)
    assert recording.period_ns == 500_000_000 and any("neither times nor speed" in note for note in recording.notes)
    np.testing.assert_allclose(recording.signals["steer"].values, -0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').getcwd()", "neither JSON nor the text of a Python dict"),
        ("{'steer': 0.1", "neither JSON nor the text of a Python dict"),
        ("[1, 2]", "holds a list, not a dict"),
        ("(" * 100_000, "neither JSON nor the text of a Python dict"),
        ("{'steer': 'left'}", "steer = 'left' is no number"),
        ("{'ego_matrix': [1]}", "ego_matrix is of shape"),
    ],
)
def test_a_bad_measurement_is_named_and_never_run(tmp_path, text, message):
    write_route(tmp_path)
    (tmp_path / "measurements" / "0003.json").write_text(text)
    with pytest.raises(UserError, match=rf"0003\.json: .*{message}|0003\.json: {message}"):
        list(only(tmp_path).frames())


def test_python_text_gives_what_json_gives(tmp_path):
    (tmp_path / "a.json").write_text("{'brake': True, 'x': -1.5e1, 'command': None}")
    (tmp_path / "b.json").write_text('{"brake": true, "x": -15, "command": null}')
    assert read_dict(tmp_path / "a.json") == read_dict(tmp_path / "b.json")


def test_a_real_route(shared_data):
    source = CarlaSource(shared_data / "carla")
    assert source.cameras == ("front", "left", "right") and check_source(source) == []
    recording = only(shared_data / "carla")
    assert recording.period_ns == 500_000_000
    moments = list(recording.frames())
    assert len(moments) == 61 and all(images is not None for _, images in moments)
    signals = recording.signals
    driven = np.diff(signals["ego_pose"].values[:, :2], axis=0)
    assert np.linalg.norm(driven, axis=1).sum() == pytest.approx(signals["speed"].values.sum() * 0.5, rel=0.15)
    assert (signals["velocity"].values[:, 0] > -0.05).all()
    stopped = signals["speed"].values < 0.01
    assert stopped.sum() > 30
    still = [n for n in range(60) if stopped[n] and stopped[n + 1]]
    moving = [n for n in range(60) if signals["speed"].values[n] > 2]
    change = [np.abs(moments[n][1][0].astype(int) - moments[n + 1][1][0]).mean() for n in range(60)]
    assert np.median([change[n] for n in moving]) > 2 * np.median([change[n] for n in still])


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no"):
        CarlaSource(tmp_path)
