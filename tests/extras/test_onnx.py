"""The tokenizer in ONNX Runtime says what it says in PyTorch, from the first frame on and at any stride."""

import numpy as np
import pytest
import torch

from roadcast.nn.causal_conv import Stream
from worlds import micro_config, random_world

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("roadcast.extras.onnx", reason="ONNX files are written by onnx and onnxscript")


def exported(folder, **changes):
    """A tokenizer, and its two files in ONNX Runtime."""
    tokenizer = random_world(micro_config(**changes)).tokenizer
    tokenizer.mean.fill_(0.1)
    tokenizer.std.fill_(0.7)
    onnx.export_tokenizer(tokenizer, folder, 32, 64)
    return tokenizer, *(onnxruntime.InferenceSession(folder / name) for name in (onnx.ENCODER, onnx.DECODER))


def streamed(decoder, z_BTHWC) -> np.ndarray:
    """Frames decoded one latent at a time, each with the past that the one before left, from zeros."""
    _, *places = decoder.get_inputs()
    past, made = {place.name: np.zeros(place.shape, np.float32) for place in places}, []
    for z in z_BTHWC.split(1, dim=1):
        frames, *new = decoder.run(None, {"latent": z.numpy(), **past})
        past = dict(zip(past, new, strict=True))
        made.append(frames)
    return np.concatenate(made, axis=1).astype(int)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {"widths": (8, 16)},
        pytest.param({"time_stride": 2, "time_kernel": 3, "bottleneck": "kl"}, marks=pytest.mark.slow),
        pytest.param({"time_stride": 4, "time_kernel": 1}, marks=pytest.mark.slow),
    ],
)
def test_it_encodes_clips_of_any_length_and_decodes_frame_by_frame(changes, tmp_path):
    tokenizer, encoder, decoder = exported(tmp_path, **{f"tokenizer__{name}": value for name, value in changes.items()})
    for latents in (1, 5):
        frames = torch.randint(0, 256, (1, latents * tokenizer.config.time_stride, 32, 64, 3), dtype=torch.uint8)
        z = tokenizer.encode(frames)
        (theirs,) = encoder.run(None, {"frames": frames.numpy()})
        np.testing.assert_allclose(theirs, z.numpy(), atol=1e-5)
        shown = tokenizer.decode(z, Stream()).numpy()
        assert np.abs(streamed(decoder, z) - shown).max() <= 1 and shown.std() > 8


def test_a_file_of_other_weights_is_found_out(tmp_path):
    """`check` is what keeps a file that disagrees from being left: here each network is compared to another's file."""
    ours, theirs = (torch.nn.Linear(8, 8) for _ in range(2))
    x = [torch.randn(3, 8)]
    tupled = [torch.nn.Sequential(network, Tuple()).eval() for network in (ours, theirs)]
    onnx.write(tmp_path / "linear.onnx", tupled[0], x, ["x"], ["y"])
    onnx.check(tmp_path / "linear.onnx", tupled[0], [x])
    with pytest.raises(RuntimeError, match=r"linear.onnx: y is \S+ off in ONNX Runtime"):
        onnx.check(tmp_path / "linear.onnx", tupled[1], [x])


class Tuple(torch.nn.Module):
    """A network's one output, as the networks here have it."""

    def forward(self, x):
        return (x,)
