"""The reel gives back exactly what was written, and names what is damaged."""

import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadcast.data.reel.layout import INDEX, SCHEMA
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.errors import UserError

GOLDEN = Path(__file__).parents[2] / "golden"


def test_reading_gives_exactly_the_bytes_written(make, reel):
    for video, count in zip(reel.videos, (30, 20), strict=True):
        for k in range(count):
            expected = cv2.imencode(".jpg", make.picture(k)[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 95))[1]
            assert bytes(reel.jpeg(video.first + k)) == expected.tobytes()
            assert reel.t_ns[video.first + k] == video.t0_ns + round(k * 1e9 / 20)
    shard = (reel.path / "shards" / "00000.bin").read_bytes()
    assert b"".join(bytes(reel.jpeg(k)) for k in range(30)) == shard


def test_pictures_are_rgb_and_upright(make, reel):
    out = np.empty((48, 64, 3), np.uint8)
    assert reel.read(35, out=out) is out
    assert out[5, 5, 0] > 150 > out[5, 5, 2] and out[-5, -5, 2] > 150 > out[-5, -5, 0]
    assert make.number(out) == pytest.approx(5, abs=0.7)
    np.testing.assert_array_equal(out, reel.read(35))


def test_videos_say_what_they_are(reel):
    assert [(v.name, v.split, v.first, v.frames) for v in reel.videos] == [("a", "train", 0, 30), ("b", "val", 30, 20)]
    assert reel.frames == 50 and reel.video_of(30).name == "b" and reel.videos[1].t0_ns == 100 * 10**9


def test_actions_are_zero_and_unknown_where_there_are_none(reel):
    values, known = reel.actions(30, 5, 2, ("steer", "speed"))
    np.testing.assert_allclose(values[:, 0], np.linspace(-1, 1, 20)[:10:2], atol=1e-6)
    assert known[:, 0].all() and not known[:, 1].any() and not values[:, 1].any()
    with pytest.raises(UserError, match=r"stear.*steer"):
        reel.actions(0, 1, 1, ("stear",))


def test_opening_touches_no_pixels(reel, monkeypatch):
    monkeypatch.setattr(Reel, "shard", lambda *_: pytest.fail("opened a shard"))
    again = pickle.loads(pickle.dumps(reel))
    assert again.fingerprint == reel.fingerprint and again.actions(0, 3, 1, ("steer",))[1].all()


def test_a_flipped_byte_is_named_and_never_served(reel):
    row = reel.index[37]
    shard = reel.path / "shards" / "00001.bin"
    data = bytearray(shard.read_bytes())
    data[int(row["offset"]) + 50] ^= 4
    shard.write_bytes(data)
    damaged = Reel(reel.path)
    with pytest.raises(UserError, match=rf"00001\.bin: frame 37 \(7 of 'b'\).*offset {row['offset']}"):
        damaged.read(37)
    damages = damaged.verify()
    assert len(damages) == 1 and "frame 37 " in damages[0]
    damaged.read(36)
    assert Reel(reel.path).videos == reel.videos


def test_a_whole_reel_has_no_damage(reel):
    assert reel.verify() == []


def test_a_flipped_byte_of_the_index_or_a_signal_is_named(reel):
    for name in ("index.npy", "signals/steer.npy"):
        path = reel.path / "tables/0001" / name
        good = path.read_bytes()
        data = bytearray(good)
        data[-1] ^= 1
        path.write_bytes(data)
        assert any(name in damage for damage in Reel(reel.path).verify())
        path.write_bytes(good)


@pytest.mark.parametrize(
    "lost",
    [
        "tables/0001/index.npy", "tables/0001/videos.jsonl", "tables/0001/signals/steer.npy", "reel.json",
        "shards/00001.bin",
    ],
)  # fmt: skip
def test_a_reel_that_lacks_a_file_or_half_of_it_is_refused(reel, lost):
    path = reel.path / lost
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(UserError, match=str(reel.path)):
        Reel(reel.path)
    path.unlink()
    with pytest.raises(UserError, match=str(reel.path)):
        Reel(reel.path)


def test_a_newer_schema_is_refused_and_an_older_one_is_migrated(reel, monkeypatch):
    path = reel.path / "reel.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header | {"schema": SCHEMA + 1}))
    with pytest.raises(UserError, match="install a newer roadcast"):
        Reel(reel.path)
    monkeypatch.setattr("roadcast.data.reel.layout.SCHEMA", SCHEMA + 1)
    path.write_text(json.dumps(header | {"schema": SCHEMA, "fps": 0}))
    monkeypatch.setattr("roadcast.data.reel.layout.MIGRATIONS", {SCHEMA: lambda old: old | {"fps": 7.0}})
    assert Reel(reel.path).fps == 7.0


def test_a_reel_of_schema_1_loads():
    reel = Reel(GOLDEN / "reel_v1")
    assert json.loads((reel.path / "reel.json").read_text())["schema"] == 1 and reel.header["schema"] == SCHEMA
    assert [(v.frames, v.split, dict(v.sensors)) for v in reel.videos] == [(6, "train", {})] * 2
    assert reel.verify() == [] and reel.read(11, 1).std() > 10 and reel.actions(0, 6, 1, ("steer",))[1].all()
    calibration = reel.videos[0].calibration
    assert calibration is not None and np.array(calibration["left"]["to_ego"]).shape == (4, 4)


def test_every_camera_keeps_its_own_times(make, tmp_path):
    two = make.recording("a", 6)
    two.frames = lambda: (
        ((k * 50_000_000, k * 50_000_000 + 7), (make.picture(k), make.picture(k + 40))) for k in range(6)
    )
    with ReelWriter(tmp_path / "reel", **make.SHAPE, cameras=("left", "right")) as writer:
        writer.add(two)
    reel = Reel(tmp_path / "reel")
    assert reel.t_ns.tolist() == [k * 50_000_000 for k in range(6)]
    assert reel.index["t_ns"][1::2].tolist() == [k * 50_000_000 + 7 for k in range(6)]


def test_what_is_no_reel_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no reel"):
        Reel(tmp_path)
    (tmp_path / "half.partial").mkdir()
    with pytest.raises(UserError, match="not finished"):
        Reel(tmp_path / "half")


def test_cameras_are_rows_of_one_time_step(make, tmp_path):
    two = make.recording("a", 6)
    two.frames = lambda: ((k * 50_000_000, (make.picture(k), make.picture(k + 40))) for k in range(6))
    with ReelWriter(tmp_path / "reel", **make.SHAPE, cameras=("left", "right")) as writer:
        writer.add(two)
    reel = Reel(tmp_path / "reel")
    assert reel.frames == 6 and reel.index.shape == (12,) and reel.index.dtype == INDEX
    assert make.number(reel.read(3, 0)) == pytest.approx(3, abs=0.7) and make.number(reel.read(3, 1)) == pytest.approx(
        43, abs=0.7
    )
    assert reel.t_ns.tolist() == [k * 50_000_000 for k in range(6)] and reel.verify() == []


def test_a_copied_reel_is_the_same_reel(reel, tmp_path):
    shutil.copytree(reel.path, tmp_path / "copy")
    assert Reel(tmp_path / "copy").fingerprint == reel.fingerprint
