"""LeRobot: what is written is read back the same, and lies where the format says."""

import json
import shutil

import numpy as np
import pytest

import small_sets as made
from roadcast.data.export import export_lerobot
from roadcast.data.reel.store import Reel
from roadcast.data.sources.lerobot import LeRobotSource, is_lerobot
from roadcast.errors import UserError
from roadcast.optional import load_extra

pytest.importorskip("av")
pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def exported(toy_reel, tmp_path_factory):
    """The toy reel as a LeRobot dataset."""
    return export_lerobot(toy_reel, tmp_path_factory.mktemp("lerobot") / "toy", crf=10)


def in_order(reel):
    """The reel's recordings as the dataset has them: by split."""
    return sorted(reel.videos, key=lambda video: ("train", "val", "test").index(video.split))


def test_frames_times_and_signals_come_back(toy_reel, exported):
    reel, source = Reel(toy_reel), LeRobotSource(exported)
    assert is_lerobot(exported) and source.cameras == tuple(reel.cameras)
    recordings = list(source.recordings())
    assert len(recordings) == len(reel.videos) == 4
    for video, recording in zip(in_order(reel), recordings, strict=True):
        rows = slice(video.first, video.first + video.frames)
        moments = list(recording.frames())
        assert [t for t, _ in moments] == reel.t_ns[rows].tolist()
        for n, (_, image) in enumerate(moments):
            difference = image.astype(int) - reel.read(video.first + n).astype(int)
            assert np.abs(difference).mean() < 6, f"{recording.name} frame {n}"  # colour at half resolution, and x264
        assert recording.signals.keys() == reel.signals.keys()
        for name, signal in recording.signals.items():
            np.testing.assert_array_equal(signal.values, np.asarray(reel.signals[name][rows]))


def test_a_frame_is_not_its_neighbour(toy_reel, exported):
    """The means above are small because every frame is the right one: the next one is further off."""
    reel = Reel(toy_reel)
    video = in_order(reel)[1]
    images = [image.astype(int) for _, image in list(LeRobotSource(exported).recordings())[1].frames()]
    truth = [reel.read(video.first + n).astype(int) for n in range(video.frames)]
    own = np.array([np.abs(a - b).mean() for a, b in zip(images, truth, strict=True)])
    next_one = np.array([np.abs(a - b).mean() for a, b in zip(images[:-1], truth[1:], strict=True)])
    assert (own[:-1] < next_one).mean() > 0.95


def test_episodes_are_read_in_any_order(exported):
    whole = [list(recording.frames()) for recording in LeRobotSource(exported).recordings()]
    recordings = list(LeRobotSource(exported).recordings())
    for n in (2, 0, 3, 2):
        again = list(recordings[n].frames())
        assert [t for t, _ in again] == [t for t, _ in whole[n]]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(again, whole[n], strict=True))


def test_the_layout_is_that_of_version_3(toy_reel, exported):
    """https://huggingface.co/docs/lerobot/lerobot-dataset-v3 and the columns its own writer makes."""
    parquet, reel = load_extra("parquet", "this test"), Reel(toy_reel)
    info = json.loads((exported / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 20 and isinstance(info["fps"], int)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, reel.frames, 1)
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    assert info["splits"] == {"train": "0:2", "val": "2:3", "test": "3:4"}
    features = info["features"]
    assert features["action"] == {"dtype": "float32", "shape": [3], "names": ["steer", "throttle", "brake"]}
    assert features["observation.images.front"]["shape"] == [32, 64, 3]
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    assert (exported / "videos/observation.images.front/chunk-000/file-000.mp4").is_file()
    key = "videos/observation.images.front"
    columns = [
        "episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index", "data/chunk_index", "data/file_index",
        f"{key}/chunk_index", f"{key}/file_index", f"{key}/from_timestamp", f"{key}/to_timestamp",
        "meta/episodes/chunk_index", "meta/episodes/file_index",
    ]  # fmt: skip
    episodes = parquet.read_columns(exported / "meta/episodes/chunk-000/file-000.parquet", columns)
    assert episodes["tasks"][0] == ["drive"] and episodes["episode_index"] == [0, 1, 2, 3]
    assert episodes["dataset_to_index"] == [60, 120, 180, 240]
    np.testing.assert_allclose(episodes[f"{key}/from_timestamp"], [0, 3, 6, 9])
    data = parquet.read_columns(
        exported / "data/chunk-000/file-000.parquet",
        ["timestamp", "frame_index", "episode_index", "index", "task_index"],
    )
    assert data["index"] == list(range(240)) and data["frame_index"] == [*range(60)] * 4
    np.testing.assert_allclose(data["timestamp"], np.tile(np.arange(60) / 20, 4), atol=1e-6)
    assert parquet.read_columns(exported / "meta/tasks.parquet", ["task", "task_index"]) == {
        "task": ["drive"],
        "task_index": [0],
    }
    stats = json.loads((exported / "meta" / "stats.json").read_text())
    steer = np.asarray(reel.signals["steer"], np.float64)
    assert stats["action"]["mean"][0] == pytest.approx(steer.mean()) and stats["action"]["count"] == [240]
    assert stats["action"]["std"][0] == pytest.approx(steer.std())
    picture = stats["observation.images.front"]
    assert np.shape(picture["mean"]) == (3, 1, 1) and 0.2 < picture["mean"][1][0][0] < 0.9


def test_films_and_tables_are_split_at_episodes(toy_reel, tmp_path, monkeypatch):
    monkeypatch.setattr("roadcast.data.export.VIDEO_MB", 0.0001)
    monkeypatch.setattr("roadcast.data.export.DATA_MB", 0.02)
    out = export_lerobot(toy_reel, tmp_path / "out", crf=30)
    assert len(list(out.glob("videos/*/chunk-000/*.mp4"))) == 4
    assert len(list(out.glob("data/chunk-000/*.parquet"))) == 2
    assert [len(list(recording.frames())) for recording in LeRobotSource(out).recordings()] == [60] * 4


def test_the_units_of_other_peoples_datasets_are_told_to_be_a_guess(tmp_path):
    first, second = LeRobotSource(made.write_lerobot_2(tmp_path / "l2d")).recordings()
    assert first.name == "l2d_000000" and "invert" in first.notes[0]
    signals = first.signals
    assert signals["steer"].values.tolist() == pytest.approx([-0.2] * 5)
    assert signals["throttle"].values.tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert signals["brake"].values.tolist() == [0] * 5 and signals["speed"].values.tolist() == [5, 6, 7, 8, 9]
    moments = list(second.frames())
    assert [t for t, _ in moments] == [n * 100_000_000 for n in range(5)]
    assert moments[3][1][0, 0].tolist() == [30, 20, 200]


def test_a_film_cut_short_is_refused_where_it_ends(toy_reel, exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    film = copy / "videos/observation.images.front/chunk-000/file-000.mp4"
    parquet = load_extra("parquet", "this test")
    table = copy / "meta/episodes/chunk-000/file-000.parquet"
    columns = parquet.read_columns(table, parquet.column_names(table))
    columns["videos/observation.images.front/from_timestamp"] = [0.0, 3.0, 6.0, 9.5]
    table.unlink()
    parquet.write_table(table, columns)
    *whole, last = LeRobotSource(copy).recordings()
    assert [len(list(recording.frames())) for recording in whole] == [60] * 3
    with pytest.raises(UserError, match=r"file-000.mp4: gave 50 of the 60 frames of episode 3"):
        list(last.frames())
    film.unlink()
    with pytest.raises(UserError, match=r"file-000.mp4: is missing"):
        list(whole[0].frames())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v1.6"}, "codebase_version = 1.6"),
        ({"fps": None}, "info.json: lacks or spoils"),
        ({"features": {}}, "no camera"),
        ({"data_path": "data/{nothing}.parquet"}, "has no data place"),
        ({"data_path": "data/none.parquet"}, "none.parquet"),
    ],
)
def test_bad_metadata_is_named(tmp_path, change, message):
    path = made.write_lerobot_2(tmp_path / "set") / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        [list(recording.frames()) for recording in LeRobotSource(tmp_path / "set").recordings()]


def test_an_episode_that_lacks_rows_is_refused_alone(tmp_path):
    made.write_lerobot_2(tmp_path / "set")
    episodes = tmp_path / "set" / "meta" / "episodes.jsonl"
    episodes.write_text(episodes.read_text().replace('"length": 5', '"length": 7', 1))
    first, second = LeRobotSource(tmp_path / "set").recordings()
    with pytest.raises(UserError, match=r"episode_000000.parquet: 5 rows of episode 0, which has 7"):
        list(first.frames())
    assert len(list(second.frames())) == 5


def test_what_cannot_be_exported_is_told(toy_reel, pristine, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="is there already"):
        export_lerobot(toy_reel, tmp_path)
    with pytest.raises(UserError, match="crf = 60"):
        export_lerobot(toy_reel, tmp_path / "out", crf=60)
    with pytest.raises(UserError, match="is no reel"):
        export_lerobot(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
