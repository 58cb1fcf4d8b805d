"""RADIATE: a made sequence, read back; and the foggy one, of which most files are left out."""

import json
import math

import cv2
import numpy as np
import pytest

from roadcast.data.geometry import inverse, moved, yaw_of
from roadcast.data.sources.conform import check_source
from roadcast.data.sources.radiate import METRES_PER_PIXEL, RadiateSource, is_radiate, radar_place
from roadcast.errors import UserError

T0 = 1_574_859_771
CALIBRATION = """
lidar_calib:
    T: [0.6, -0.1, 0.25]
    R: [0.0, 0.0, 0.0]

# a remark
left_cam_calib:
    T: [0.3, -0.07, 0.28]
    R: [2.0, 0.0, 0.0]
    fx: 3.4e+02
    fy: 339
    cx: 340
    cy: 200
    k1: -0.18
    k2: 0.03
    k3: 0
    p1: 0
    p2: 0
    res: [672, 376]

stereo_calib:
    R: [[1, 0, 0],
        [0, 1, 0]]
"""


def write_times(path, numbers, period=0.1, start=0.0):
    times = [(round((start + period * k) * 10**9), n) for k, n in enumerate(numbers)]
    path.write_text("".join(f"Frame: {n:06d} Time: {T0 + t // 10**9}.{t % 10**9:09d}\n" for t, n in times))


def gps_text(n):
    """10 m/s to the north east, turning left (east of the course gets less): rates and accelerations are along forward, right, down."""
    course = math.pi / 4 + 0.02 * n
    north, east = 10 * math.sin(course), 10 * math.cos(course)
    rows = [[55.9 + n * 1e-5, -3.3, 200], [0] * 3, [0] * 3, [0] * 3, [0, 0, 0, 1], [0, 0, -0.2], [1.5, -2, 0.25]]
    rows += [[0] * 3] * 9 + [[north, east, -0.5], [0, 0, -0.2]]
    return " \n".join(",".join(f"{float(v):.15f}" for v in row) for row in rows)


@pytest.fixture
def sequence(tmp_path):
    path = tmp_path / "radiate" / "fog_1"
    (path / "annotations").mkdir(parents=True)
    (tmp_path / "radiate" / "default-calib.yaml").write_text(CALIBRATION)
    for folder in ("zed_left", "Navtech_Cartesian", "Navtech_Polar", "velo_lidar", "GPS_IMU_Twist"):
        (path / folder).mkdir()
        write_times(path / f"{folder}.txt", range(1, 4))
    write_times(path / "velo_lidar.txt", range(3, 6))
    for n in range(1, 4):
        cv2.imwrite(str(path / "zed_left" / f"{n:06d}.png"), np.full((376, 672, 3), (0, 0, 50 * n), np.uint8))
        radar = np.zeros((1152, 1152), np.uint8)
        radar[575 - 100 : 575 - 60, 575 + 20 : 575 + 30] = 200  # 10 m to 17 m ahead, 3.5 m to 5 m to the right
        cv2.imwrite(str(path / "Navtech_Cartesian" / f"{n:06d}.png"), radar)
        cv2.imwrite(str(path / "Navtech_Polar" / f"{n:06d}.png"), np.zeros((576, 400), np.uint8))
        (path / "GPS_IMU_Twist" / f"{n:06d}.txt").write_text(gps_text(n))
    for n in range(1, 6):
        (path / "velo_lidar" / f"{n:06d}.csv").write_text("1,20,0.5,51,7\n-2,5,-1,255,31\n")
    box = {"position": [595, 475, 10, 40], "rotation": 10.0}
    objects = [
        {"id": 5, "class_name": "bus", "bboxes": [box, [], box]},
        {"id": 6, "class_name": "car", "bboxes": [[], [], []]},
    ]
    (path / "annotations" / "annotations.json").write_text(json.dumps(objects))
    return path


def only(path):
    (recording,) = RadiateSource(path).recordings()
    return recording


def test_a_sequence_and_a_folder_of_such_are_recognised_and_keep_the_contract(sequence):
    assert is_radiate(sequence) and is_radiate(sequence.parent) and not is_radiate(sequence / "zed_left")
    for path in (sequence, sequence.parent):
        assert check_source(RadiateSource(path)) == []
    assert RadiateSource(sequence).cameras == ("front",)  # no zed_right is there


def test_pictures_have_the_times_of_the_text(sequence):
    moments = list(only(sequence).frames())
    assert [t for t, _ in moments] == [T0 * 10**9 + n * 10**8 for n in range(3)]
    assert moments[2][1][0, 0].tolist() == [150, 0, 0]


def test_boxes_lie_on_what_the_radar_sees_and_turn_with_the_rotation(sequence):
    recording = only(sequence)
    boxes, radar = recording.sensors["boxes"], recording.sensors["radar"]
    assert boxes.classes == ("bus", "car") and boxes.read(1).shape == (0, 9)
    (box,) = boxes.read(0)
    lit = np.argwhere(radar.read(0) > 100)[:, ::-1]
    np.testing.assert_allclose(box[:2], radar_place(lit).mean(0), atol=METRES_PER_PIXEL)
    assert box[0] > 10 and box[1] < -3
    np.testing.assert_allclose(
        box[3:], [40 * METRES_PER_PIXEL, 10 * METRES_PER_PIXEL, 3, math.radians(10), 0, 5], rtol=1e-6
    )


def test_lidar_and_camera_are_placed_from_the_calibration(sequence):
    recording = only(sequence)
    lidar, told = recording.sensors["lidar"], recording.calibration
    np.testing.assert_allclose(lidar.read(0), [[20, -1, 0.5, 0.2, 7], [5, 2, -1, 1, 31]])
    np.testing.assert_allclose(
        told["lidar"]["to_ego"], [[1, 0, 0, 0.25], [0, 1, 0, -0.6], [0, 0, 1, 0.1], [0, 0, 0, 1]], atol=1e-9
    )
    assert told["front"]["intrinsics"] == [[340, 0, 340], [0, 339, 200], [0, 0, 1]]
    assert told["front"]["distortion"] == [-0.18, 0.03, 0, 0, 0]
    to_ego = np.array(told["front"]["to_ego"])
    np.testing.assert_allclose(to_ego[:3, 3], [0.28, -0.3, 0.07], atol=1e-9)
    np.testing.assert_allclose(to_ego[:3, 2], [math.cos(math.radians(2)), 0, math.sin(math.radians(2))], atol=1e-9)
    np.testing.assert_allclose(to_ego[:3, 0], [0, -1, 0], atol=1e-9)


def test_lidar_frames_before_those_named_are_dated_by_their_numbers(sequence):
    recording = only(sequence)
    lidar = recording.sensors["lidar"]
    np.testing.assert_allclose((lidar.t_ns / 1e9 - T0), [-0.2, -0.1, 0, 0.1, 0.2], atol=1e-6)
    assert any("2 LiDAR frames come before" in note for note in recording.notes)


def test_signals_are_turned_to_forward_left_up(sequence):
    signals = only(sequence).signals
    np.testing.assert_allclose(signals["speed"].values, 10, rtol=1e-5)
    np.testing.assert_allclose(signals["yaw_rate"].values, 0.2, rtol=1e-5)
    np.testing.assert_allclose(signals["curvature"].values, 0.02, rtol=1e-5)
    np.testing.assert_allclose(signals["linear_acceleration"].values, [[1.5, 2, -0.25]] * 3, rtol=1e-5)
    np.testing.assert_allclose(signals["velocity"].values[:, 2], 0.5)
    pose = signals["ego_pose"].values
    np.testing.assert_allclose(yaw_of(pose), math.pi / 4 + 0.02 * np.arange(1, 4), atol=1e-5)
    np.testing.assert_allclose(pose[:, 1], 6378137 * math.radians(1e-5) * np.arange(3), rtol=1e-4, atol=1e-6)


def test_missing_files_cut_or_are_left_out_and_are_told(sequence):
    for file in ("zed_left/000002.png", "Navtech_Cartesian/000003.png", "velo_lidar/000004.csv"):
        (sequence / file).unlink()
    (sequence.parent / "default-calib.yaml").unlink()
    recording = only(sequence)
    assert [image is None for _, image in recording.frames()] == [False, True, False]
    assert recording.sensors["radar"].read(2) is None and recording.sensors["radar"].read(0) is not None
    assert recording.sensors["lidar"].read(3) is None
    assert set(recording.calibration) == {"radar", "radar_polar", "boxes"}
    told = " ".join(recording.notes)
    assert (
        "1 of 3 pictures of zed_left" in told and "default-calib.yaml is missing" in told and "1 of the 3 LiDAR" in told
    )


def test_a_gps_of_another_time_is_left_out_and_told(sequence):
    write_times(sequence / "GPS_IMU_Twist.txt", range(1, 4), start=64)
    recording = only(sequence)
    assert recording.signals == {} and any("GPS_IMU_Twist covers" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("zed_left.txt", "nothing", r"zed_left\.txt: has no line"),
        ("GPS_IMU_Twist/000002.txt", "1,2,3", "holds 3 numbers"),
        ("annotations/annotations.json", "[{}]", r"annotations\.json: cannot be read"),
        ("../default-calib.yaml", "left_cam_calib:\n    fx: 3\n", r"lacks fy of 1 numbers"),
    ],
)
def test_a_bad_file_is_named(sequence, file, content, message):
    (sequence / file).write_text(content)
    with pytest.raises(UserError, match=message):
        list(only(sequence).frames())


@pytest.fixture
def fog(shared_data):
    return only(shared_data / "radiate")


def test_the_foggy_sequence_keeps_the_contract(shared_data, fog):
    assert check_source(RadiateSource(shared_data / "radiate")) == []
    images = [images for _, images in fog.frames()]
    assert [n for n, image in enumerate(images) if image is not None] == list(range(50))
    assert (
        fog.signals == {} and [fog.sensors["radar"].read(n) is not None for n in range(18)] == [True] * 9 + [False] * 9
    )


def test_boxes_in_fog_are_brighter_than_the_road_ahead_and_behind(fog):
    pictures = [fog.sensors["radar"].read(n) for n in range(9)]
    boxes = fog.sensors["boxes"]

    def bright(ahead):
        found = []
        for n, picture in enumerate(pictures):
            for x, y, _, length, width, _, yaw, *_ in boxes.read(n):
                spread = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 33), np.linspace(-0.5, 0.5, 33)), -1).reshape(
                    -1, 2
                )
                turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
                places = (spread * [length, width]) @ turn.T + [x + ahead, y]
                u, v = np.rint(575.5 - places[:, ::-1] / METRES_PER_PIXEL).astype(int).T
                found.append(np.percentile(picture[v, u], 98))
        assert len(found) == 18
        return np.mean(found)

    assert bright(0) > 1.5 * max(bright(ahead) for ahead in (-16, -12, 12, 16))


def test_radar_and_lidar_see_the_same_walls(fog):
    """A shift ahead is left, as the last LiDAR frame was taken before the first of the radar, at 12 m/s; none to the side is."""
    lidar, radar = fog.sensors["lidar"], fog.sensors["radar"]
    points = lidar.read(11)
    walls = points[(points[:, 2] > -1.2) & (np.hypot(*points[:, :2].T) > 3), :3]
    walls = moved(walls, np.array(fog.calibration["lidar"]["to_ego"]))
    picture = cv2.GaussianBlur(radar.read(0), (0, 0), 1.5).astype(float)

    def bright(ahead, aside):
        u, v = np.rint(575.5 - (walls[:, [1, 0]] - [aside, ahead]) / METRES_PER_PIXEL).astype(int).T
        return picture[v, u].mean()

    _, ahead, aside = max((bright(a, s), a, s) for a in np.arange(-8, 8.1, 0.5) for s in np.arange(-2, 2.1, 0.25))
    assert abs(aside) <= 0.5 and 2.5 <= ahead <= 5.5
    assert bright(ahead, aside) > 1.2 * bright(-ahead, aside)


def test_the_polar_picture_is_clockwise_from_forward(fog):
    polar, picture = fog.sensors["radar_polar"].read(0), fog.sensors["radar"].read(0)
    v, u = np.mgrid[100:1052:7, 100:1052:7].reshape(2, -1)
    x, y = radar_place(np.stack([u, v], 1)).T
    cells = np.hypot(x, y) / METRES_PER_PIXEL
    column = np.rint(np.arctan2(-y, x) / (2 * np.pi) * 400).astype(int) % 400
    near = (cells > 30) & (cells < 500)
    there = polar[cells[near].astype(int), column[near]]
    assert np.corrcoef(there, picture[v[near], u[near]])[0, 1] > 0.85


def test_the_cameras_stand_side_by_side(fog):
    between = inverse(np.array(fog.calibration["front"]["to_ego"])) @ np.array(fog.calibration["front_right"]["to_ego"])
    assert between[0, 3] == pytest.approx(0.12, abs=0.01)  # the right one is 12 cm to the right


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no"):
        RadiateSource(tmp_path)
