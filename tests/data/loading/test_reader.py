import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from roadcast.data.geometry import from_first, matrix_of, pose_of
from roadcast.data.intake.fit import fit
from roadcast.data.loading.latents import LatentReel
from roadcast.data.loading.reader import Reader
from roadcast.data.loading.sampler import Draw
from roadcast.data.reel.store import Reel
from roadcast.data.reel.writer import ReelWriter
from roadcast.data.sources.base import Recording, Signal
from roadcast.errors import UserError


def draw(firsts: list[int], frames: int = 4, stride: int = 1, reels: list[int] | None = None) -> Draw:
    firsts_B = np.array(firsts, np.int64)
    reel_B = np.array(reels, np.int64) if reels else np.zeros_like(firsts_B)
    return Draw(reel_B, np.zeros_like(firsts_B), firsts_B, 100 + np.arange(len(firsts)), frames, stride)


def smooth(n: int, height: int, width: int) -> np.ndarray:
    """A picture without hard edges, that moves with `n`."""
    y, x = np.mgrid[:height, :width] / height
    waves = [np.sin(3 * x + n / 5), np.cos(4 * y + n / 7), np.sin(2 * (x + y))]
    return np.stack([127 + 100 * wave for wave in waves], -1).astype(np.uint8)


def write(path, frames=12, height=48, width=64, cameras=("front",), signals=None) -> Reel:
    times = np.arange(frames) * 50_000_000
    images = [tuple(smooth(10 * c + n, height, width) for c in range(len(cameras))) for n in range(frames)]
    signals = {name: Signal(times, values) for name, values in (signals or {}).items()}
    with ReelWriter(path, fps=20.0, height=height, width=width, cameras=cameras) as writer:
        writer.add(Recording("a", "made", lambda: zip(times.tolist(), images, strict=True), signals), "train")
    return Reel(path)


def test_every_picture_of_a_batch_is_in_its_place(reel):
    clip = Reader([reel], ("steer",)).read(draw([3, 35, 0], frames=5, stride=2))
    assert clip.frames_BFHWC.shape == (3, 5, 48, 64, 3) and clip.frames_BFHWC.is_contiguous()
    assert clip.views_BFVHWC is None and clip.pose_BF7 is None
    assert clip.key_B.tolist() == [100, 101, 102] and clip.reel_B.tolist() == [0, 0, 0]
    for b, first in enumerate((3, 35, 0)):
        rows = np.arange(first, first + 10, 2)
        assert np.array_equal(clip.frames_BFHWC[b].numpy(), np.stack([reel.read(row) for row in rows]))
        assert np.array_equal(clip.t_ns_BF[b].numpy(), reel.t_ns[rows])
        assert np.array_equal(clip.actions_BFA[b, :, 0].numpy(), reel.signals["steer"][rows])


def test_a_mixture_takes_each_clip_from_its_own_reel(reel, tmp_path):
    other = write(tmp_path / "other", signals={"brake": np.linspace(0, 1, 12)})
    clip = Reader([reel, other], ("steer", "brake")).read(draw([2, 5, 30], reels=[1, 0, 0]))
    for b, (source, first) in enumerate(((other, 2), (reel, 5), (reel, 30))):
        wanted = np.stack([source.read(row) for row in range(first, first + 4)])
        assert np.array_equal(clip.frames_BFHWC[b].numpy(), wanted)
    assert clip.known_BFA[:, 0].tolist() == [[False, True], [True, False], [True, False]]


def test_several_cameras_are_views_of_one_tensor(tmp_path):
    reel = write(tmp_path / "reel", cameras=("left", "right"))
    clip = Reader([reel], ()).read(draw([1, 6], frames=3))
    assert clip.views_BFVHWC.shape == (2, 3, 2, 48, 64, 3)
    for b, f, v in np.ndindex(2, 3, 2):
        assert np.array_equal(clip.views_BFVHWC[b, f, v].numpy(), reel.read((1, 6)[b] + f, v))
    for moved in (clip, clip.to("cpu"), clip.to("meta")):
        assert moved.frames_BFHWC.shape == (2, 3, 48, 64, 3)
        assert moved.frames_BFHWC.untyped_storage()._cdata == moved.views_BFVHWC.untyped_storage()._cdata


@pytest.mark.parametrize("size", [(48, 64), (24, 32), (20, 28), (12, 16), (40, 60), (30, 30), (60, 80)])
def test_a_smaller_size_is_decoded_at_a_reduced_scale_and_looks_the_same(tmp_path, size):
    reel = write(tmp_path / "reel")
    clip = Reader([reel], (), size=size).read(draw([2], frames=2))
    assert clip.frames_BFHWC.shape == (1, 2, *size, 3)
    wanted = fit(reel.read(2), *size, "center")
    assert np.abs(clip.frames_BFHWC[0, 0].numpy().astype(int) - wanted).mean() < 3


def test_reduced_decoding_is_used_where_it_can_be(tmp_path, monkeypatch):
    reel, seen = write(tmp_path / "reel"), []
    decode = cv2.imdecode
    monkeypatch.setattr("roadcast.data.loading.pixels.has_extra", lambda name: False)
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: seen.append(decode(data, flags)) or seen[-1])
    for size in ((48, 64), (25, 33), (24, 32), (12, 16), (6, 8), (3, 4)):
        Reader([reel], (), size=size).read(draw([0], frames=1))
    assert [image.shape[0] for image in seen] == [48, 48, 24, 12, 6, 6]


def test_simplejpeg_decodes_what_is_not_resized_where_it_is_installed(tmp_path, monkeypatch):
    reel, sizes = write(tmp_path / "reel"), []

    def decode_into(data, out):
        sizes.append(out.shape[:2])
        out[:] = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    monkeypatch.setattr("roadcast.data.loading.pixels.has_extra", lambda name: name == "turbojpeg")
    monkeypatch.setattr("roadcast.data.loading.pixels.load_extra", lambda *_: SimpleNamespace(decode_into=decode_into))
    for size in (None, (24, 32), (40, 60)):
        clip = Reader([reel], (), size=size).read(draw([2], frames=1))
    assert sizes == [(48, 64)] and clip.frames_BFHWC.shape[2:4] == (40, 60)


def test_simplejpeg_gives_the_same_pictures_as_opencv(reel, monkeypatch):
    pytest.importorskip("simplejpeg")
    mine = Reader([reel], ()).read(draw([0, 20], frames=12))
    monkeypatch.setattr("roadcast.data.loading.pixels.has_extra", lambda _: False)
    assert torch.equal(mine.frames_BFHWC, Reader([reel], ()).read(draw([0, 20], frames=12)).frames_BFHWC)


def test_a_damaged_picture_is_named_and_never_served(reel):
    row = reel.index[7]
    with open(reel.path / "shards" / f"{row['shard']:05d}.bin", "r+b") as file:
        file.seek(int(row["offset"]) + 100)
        file.write(b"\x00\xff")
    reader = Reader([Reel(reel.path)], ())
    reader.read(draw([0, 8]))
    with pytest.raises(UserError, match=r"frame 7 \(7 of 'a'\), camera 'front', .*checksum"):
        reader.read(draw([0, 5]))


def test_reels_that_do_not_go_together_are_refused(reel, tmp_path):
    wide = write(tmp_path / "wide", width=80)
    with pytest.raises(UserError, match=r"wide: a size of \(48, 80\), but .*reel has \(48, 64\); give the size"):
        Reader([reel, wide], ())
    both = Reader([reel, wide], (), size=(48, 64)).read(draw([0, 0], reels=[0, 1]))
    assert both.frames_BFHWC.shape == (2, 4, 48, 64, 3)
    with pytest.raises(UserError, match=r"two: cameras of 2, but .*reel has 1"):
        Reader([reel, write(tmp_path / "two", cameras=("l", "r"))], ())


def test_poses_are_relative_to_the_first_frame_of_the_clip(tmp_path):
    yaw, n = np.linspace(0.3, 1.5, 12), np.arange(12)
    pose = np.stack([5 * n, n, 0 * n, np.cos(yaw / 2), 0 * n, 0 * n, np.sin(yaw / 2)], 1).astype(np.float32)
    reel = write(tmp_path / "reel", signals={"ego_pose": pose})
    got = Reader([reel], ()).read(draw([4, 0], frames=3, stride=2)).pose_BF7
    assert got.shape == (2, 3, 7) and got.dtype == torch.float32
    torch.testing.assert_close(got[:, 0], torch.tensor([[0.0, 0, 0, 1, 0, 0, 0]] * 2), atol=1e-6, rtol=0)
    again = pose_of(matrix_of(pose[4]) @ matrix_of(got[0].numpy()))
    np.testing.assert_allclose(again, pose[4:10:2], atol=1e-5)


def test_an_unknown_pose_is_unknown_alone_unless_it_is_the_first(reel, tmp_path):
    pose = np.tile(np.array([1, 2, 3, 1, 0, 0, 0], np.float32), (2, 3, 1))
    pose[0, 1, 0] = pose[1, 0, 5] = np.nan
    assert np.isnan(from_first(pose)).all(-1).tolist() == [[False, True, False], [True, True, True]]
    posed = write(tmp_path / "posed", signals={"ego_pose": np.tile(pose[0, 0], (12, 1))})
    got = Reader([reel, posed], ()).read(draw([0, 0], reels=[0, 1])).pose_BF7
    assert got.isnan().all(-1).all(-1).tolist() == [True, False]


def test_latents_of_a_mixture_come_from_their_own_caches(reel, tmp_path):
    caches, wanted = [], []
    for n, channels in enumerate((8, 8, 4)):
        folder = tmp_path / f"cache{n}"
        folder.mkdir()
        z = np.random.default_rng(n).normal(size=(50, 2, 3, channels)).astype(np.float16)
        np.save(folder / "latents.npy", z)
        (folder / "latents.json").write_text("{}")
        caches.append(LatentReel(folder))
        wanted.append(z)
    clip = Reader([reel, reel], ("steer",), latents=caches[:2]).read(draw([6, 1, 2], reels=[1, 0, 1], stride=3))
    assert clip.frames_BFHWC is None and clip.z_BTHWC.dtype == torch.float32
    for b, (n, first) in enumerate(((1, 6), (0, 1), (1, 2))):
        assert np.array_equal(clip.z_BTHWC[b].numpy(), wanted[n][first : first + 12 : 3].astype(np.float32))
    with pytest.raises(UserError, match=r"cache2: latents of \(2, 3, 4\), but .*cache0 has \(2, 3, 8\)"):
        Reader([reel, reel], (), latents=[caches[0], caches[2]])


def test_a_reader_can_be_sent_to_another_process(reel):
    reader = Reader([reel], ("steer",), size=(24, 32))
    again = pickle.loads(pickle.dumps(reader)).read(draw([3]))
    assert torch.equal(again.frames_BFHWC, reader.read(draw([3])).frames_BFHWC)
