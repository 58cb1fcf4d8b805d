import numpy as np
import torch

from roadcast.data.loading.latents import cache_latents
from roadcast.data.loading.loader import Clips
from roadcast.data.reel.store import Reel
from roadcast.nn.causal_conv import Stream

ACTIONS = ("steer", "yaw_rate", "brake")


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True) if x is not None)


def test_a_batch_is_what_the_reel_holds(toy_reel):
    reel = Reel(toy_reel)
    clip = Clips([reel], "train", 6, batch=3, actions=ACTIONS, seed=0, fps=10)[4]
    assert clip.frames_BFHWC.shape == (3, 6, 32, 64, 3) and clip.actions_BFA.shape == clip.known_BFA.shape == (3, 6, 3)
    for b, first in enumerate(clip.first_B.tolist()):
        rows = np.arange(first, first + 12, 2)
        assert np.array_equal(clip.frames_BFHWC[b].numpy(), np.stack([reel.read(i) for i in rows]))
        assert np.array_equal(clip.t_ns_BF[b].numpy(), reel.t_ns[rows])
        assert np.array_equal(clip.actions_BFA[b, :, 1].numpy(), reel.signals["yaw_rate"][rows])
        assert reel.videos[clip.video_B[b]].split == "train"


def test_order_depends_on_neither_workers_nor_where_one_begins(toy_reel):
    clips = Clips([Reel(toy_reel)], "train", 4, batch=2, actions=ACTIONS, seed=0)
    alone = list(clips.batches(0, 6))
    assert all(same(a, b) for a, b in zip(alone, clips.batches(0, 6, workers=2), strict=True))
    assert all(same(a, b) for a, b in zip(alone[3:], clips.batches(3, 6), strict=True))
    assert not same(alone[0], Clips([Reel(toy_reel)], "train", 4, batch=2, actions=ACTIONS, seed=1)[0])


def test_an_unknown_control_is_marked_unknown(toy_reel, tmp_path):
    reel = Reel(toy_reel)
    reel.signals.pop("brake")
    clip = Clips([reel], "train", 4, batch=2, actions=ACTIONS, seed=0)[0]
    assert clip.known_BFA[..., 0].all() and not clip.known_BFA[..., 2].any()
    assert clip.actions_BFA[..., 2].abs().max() == 0


class Mean:
    """A stand-in tokenizer: one cell, the frame's mean colour; it counts its calls."""

    calls = 0

    def encode(self, frames_BFHWC, stream):
        self.calls += 1
        return frames_BFHWC.float().mean(dim=(2, 3), keepdim=True) / 255


def test_latents_are_cached_once_and_line_up_with_the_frames(toy_reel, tmp_path):
    reel, tokenizer = Reel(toy_reel), Mean()
    seen = []

    def cache(key):
        return cache_latents(
            reel, tokenizer, Stream, tmp_path / "latents", key, lambda done, total: seen.append((done, total))
        )

    latents = cache("a")
    made = tokenizer.calls
    assert seen[-1] == (reel.frames, reel.frames)
    cache("a")
    assert tokenizer.calls == made
    cache("b")
    assert tokenizer.calls == 2 * made
    clip = Clips([reel], "train", 5, batch=2, actions=ACTIONS, seed=0, latents=[latents])[1]
    pixels = Clips([reel], "train", 5, batch=2, actions=ACTIONS, seed=0)[1]
    assert clip.frames_BFHWC is None
    torch.testing.assert_close(clip.z_BTHWC, tokenizer.encode(pixels.frames_BFHWC, None), atol=1e-3, rtol=0)
