"""KITTI raw: a made drive that turns left, read back; and a real one looked at through its numbers."""

import cv2
import numpy as np
import pytest

from roadcast.data.geometry import inverse, matrix_of, moved, project, yaw_of
from roadcast.data.sources.conform import check_source
from roadcast.data.sources.kitti import KittiSource, is_kitti
from roadcast.errors import UserError

SPEED, YAW_RATE, YAW = 10.0, 0.2, 0.5
K = (700.0, 0, 50, 0, 700, 30, 0, 0, 1)
CAMERA_TURN = (0, -1, 0, 0, 0, -1, 1, 0, 0)
"""From forward, left, up to right, down, forward."""
TRACKLET = """<boost_serialization><tracklets><item><objectType>Car</objectType><h>1.5</h><w>1.6</w><l>4</l>
<first_frame>1</first_frame><poses><item><tx>10</tx><ty>2</ty><tz>-1.7</tz><rz>0.3</rz></item></poses></item></tracklets></boost_serialization>"""


def text(numbers) -> str:
    return " ".join(f"{float(x)!r}" for x in numbers)


def times(count: int, offset_ms: int = 0) -> str:
    return "\n".join(f"2011-09-26 13:00:00.{100 * n + offset_ms:03d}000000" for n in range(count)) + "\n"


def write_drive(day, name="2011_09_26_drive_0001_sync", frames=4):
    """A drive at 10 m/s round a left bend of 0.2 rad/s on a level road, with two cameras; the second is 0.5 m to the right."""
    drive = day / name
    for folder, offset in (("image_02", 0), ("image_03", 7), ("velodyne_points", 0), ("oxts", 3)):
        (drive / folder / "data").mkdir(parents=True)
        (drive / folder / "timestamps.txt").write_text(times(frames, offset))
    for n in range(frames):
        for folder in ("image_02", "image_03"):
            cv2.imwrite(str(drive / folder / "data" / f"{n:010d}.png"), np.full((60, 100, 3), (0, 0, 50 * n), np.uint8))
        points = np.array([[20, 1, 0.5, 0.25], [np.nan, 0, 0, 1], [5, -2, -1, 1.0]], np.float32)
        points.tofile(drive / "velodyne_points" / "data" / f"{n:010d}.bin")
        yaw = YAW + YAW_RATE * 0.1 * n
        place = np.array([np.sin(yaw) - np.sin(YAW), np.cos(YAW) - np.cos(yaw)]) * SPEED / YAW_RATE
        lat, lon = 49 + np.degrees(place[1] / 6378137), 8 + np.degrees(place[0] / 6378137 / np.cos(np.radians(49)))
        row = [lat, lon, 100, 0, 0, yaw, SPEED * np.sin(yaw), SPEED * np.cos(yaw), SPEED, 0, 0]
        row += [0.5, SPEED * YAW_RATE, 9.81, 0.5, SPEED * YAW_RATE, 9.81, 0, 0, YAW_RATE, 0, 0, YAW_RATE] + [0] * 7
        (drive / "oxts" / "data" / f"{n:010d}.txt").write_text(text(row))
    eye = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    (day / "calib_imu_to_velo.txt").write_text(f"calib_time: 25-May-2012\nR: {text(eye)}\nT: {text((-1, 0, -0.8))}\n")
    (day / "calib_velo_to_cam.txt").write_text(f"R: {text(CAMERA_TURN)}\nT: {text((0, 0, -0.25))}\n")
    lines = [f"R_rect_00: {text(eye)}"]
    for number, shift in (("02", 0.0), ("03", -0.5)):
        lines.append(f"P_rect_{number}: {text((700, 0, 50, 700 * shift, 0, 700, 30, 0, 0, 0, 1, 0))}")
        lines += [f"K_{number}: {text(K)}", f"D_{number}: {text((-0.3, 0.1, 0.01, 0.02, 0))}"]
        lines += [f"R_{number}: {text(eye)}", f"T_{number}: {text((shift, 0, 0))}"]
    (day / "calib_cam_to_cam.txt").write_text("\n".join(lines) + "\n")
    return drive


@pytest.fixture
def day(tmp_path):
    path = tmp_path / "2011_09_26"
    write_drive(path)
    return path


def only(path):
    (recording,) = KittiSource(path).recordings()
    return recording


def test_a_drive_a_day_and_a_folder_of_days_are_recognised_and_keep_the_contract(day, tmp_path):
    drive = day / "2011_09_26_drive_0001_sync"
    assert is_kitti(drive) and is_kitti(day) and is_kitti(tmp_path) and not is_kitti(drive / "image_02")
    for path in (drive, day, tmp_path):
        assert check_source(KittiSource(path)) == []
    assert only(tmp_path).name == drive.name


def test_each_camera_has_its_own_times_and_pictures_are_rgb(day):
    recording = only(day)
    assert KittiSource(day).cameras == ("front", "front_right")
    moments = list(recording.frames())
    first = np.datetime64("2011-09-26T13:00:00", "ns").astype(np.int64)
    assert [t for t, _ in moments] == [(first + n * 10**8, first + n * 10**8 + 7 * 10**6) for n in range(4)]
    assert moments[3][1][1][0, 0].tolist() == [150, 0, 0]


def test_a_left_bend_has_positive_rates_and_a_pose_that_turns_left(day):
    signals = only(day).signals
    expected = {"speed": SPEED, "yaw_rate": YAW_RATE, "curvature": YAW_RATE / SPEED, "acceleration": 0.5}
    for name, value in expected.items():
        np.testing.assert_allclose(signals[name].values, value, rtol=1e-5)
    np.testing.assert_allclose(signals["linear_acceleration"].values, [[0.5, 2, 0]] * 4, atol=1e-5)
    pose = signals["ego_pose"].values
    np.testing.assert_allclose(yaw_of(pose), YAW + 0.02 * np.arange(4), atol=1e-5)
    ahead = moved(pose[3, :3].astype(float), inverse(matrix_of(pose[0])))
    angle = 0.06
    np.testing.assert_allclose(ahead, [50 * np.sin(angle), 50 * (1 - np.cos(angle)), 0], atol=1e-3)
    np.testing.assert_allclose(signals["gps"].values[0], [49, 8, 100], rtol=1e-6)


def test_lidar_points_fall_where_the_cameras_see_them(day):
    recording = only(day)
    points = recording.sensors["lidar"].read(0)
    np.testing.assert_allclose(points, [[20, 1, 0.5, 0.25], [5, -2, -1, 1]])
    told = recording.calibration
    np.testing.assert_allclose(np.array(told["lidar"]["to_ego"])[:3, 3], [1, 0, 0.8])
    for name, u in (("front", 50 - 700 / 19.75), ("front_right", 50 - 700 * 1.5 / 19.75)):
        in_camera = moved(points[:1, :3], inverse(np.array(told[name]["to_ego"])) @ np.array(told["lidar"]["to_ego"]))
        pixel = project(in_camera, np.array(told[name]["intrinsics"]))
        np.testing.assert_allclose(pixel, [[u, 30 - 700 * 0.5 / 19.75]], atol=1e-3)


def test_an_unrectified_drive_has_distortion(tmp_path):
    write_drive(tmp_path, "2011_09_26_drive_0001_extract")
    told = only(tmp_path).calibration["front_right"]
    assert told["distortion"] == [-0.3, 0.1, 0.01, 0.02, 0]
    np.testing.assert_allclose(np.array(told["to_ego"])[:3, 3], [1 + 0.25, -0.5, 0.8])


def test_tracklets_are_boxes_on_their_frames(day):
    drive = day / "2011_09_26_drive_0001_sync"
    (drive / "tracklet_labels.xml").write_text(TRACKLET)
    boxes = only(day).sensors["boxes"]
    assert boxes.classes == ("Car",) and boxes.read(0).shape == (0, 9)
    np.testing.assert_allclose(boxes.read(1), [[10, 2, -1.7 + 0.75, 4, 1.6, 1.5, 0.3, 0, 0]], rtol=1e-6)
    (drive / "tracklet_labels.xml").write_text("<no")
    with pytest.raises(UserError, match=r"tracklet_labels\.xml"):
        list(only(day).frames())


def test_what_is_missing_cuts_is_left_out_or_is_told(day):
    drive = day / "2011_09_26_drive_0001_sync"
    (drive / "image_03" / "data" / f"{1:010d}.png").unlink()
    (drive / "velodyne_points" / "data" / f"{2:010d}.bin").unlink()
    (day / "calib_imu_to_velo.txt").unlink()
    recording = only(day)
    assert [images is None for _, images in recording.frames()] == [False, True, False, False]
    assert recording.sensors["lidar"].read(2) is None and recording.sensors["lidar"].read(1) is not None
    assert recording.calibration is None
    assert any("1 of 4 pictures of front_right" in note for note in recording.notes)
    assert any("calib_imu_to_velo.txt is missing" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("oxts/data/0000000001.txt", "1 2 3", "holds 3 numbers"),
        ("image_02/timestamps.txt", "yesterday", "cannot be read as a time a line"),
        ("../calib_cam_to_cam.txt", "R_rect_00: 1 2", r"lacks P_rect_02|lacks R_rect_00"),
    ],
)
def test_a_bad_file_is_named(day, file, content, message):
    (day / "2011_09_26_drive_0001_sync" / file).write_text(content)
    with pytest.raises(UserError, match=message):
        list(only(day).frames())


def test_a_real_drive(shared_data):
    source = KittiSource(shared_data / "kitti")
    assert check_source(source) == []
    recording = only(shared_data / "kitti")
    points, told = recording.sensors["lidar"].read(0), recording.calibration
    assert len(points) == 115267
    in_camera = moved(points[:, :3], inverse(np.array(told["front"]["to_ego"])) @ np.array(told["lidar"]["to_ego"]))
    in_camera = in_camera[in_camera[:, 2] > 1]
    pixels = project(in_camera, np.array(told["front"]["intrinsics"]))
    inside = ((pixels >= 0) & (pixels < (1242, 375))).all(1)
    assert 17_000 < inside.sum() < 21_000
    assert pixels[inside, 1].min() > 80  # the upper beams look no higher
    low = inside & (pixels[:, 1] > 330) & (pixels[:, 0] < 800)
    assert np.median(in_camera[low, 1]) == pytest.approx(1.65, abs=0.15)  # the road, below the camera
    # the trunk of the tree that stands by the road, 251 to 281 pixels from the left, is nearer than all around it
    band = inside & (pixels[:, 1] > 140) & (pixels[:, 1] < 180)
    trunk = band & (pixels[:, 0] > 256) & (pixels[:, 0] < 276)
    beside = band & (((pixels[:, 0] > 215) & (pixels[:, 0] < 240)) | ((pixels[:, 0] > 300) & (pixels[:, 0] < 325)))
    assert np.median(in_camera[trunk, 2]) < 15 < np.median(in_camera[beside, 2])


def test_the_real_track_agrees_with_the_measured_speed_and_turning(shared_data):
    signals = only(shared_data / "kitti").signals
    pose, t = signals["ego_pose"].values.astype(float), signals["ego_pose"].t_ns / 1e9
    way = np.linalg.norm(np.diff(pose[:, :3], axis=0), axis=1).sum()
    assert way == pytest.approx(np.trapezoid(signals["speed"].values, t), rel=0.01)
    turned = np.unwrap(yaw_of(pose))[-1] - yaw_of(pose)[0]
    assert turned == pytest.approx(np.trapezoid(signals["yaw_rate"].values, t), abs=0.01)
    ahead = pose[1:, :3] - pose[:-1, :3]
    course = np.arctan2(ahead[:, 1], ahead[:, 0])
    assert np.abs(np.angle(np.exp(1j * (course - yaw_of(pose)[:-1])))).max() < 0.05


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no"):
        KittiSource(tmp_path)
