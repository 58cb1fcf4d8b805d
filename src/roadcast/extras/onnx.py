"""The tokenizer as ONNX files (onnx, onnxscript), run in ONNX Runtime (onnxruntime) beside PyTorch before they count."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from torch import Tensor, nn

from roadcast.nn.causal_conv import Stream
from roadcast.tokenizer.model import Tokenizer

ENCODER, DECODER = "tokenizer_encoder.onnx", "tokenizer_decoder.onnx"
TOLERANCE = 1e-4  # of the largest number, or of 1: float32 products summed in another order
CHECKED_LATENTS = 3


class ClipEncoder(nn.Module):
    """`frames uint8 [1, F, H, W, 3] -> latents float32 [1, T, h, w, C]`: `Tokenizer.encode` of a clip of any length."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        return (self.tokenizer.encode(frames),)


class StreamingDecoder(nn.Module):
    """`(latent float32 [1, 1, h, w, C], *past) -> (frames uint8 [1, time_stride, H, W, 3], *past)`: the past begins as zeros."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, latent: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        stream = Stream(past)
        return self.tokenizer.decode(latent, stream), *stream.past


@torch.no_grad()
def export_tokenizer(tokenizer: Tokenizer, folder: Path, height: int, width: int) -> None:
    """Write ENCODER and DECODER of a float32 tokenizer on the CPU into `folder`, for frames of height x width pixels.

    Both are checked over a few frames; `RuntimeError` where ONNX Runtime disagrees with PyTorch (`check` says by how much).
    """
    encoder, decoder = ClipEncoder(tokenizer).eval(), StreamingDecoder(tokenizer).eval()
    stride = tokenizer.config.time_stride
    generator = torch.Generator().manual_seed(0)
    shape = (1, CHECKED_LATENTS * stride, height, width, 3)
    frames = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    (latents,) = encoder(frames)
    past = tokenizer.decoder.empty_past(1, *latents.shape[2:4])
    names = [f"past_{place}" for place in range(len(past))]
    any_length = {"frames": {1: stride * torch.export.Dim("latents", min=1)}}

    write(folder / ENCODER, encoder, [frames], ["frames"], ["latents"], any_length)
    check(folder / ENCODER, encoder, [[frames], [frames[:, :stride]]])

    calls = []
    for latent in latents.split(1, dim=1):
        calls.append([latent, *past])
        _, *past = decoder(*calls[-1])
    write(folder / DECODER, decoder, calls[0], ["latent", *names], ["frames", *(f"new_{name}" for name in names)])
    check(folder / DECODER, decoder, calls)


def write(
    path: Path,
    network: nn.Module,
    inputs: list[Tensor],
    names: list[str],
    results: list[str],
    dynamic: dict | None = None,
) -> None:
    """Write `network`, which makes a tuple of tensors of `inputs`, as one ONNX file with its weights inside.

    names, results  what its inputs and outputs are called there
    dynamic         which axes of which inputs may have other lengths, as torch.export takes it
    """
    assert onnx and onnxscript  # by which PyTorch writes
    torch.onnx.export(
        network, tuple(inputs), path, input_names=names, output_names=results, dynamic_shapes=dynamic, dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip


@torch.no_grad()
def check(path: Path, network: nn.Module, calls: Iterable[list[Tensor]]) -> None:
    """Run the file in ONNX Runtime and `network` in PyTorch on the same inputs, call by call.

    Raises `RuntimeError` unless numbers agree to TOLERANCE, and pixels (uint8) to one grey level.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names, results = ([x.name for x in side] for side in (session.get_inputs(), session.get_outputs()))
    for inputs in calls:
        made = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
        for name, theirs, ours in zip(results, made, network(*inputs), strict=True):
            exact = ours.double().numpy()
            allowed = 1 if ours.dtype == torch.uint8 else TOLERANCE * max(1.0, np.abs(exact).max())
            error = np.abs(np.asarray(theirs, float) - exact).max()
            if not error <= allowed:
                raise RuntimeError(
                    f"{path.name}: {name} is {error:.3g} off in ONNX Runtime {onnxruntime.__version__}, where {allowed:.3g} is allowed"
                )
