"""nuScenes: made tables of a scene that turns left, read back; and the real key frame with its LiDAR in all six cameras."""

import json

import cv2
import numpy as np
import pytest

from roadcast.data.geometry import inverse, matrix_of, moved, project, yaw_of
from roadcast.data.sources.conform import check_source
from roadcast.data.sources.nuscenes import NuScenesSource, is_nuscenes
from roadcast.errors import UserError

T0 = 1_532_402_927_000_000
SPEED, YAW_RATE = 8.0, 0.25
LOOK_AHEAD = (0.5, -0.5, 0.5, -0.5)
"""Quaternion from a camera's right, down, forward to forward, left, up."""
LOOK_BACK = (0.5, -0.5, -0.5, 0.5)
RADAR_FIELDS = "x y z dyn_prop id rcs vx vy vx_comp vy_comp is_quality_valid ambig_state x_rms y_rms invalid_state pdh0 vx_rms vy_rms"
RADAR_TYPES = "F4 F4 F4 I1 I2 F4 F4 F4 F4 F4 I1 I1 I1 I1 I1 I1 I1 I1"


def pose_at(t_us: int) -> tuple[list[float], list[float]]:
    yaw = YAW_RATE * (t_us - T0) / 1e6
    radius = SPEED / YAW_RATE
    return [1000 + radius * np.sin(yaw), 500 + radius * (1 - np.cos(yaw)), 0.0], [
        np.cos(yaw / 2),
        0,
        0,
        np.sin(yaw / 2),
    ]


def write_radar(path, points):
    names, kinds = RADAR_FIELDS.split(), RADAR_TYPES.split()
    row = np.dtype([(n, f"<{'f' if k[0] == 'F' else 'i'}{k[1]}") for n, k in zip(names, kinds)])
    table = np.zeros(len(points), row)
    for target, point in zip(table, points):
        for name, value in point.items():
            target[name] = value
    lines = ["# .PCD v0.7", "VERSION 0.7", f"FIELDS {RADAR_FIELDS}", "SIZE " + " ".join(k[1] for k in kinds)]
    lines += ["TYPE " + " ".join(k[0] for k in kinds), "COUNT " + " ".join("1" for _ in kinds), f"WIDTH {len(points)}"]
    lines += ["HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(points)}", "DATA binary", ""]
    path.write_bytes("\n".join(lines).encode() + table.tobytes())


def write_set(root, frames=6, can=True):
    """A scene of 6 pictures at 10 Hz of a camera ahead and one behind (30 ms later), a LiDAR at 20 Hz and a radar; key frames 0 and 5."""
    tables: dict[str, list] = {
        name: [] for name in ("sample", "sample_data", "ego_pose", "sensor", "calibrated_sensor")
    }
    mounts = {
        "CAM_BACK": ([-0.5, 0, 1.5], LOOK_BACK, [[800, 0, 40], [0, 800, 20], [0, 0, 1]]),
        "CAM_FRONT": ([1.5, 0, 1.5], LOOK_AHEAD, [[800, 0, 40], [0, 800, 20], [0, 0, 1]]),
        "LIDAR_TOP": ([1.0, 0, 1.8], (np.sqrt(0.5), 0, 0, -np.sqrt(0.5)), []),
        "RADAR_FRONT": ([3.4, 0, 0.5], (1, 0, 0, 0), []),
    }
    for channel, (place, turn, k) in mounts.items():
        tables["sensor"].append({"token": "s" + channel, "channel": channel, "modality": channel[:3]})
        tables["calibrated_sensor"].append(
            {"token": "c" + channel, "sensor_token": "s" + channel, "translation": place, "rotation": list(turn), "camera_intrinsic": k}
        )  # fmt: skip
    tables["sample"] = [{"token": f"k{n}", "timestamp": T0 + n * 500_000, "scene_token": "sc"} for n in range(2)]

    def take(channel, t_us, key, write, suffix):
        folder = "samples" if key else "sweeps"
        file = f"{folder}/{channel}/{channel}__{t_us}.{suffix}"
        (root / folder / channel).mkdir(parents=True, exist_ok=True)
        write(root / file)
        place, turn = pose_at(t_us)
        tables["ego_pose"].append(
            {"token": f"p{channel}{t_us}", "timestamp": t_us, "translation": place, "rotation": turn}
        )
        tables["sample_data"].append(
            {"token": f"d{channel}{t_us}", "sample_token": "k0" if t_us < T0 + 250_000 else "k1", "timestamp": t_us,
             "ego_pose_token": f"p{channel}{t_us}", "calibrated_sensor_token": "c" + channel, "is_key_frame": key, "filename": file}
        )  # fmt: skip

    points = np.array([[-1, 20, 0.5, 51, 7], [2, -5, -1, 255, 31]], np.float32)
    for n in reversed(range(frames)):
        t, key = T0 + n * 100_000, n in (0, 5)
        grey = np.full((40, 80, 3), 40 * n, np.uint8)
        take("CAM_FRONT", t, key, lambda path, grey=grey: cv2.imwrite(str(path), grey), "jpg")
        take("CAM_BACK", t + 30_000, key, lambda path, grey=grey: cv2.imwrite(str(path), grey + 5), "jpg")
        take("RADAR_FRONT", t + 10_000, key, lambda path: write_radar(path, [
            {"x": 12, "y": -3, "vx": 5, "vy": 1, "vx_comp": 7, "vy_comp": 2, "rcs": 10.5, "ambig_state": 3},
            {"x": 1, "ambig_state": 1}, {"x": 2, "ambig_state": 3, "invalid_state": 4}]), "pcd")  # fmt: skip
        for half in (0, 1):
            take("LIDAR_TOP", t + 50_000 * half, key and not half, lambda path: points.tofile(path), "pcd.bin")
    place, turn = pose_at(T0 + 500_000)
    ahead = matrix_of(np.array([*place, *turn])) @ matrix_of(np.array([10, 2, 0.8, np.cos(0.15), 0, 0, np.sin(0.15)]))
    tables["scene"] = [{"token": "sc", "name": "scene-0001", "description": "Turn left", "log_token": "l"}]
    tables["log"] = [{"token": "l", "location": "singapore-onenorth"}]
    tables["category"] = [{"token": "cat", "name": "vehicle.car"}]
    tables["instance"] = [{"token": "i", "category_token": "cat"}]
    box_yaw = YAW_RATE * 0.5 + 0.3
    tables["sample_annotation"] = [
        {"token": "a", "sample_token": "k1", "instance_token": "i", "translation": ahead[:3, 3].tolist(),
         "size": [1.9, 4.5, 1.6], "rotation": [np.cos(box_yaw / 2), 0, 0, np.sin(box_yaw / 2)]}
    ]  # fmt: skip
    (root / "v1.0-mini").mkdir(parents=True)
    for name, rows in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows, indent=0))
    if can:
        write_can(root / "can_bus")
    return root


def write_can(folder):
    folder.mkdir()
    times = [T0 + 20_000 * n for n in range(30)]
    poses = [pose_at(t) for t in times]
    message = {"vel": [SPEED, 0, 0], "rotation_rate": [0, 0, YAW_RATE], "accel": [0.5, SPEED * YAW_RATE, 9.81]}
    rows = {
        "pose": [{"utime": t, "pos": p, "orientation": q, **message} for t, (p, q) in zip(times, poses)],
        "steeranglefeedback": [{"utime": t, "value": 1.5} for t in times],
        "vehicle_monitor": [{"utime": t, "throttle": 250, "brake": 63, "steering": 86} for t in (times[0], times[-1])],
    }
    for name, messages in rows.items():
        (folder / f"scene-0001_{name}.json").write_text(json.dumps(messages))


@pytest.fixture
def made(tmp_path):
    return write_set(tmp_path / "set")


def only(path):
    (recording,) = NuScenesSource(path).recordings()
    return recording


def test_tables_and_their_folder_are_recognised_and_keep_the_contract(made):
    assert is_nuscenes(made) and is_nuscenes(made / "v1.0-mini") and not is_nuscenes(made / "samples")
    for path in (made, made / "v1.0-mini"):
        assert check_source(NuScenesSource(path)) == []


def test_samples_and_sweeps_are_in_order_led_by_the_front_camera(made):
    assert NuScenesSource(made).cameras == ("front", "back")
    recording = only(made)
    moments = list(recording.frames())
    assert [t for t, _ in moments] == [
        ((T0 + n * 100_000) * 1000, (T0 + n * 100_000 + 30_000) * 1000) for n in range(6)
    ]
    assert [round(images[0].mean() / 40) for _, images in moments] == list(range(6))
    assert moments[2][1][1].mean() == pytest.approx(85, abs=2)
    assert recording.period_ns == 100_000_000 and recording.split is None
    assert "scene-0001: singapore-onenorth: Turn left" in recording.notes


def test_signals_of_the_can_bus_are_positive_to_the_left(made):
    signals = only(made).signals
    expected = {"steer": 1.5 / np.radians(780), "throttle": 0.25, "brake": 0.5, "speed": SPEED, "yaw_rate": YAW_RATE}
    for name, value in {**expected, "curvature": YAW_RATE / SPEED}.items():
        np.testing.assert_allclose(signals[name].values, value, rtol=1e-5)
    np.testing.assert_allclose(signals["linear_acceleration"].values[0], [0.5, 2, 0], atol=1e-5)
    pose = signals["ego_pose"].values
    assert len(pose) == 6 * 5 - 6  # the LiDAR fires with the front camera
    np.testing.assert_allclose(pose[0], [0, 0, 0, 1, 0, 0, 0], atol=1e-6)
    assert yaw_of(pose[-1:])[0] == pytest.approx(YAW_RATE * 0.55, abs=1e-5) and pose[-1, 1] > 0


def test_without_the_can_bus_motion_is_that_of_the_poses(tmp_path):
    signals = only(write_set(tmp_path, can=False)).signals
    assert "steer" not in signals
    np.testing.assert_allclose(signals["yaw_rate"].values, YAW_RATE, rtol=1e-4)
    np.testing.assert_allclose(signals["speed"].values[1:-1], SPEED, rtol=1e-3)
    np.testing.assert_allclose(signals["linear_acceleration"].values[2:-2, 1], SPEED * YAW_RATE, rtol=1e-2)


def test_lidar_radar_and_boxes_are_in_our_axes(made):
    recording = only(made)
    lidar, radar, boxes = (recording.sensors[name] for name in ("lidar_top", "radar_front", "boxes"))
    assert len(lidar.t_ns) == 12 and len(radar.t_ns) == 6
    np.testing.assert_allclose(lidar.read(0), [[20, 1, 0.5, 0.2, 7], [-5, -2, -1, 1, 31]])
    np.testing.assert_allclose(np.array(recording.calibration["lidar_top"]["to_ego"]), [
        [1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1.8], [0, 0, 0, 1]], atol=1e-6)  # fmt: skip
    assert radar.fields[:6] == ("x", "y", "z", "vx", "vy", "rcs")
    np.testing.assert_allclose(radar.read(0), [[12, -3, 0, 5, 1, 10.5, 7, 2]])
    assert boxes.t_ns.tolist() == [T0 * 1000, (T0 + 500_000) * 1000] and boxes.classes == ("vehicle.car",)
    assert boxes.read(0).shape == (0, 9)
    np.testing.assert_allclose(boxes.read(1), [[10, 2, 0.8, 4.5, 1.9, 1.6, 0.3, 0, 0]], atol=1e-4)


def test_a_lidar_point_falls_into_the_camera_that_looks_its_way(made):
    recording = only(made)
    points, told = recording.sensors["lidar_top"].read(0)[:, :3], recording.calibration
    for name, point, pixel in (
        ("front", points[0], (40 - 800 / 19.5, 20 - 800 * 0.8 / 19.5)),
        ("back", points[1], (40 - 800 * 2 / 3.5, 20 + 800 * 0.7 / 3.5)),
    ):
        turn = inverse(np.array(told[name]["to_ego"])) @ np.array(told["lidar_top"]["to_ego"])
        seen = moved(point[None], turn)
        assert seen[0, 2] > 0
        np.testing.assert_allclose(project(seen, np.array(told[name]["intrinsics"]))[0], pixel, rtol=1e-4)


def test_missing_files_cut_or_are_left_out_and_are_told(made):
    next((made / "sweeps" / "CAM_BACK").glob("*__1532402927230000.jpg")).unlink()
    next((made / "sweeps" / "LIDAR_TOP").glob("*__1532402927050000*")).unlink()
    recording = only(made)
    assert [images is None for _, images in recording.frames()] == [False, False, True, False, False, False]
    assert any("1 of 6 pictures of CAM_BACK" in note for note in recording.notes)
    lidar = recording.sensors["lidar_top"]
    assert lidar.read(1) is None and lidar.read(0) is not None


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("sample", None, r"sample\.json: is missing"),
        ("ego_pose", "[]", r"ego_pose\.json: lacks the pose"),
        ("scene", '[{"token": "sc"}]', r"scene\.json: a row lacks the field 'name'"),
        ("sample_data", '[{"token": "x", ', r"sample_data\.json: cannot be read as a table of JSON"),
        ("calibrated_sensor", "[]", r"its sample or calibrated_sensor is in no table"),
    ],
)
def test_a_bad_table_is_named(made, table, change, message):
    file = made / "v1.0-mini" / f"{table}.json"
    file.unlink() if change is None else file.write_text(change)
    with pytest.raises(UserError, match=message):
        list(only(made).frames())


def test_the_real_key_frame_keeps_the_contract(shared_data):
    source = NuScenesSource(shared_data / "nuscenes")
    assert check_source(source) == [] and len(source.cameras) == 6 and source.cameras[0] == "front"


def test_the_real_lidar_stands_on_the_road_and_each_camera_sees_the_part_it_looks_at(shared_data):
    """The pictures do not show what the LiDAR saw (a cabinet is in the one alone, a truck ahead in the other): edges are not compared."""
    recording = only(shared_data / "nuscenes")
    ((times, images),) = recording.frames()
    lidar, told, pose = recording.sensors["lidar_top"], recording.calibration, recording.signals["ego_pose"]
    points = lidar.read(0)
    assert points.shape == (34688, 5)
    ego = moved(points[:, :3], np.array(told["lidar_top"]["to_ego"]))
    road = (np.abs(ego[:, :2]) < 10).all(1) & (ego[:, 2] < 1) & (np.hypot(*ego[:, :2].T) > 4)
    assert np.median(ego[road, 2]) == pytest.approx(0, abs=0.15)
    bearings = {"front": 0, "front_left": 55, "back_left": 110, "back": 180, "back_right": -110, "front_right": -55}
    seen_by = np.zeros(len(points), int)
    for name, t, image in zip(NuScenesSource(shared_data / "nuscenes").cameras, times, images):
        world = matrix_of(pose.at(np.array([t, lidar.t_ns[0]])))
        seen = moved(ego, inverse(world[0] @ np.array(told[name]["to_ego"])) @ world[1])
        pixels = np.full((len(points), 2), -1.0)
        pixels[seen[:, 2] > 1] = project(seen[seen[:, 2] > 1], np.array(told[name]["intrinsics"]))
        inside = ((pixels >= 0) & (pixels < image.shape[1::-1])).all(1)
        bearing = np.degrees(np.angle(np.exp(1j * np.arctan2(ego[inside, 1], ego[inside, 0])).sum()))
        assert (bearing - bearings[name] + 180) % 360 - 180 == pytest.approx(0, abs=15)
        seen_by += inside
    assert (seen_by > 0).mean() > 0.4 and (seen_by <= 2).all()


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no"):
        NuScenesSource(tmp_path)
