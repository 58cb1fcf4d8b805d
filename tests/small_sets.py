"""Small data sets of public formats, written as their documents say: what tests read in place of the real ones."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roadcast.data.sources.tfrecord import masked_crc32c

SEGMENT = "10023947602400723454_1120_000_1140_000"
T0_US = 1_552_440_195_362_591
HEIGHT, WIDTH = 60, 96
ROWS, COLUMNS = 8, 180
LOW, HIGH = -0.3, 0.1
"""Inclinations of the LiDAR's lowest and highest edge, rad."""
SPEED = 8.0
CAMERA_YAWS = {1: 0.0, 2: 0.8, 3: -0.8}
LIDAR_MOUNT = np.array([[0.0, -1, 0, 1.4], [1, 0, 0, 0.1], [0, 0, 1, 2.2], [0, 0, 0, 1]])
"""The LiDAR is turned to the left by 90 degrees."""
INTRINSIC = [100.0, 100.0, 48.0, 30.0, 0.01, -0.02, 0.001, 0.002, 0.0]
THINGS = np.array([[12.0, 3.0, 1.0], [20.0, -6.0, 2.0], [-9.0, 4.0, 0.5], [6.0, -15.0, 1.5]])
"""Where points stand in the world, in m of the vehicle's pose at the first frame's sweep middle."""


def jpeg(n: int, camera: int) -> bytes:
    image = np.full((HEIGHT, WIDTH, 3), (20 * camera, 100, 10 * n), np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()


def pose(n: float) -> np.ndarray:
    """Vehicle to world at frame n + 1/2: it drives along the world's y, far from the origin."""
    return np.array([[0.0, -1, 0, 5000.0], [1, 0, 0, 9000 + SPEED * 0.1 * n], [0, 0, 1, -3], [0, 0, 0, 1]])


def mounted(yaw: float) -> np.ndarray:
    """A camera's extrinsic, x forward, y left, z up."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, 1.5], [s, c, 0, 0.0], [0, 0, 1, 2.1], [0, 0, 0, 1]])


def range_image(n: int, moving: bool) -> tuple[np.ndarray, np.ndarray]:
    """THINGS as seen at frame n: [H, W, 4], and the pose of every pixel [H, W, 6]; while `moving`, a pixel further on is later."""
    image = np.zeros((ROWS, COLUMNS, 4), np.float32)
    world = (pose(0) @ np.c_[THINGS, np.ones(len(THINGS))].T).T
    poses = np.zeros((ROWS, COLUMNS, 6), np.float32)
    late = (np.arange(COLUMNS) + 0.5) / COLUMNS - 0.5 if moving else np.zeros(COLUMNS)
    poses[..., 2] = np.pi / 2
    poses[..., 3:] = np.stack([pose(n + d)[:3, 3] for d in late])
    for thing in world:
        for column in range(COLUMNS):
            seen = np.linalg.inv(pose(n + late[column]) @ LIDAR_MOUNT) @ thing
            azimuth = np.arctan2(seen[1], seen[0]) + np.pi / 2  # the mount's own turn is taken off again
            at = (1 - ((azimuth + np.pi) / (2 * np.pi)) % 1) * COLUMNS
            if int(at) % COLUMNS == column:
                distance = np.linalg.norm(seen[:3])
                row = ROWS - 1 - int((np.arcsin(seen[2] / distance) - LOW) / (HIGH - LOW) * ROWS)
                if 0 <= row < ROWS:
                    image[row, column] = (distance, 3.0, 0.5, -1)
    return image, poses


def write_waymo_tables(folder: Path, frames: int = 4, name: str = SEGMENT) -> Path:
    """A segment of version 2, with three cameras, the top LiDAR and boxes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: dict[str, list[dict[str, Any]]] = {}
    segment = {"key.segment_context_name": name}
    for camera, yaw in CAMERA_YAWS.items():
        parts = zip(("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3"), INTRINSIC, strict=True)
        tables.setdefault("camera_calibration", []).append(segment | {"key.camera_name": camera} | {
            f"[CameraCalibrationComponent].intrinsic.{part}": value for part, value in parts
        } | {
            "[CameraCalibrationComponent].extrinsic.transform": mounted(yaw).ravel().tolist(),
            "[CameraCalibrationComponent].width": WIDTH, "[CameraCalibrationComponent].height": HEIGHT,
            "[CameraCalibrationComponent].rolling_shutter_direction": 2,
        })  # fmt: skip
    tables["lidar_calibration"] = [segment | {
        "key.laser_name": 1, "[LiDARCalibrationComponent].extrinsic.transform": LIDAR_MOUNT.ravel().tolist(),
        "[LiDARCalibrationComponent].beam_inclination.min": LOW, "[LiDARCalibrationComponent].beam_inclination.max": HIGH,
        "[LiDARCalibrationComponent].beam_inclination.values": None,
    }]  # fmt: skip
    for n in range(frames):
        frame = segment | {"key.frame_timestamp_micros": T0_US + 100_000 * n}
        start = T0_US / 1e6 + 0.1 * n
        for camera in reversed(CAMERA_YAWS):
            shot, shutter = "[CameraImageComponent].", "[CameraImageComponent].rolling_shutter_params."
            tables.setdefault("camera_image", []).append(frame | {
                "key.camera_name": camera, shot + "image": jpeg(n, camera), shot + "pose.transform": pose(n).ravel().tolist(),
                **{f"{shot}velocity.linear_velocity.{axis}": v for axis, v in zip("xyz", (0.0, SPEED, 0.0))},
                **{f"{shot}velocity.angular_velocity.{axis}": v for axis, v in zip("xyz", (0.0, 0.1, 0.2))},
                shot + "pose_timestamp": start + 0.05, shutter + "shutter": 0.002,
                shutter + "camera_trigger_time": start + 0.02 + 0.01 * camera,
                shutter + "camera_readout_done_time": start + 0.06 + 0.01 * camera,
            })  # fmt: skip
        image, poses = range_image(n, moving=True)
        key = frame | {"key.laser_name": 1}
        tables.setdefault("lidar", []).append(key | {
            "[LiDARComponent].range_image_return1.values": image.ravel().tolist(),
            "[LiDARComponent].range_image_return1.shape": list(image.shape),
            "[LiDARComponent].range_image_return2.values": None, "[LiDARComponent].range_image_return2.shape": None,
        })  # fmt: skip
        tables.setdefault("lidar_pose", []).append(key | {
            "[LiDARPoseComponent].range_image_return1.values": poses.ravel().tolist(),
            "[LiDARPoseComponent].range_image_return1.shape": list(poses.shape),
        })  # fmt: skip
        place = "[VehiclePoseComponent].world_from_vehicle.transform"
        tables.setdefault("vehicle_pose", []).append(frame | {place: pose(n).ravel().tolist()})
        box = "[LiDARBoxComponent]."
        centre = dict(zip("xyz", (10.0 - n, 2.0, 0.5), strict=True))
        tables.setdefault("lidar_box", []).append(frame | {
            "key.laser_object_id": "thing", box + "type": 1, box + "box.heading": 0.1,
            **{f"{box}box.center.{axis}": v for axis, v in centre.items()},
            **{f"{box}box.size.{axis}": v for axis, v in zip("xyz", (4.5, 1.9, 1.6))},
        })  # fmt: skip
    listed = pa.list_(pa.float32())
    for table, rows in tables.items():
        (folder / table).mkdir(parents=True, exist_ok=True)
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        arrays = {k: pa.array(v, listed) if k.endswith(".values") else pa.array(v) for k, v in columns.items()}
        if "[LiDARComponent].range_image_return2.shape" in arrays:
            arrays["[LiDARComponent].range_image_return2.shape"] = pa.array([None] * len(rows), pa.list_(pa.int32()))
        pq.write_table(pa.table(arrays), folder / table / f"{name}.parquet")
    return folder


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(*fields: tuple[int, Any]) -> bytes:
    """A protocol buffer of (number, value): int as varint, float as double, np.float32 as float, bytes as they are."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        elif isinstance(value, np.float32):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def transform(matrix: np.ndarray) -> bytes:
    return message(*((1, float(value)) for value in matrix.ravel()))


def matrix_float(values: np.ndarray) -> bytes:
    packed = np.ascontiguousarray(values, "<f4").tobytes()
    return zlib.compress(message((1, packed), (2, message(*((1, int(size)) for size in values.shape)))))


def waymo_frame(n: int, cameras: tuple[int, ...] = tuple(CAMERA_YAWS)) -> bytes:
    """One `Frame` of version 1."""
    context = message(
        (1, SEGMENT.encode()),
        *((2, message(
            (1, camera), *((2, value) for value in INTRINSIC), (3, transform(mounted(yaw))), (4, WIDTH), (5, HEIGHT),
        )) for camera, yaw in CAMERA_YAWS.items()),
        (3, message((1, 1), (3, LOW), (4, HIGH), (5, transform(LIDAR_MOUNT)))),
    )  # fmt: skip
    start = T0_US / 1e6 + 0.1 * n
    shots = [
        (4, message(
            (1, camera), (2, jpeg(n, camera)), (3, transform(pose(n))),
            (4, message(
                (1, np.float32(0)), (2, np.float32(SPEED)), (3, np.float32(0)), (4, 0.0), (5, 0.1), (6, 0.2),
            )),
            (5, start + 0.05), (6, 0.002), (7, start + 0.02 + 0.01 * camera), (8, start + 0.06 + 0.01 * camera),
        )) for camera in reversed(cameras)
    ]  # fmt: skip
    image, poses = range_image(n, moving=True)
    laser = message((1, 1), (2, message((2, matrix_float(image)), (4, matrix_float(poses)))))
    box = message((1, 10.0 - n), (2, 2.0), (3, 0.5), (4, 1.9), (5, 4.5), (6, 1.6), (7, 0.1))
    label = message((1, box), (3, 1), (4, b"thing"))
    return message((1, context), (2, T0_US + 100_000 * n), (3, transform(pose(n))), *shots, (5, laser), (6, label))


def write_records(path: Path, records: list[bytes]) -> Path:
    """A TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for record in records:
            head = struct.pack("<Q", len(record))
            file.write(head + struct.pack("<I", masked_crc32c(head)))
            file.write(record + struct.pack("<I", masked_crc32c(record)))
    return path


def write_waymo_records(folder: Path, frames: int = 4) -> Path:
    """A segment of version 1, the same as that of `write_waymo_tables`."""
    write_records(folder / f"segment-{SEGMENT}_with_camera_labels.tfrecord", [waymo_frame(n) for n in range(frames)])
    return folder


def write_comma_segment(folder: Path, first: int = 0, frames: int = 8, decoded: int | None = None) -> Path:
    """A minute of comma2k19, shorter: due north at 10 m/s in San Jose, the camera 3 degrees down, turning left slowly."""
    import av

    (folder / "global_pose").mkdir(parents=True)
    with av.open(str(folder / "video.hevc"), "w", format="hevc") as film:
        stream = film.add_stream("libx265", rate=20)
        stream.width, stream.height, stream.pix_fmt = 1164, 874, "yuv420p"
        stream.options = {"preset": "ultrafast", "x265-params": "log-level=none"}
        for n in range(frames if decoded is None else decoded):
            image = np.full((874, 1164, 3), 20 * (first + n) % 250, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(stream.encode(None))
    t = 46408.5 + 0.05 * (first + np.arange(frames))
    latitude, longitude, radius = np.radians(37.3), np.radians(-121.9), 6371e3
    up = np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])
    north = np.array([0, 0, 1]) - up[2] * up
    north /= np.linalg.norm(north)
    east = np.cross(north, up)
    pitch = np.radians(-3.0)  # nose down
    forward, down = np.cos(pitch) * north + np.sin(pitch) * up, np.sin(pitch) * north - np.cos(pitch) * up
    turn = np.stack([forward, east, down], 1)  # columns: the camera's axes in the Earth's
    w = np.sqrt(1 + np.trace(turn)) / 2
    quaternion = np.array([
        w, (turn[2, 1] - turn[1, 2]) / (4 * w), (turn[0, 2] - turn[2, 0]) / (4 * w), (turn[1, 0] - turn[0, 1]) / (4 * w),
    ])  # fmt: skip
    positions = radius * up + 10 * (t - 46408.5)[:, None] * north
    poses = {"times": t, "positions": positions, "velocities": np.tile(10 * north, (frames, 1))}
    for name, values in {**poses, "orientations": np.tile(quaternion, (frames, 1))}.items():
        save(folder / "global_pose" / f"frame_{name}", values)
    fast = 46408.5 + 0.01 * (5 * first + np.arange(5 * frames))
    spin = np.tile(turn.T @ (0.2 * up), (len(fast), 1))
    felt = np.tile(turn.T @ (9.81 * up + 1.5 * north), (len(fast), 1))
    for name, values in {
        "CAN/speed": np.full((len(fast), 1), 10.0), "CAN/steering_angle": np.full(len(fast), 45.0),
        "IMU/gyro": spin, "IMU/accelerometer": felt,
        "GNSS/live_gnss_ublox": np.tile([37.3, -121.9, 10, 1.5e12, 30.0, 0], (len(fast), 1)),
    }.items():  # fmt: skip
        save(folder / "processed_log" / name / "t", fast)
        save(folder / "processed_log" / name / "value", values)
    return folder


def save(path: Path, values: np.ndarray) -> None:
    """An array without the suffix that numpy would add."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        np.save(file, values)


def write_lerobot_2(folder: Path, episodes: int = 2, frames: int = 5) -> Path:
    """A LeRobot dataset of version 2.1 with pictures in its tables, and the columns of L2D."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {
        "observation.images.front_left": {"dtype": "image", "shape": [48, 64, 3], "names": ["height", "width", "channels"]},
        "observation.state.vehicle": {"dtype": "float32", "shape": [2], "names": {"axes": ["speed", "heading"]}},
        "action.continuous": {
            "dtype": "float32", "shape": [3],
            "names": {"axes": ["gas_pedal_normalized", "brake_pedal_normalized", "steering_angle_normalized"]},
        },
    }  # fmt: skip
    (folder / "meta").mkdir(parents=True)
    info = {
        "codebase_version": "v2.1", "fps": 10, "chunks_size": 1000, "features": features, "video_path": None,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }  # fmt: skip
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    rows = [{"episode_index": e, "tasks": ["drive"], "length": frames} for e in range(episodes)]
    (folder / "meta" / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for e in range(episodes):
        path = folder / "data" / "chunk-000" / f"episode_{e:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = [np.full((48, 64, 3), (10 * n, 20 * e, 200), np.uint8) for n in range(frames)]
        cells = [{"bytes": cv2.imencode(".png", p[..., ::-1])[1].tobytes(), "path": None} for p in pictures]
        pq.write_table(pa.table({
            "observation.images.front_left": cells,
            "observation.state.vehicle": [[5.0 + n, 0.3] for n in range(frames)],
            "action.continuous": [[0.1 * n, 0.0, -0.2] for n in range(frames)],
            "timestamp": [n / 10 for n in range(frames)], "frame_index": list(range(frames)),
            "episode_index": [e] * frames, "index": list(range(frames)), "task_index": [0] * frames,
        }), path)  # fmt: skip
    return folder
