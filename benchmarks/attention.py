"""What each attention back-end costs, mask by mask, at the shapes of the presets, and how far it lies from the definition.

    python benchmarks/attention.py [--quick] [--device DEVICE] [--dtype DTYPE] [--clips N]

Shapes are those of one layer: `space` inside each frame of N training clips, `time` along them at each place, `step` for one
new frame over a full cache. `window` and `chunk` are half of what the preset sees. Milliseconds are the best over rounds,
forwards, and forwards and backwards; null where PyTorch has no such pass (flex backwards on a CPU) or memory does not
suffice. `error` is the largest difference to the reference in float32. The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from roadcast.nn.attend import BACKENDS, attend
from roadcast.nn.mask import FrameMask
from roadcast.presets import preset_config


@dataclass
class Shape:
    rows: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    masks: dict[str, FrameMask | None]

    def draw(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of unit variance."""
        draw = torch.Generator().manual_seed(0)
        sizes = (self.heads, self.queries), (self.kv_heads, self.keys), (self.kv_heads, self.keys)
        q, k, v = (torch.randn(self.rows, *size, self.head_dim, generator=draw).to(device, dtype) for size in sizes)
        return q, k, v


def shapes(preset: str, clips: int) -> dict[str, Shape]:
    """The attention of a preset's dynamics, by name."""
    config = preset_config(preset)
    model, data, stride = config.dynamics, config.data, config.tokenizer.stride
    frames, context = config.train["dynamics"].clip_frames, model.context_frames
    tokens = (data.height // stride) * (data.width // stride) + model.registers + 1
    heads, head_dim = (model.heads, model.kv_heads), model.width // model.heads
    masks = {
        "none": None,
        "causal": FrameMask(),
        "window": FrameMask(window=context // 2),
        "chunk": FrameMask(chunk=context // 2),
        "sinks": FrameMask(window=context // 2, sinks=1),
    }
    return {
        f"{preset} step": Shape(tokens, *heads, 1, context, head_dim, masks),
        f"{preset} time": Shape(clips * tokens, *heads, frames, frames, head_dim, masks),
        f"{preset} space": Shape(clips * frames, *heads, tokens, tokens, head_dim, {"none": None}),
    }


def best_ms(run: Callable[[], object], device: torch.device, seconds: float) -> float | None:
    """The quickest of runs for about so many seconds, of three at the least; None if it cannot run here."""
    times = []
    try:
        run()
        while len(times) < 3 or sum(times) < seconds:
            start = _now(device)
            run()
            times.append(_now(device) - start)
    except (NotImplementedError, torch.OutOfMemoryError):
        return None
    return 1e3 * min(times)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(shape: Shape, device: torch.device, dtype: torch.dtype, seconds: float) -> Iterator[dict]:
    """A row of figures for each mask and back-end."""
    q, k, v = shape.draw(device, dtype)
    k_frame = torch.arange(shape.keys, device=device)[None]
    frames = k_frame[:, -shape.queries :], k_frame
    needing = [x.clone().requires_grad_() for x in (q, k, v)]
    for name, mask in shape.masks.items():
        expected = attend(q.float(), k.float(), v.float(), mask, *frames, backend="reference")
        for backend in BACKENDS:

            def forward(q=q, k=k, v=v, mask=mask, backend=backend) -> Tensor:
                return attend(q, k, v, mask, *frames, backend=backend)

            def both(forward=forward) -> None:
                torch.autograd.grad(forward(*needing).sum(), needing)

            with torch.no_grad():
                forward_ms = best_ms(forward, device, seconds)
                error = None if forward_ms is None else float((forward().float() - expected).abs().max())
            both_ms = best_ms(both, device, seconds)
            yield {"mask": name, "backend": backend, "forward_ms": forward_ms, "both_ms": both_ms, "error": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny, and base for a step, under a minute on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--clips", type=int, default=1, help="clips in a training batch")
    options = parser.parse_args()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    torch.set_num_threads(1)
    chosen = shapes("tiny", options.clips) | shapes("base", options.clips)
    if options.quick:
        chosen = {name: shape for name, shape in chosen.items() if name.startswith("tiny") or name.endswith("step")}
    result = {"device": options.device, "torch": torch.__version__, "dtype": options.dtype, "clips": options.clips}
    for name, shape in chosen.items():
        result[name] = list(measure(shape, device, dtype, 0.05 if options.quick else 1.0))
        for row in result[name]:
            figures = [
                f"{row[key]:10.4g}" if row[key] is not None else " " * 10 for key in ("forward_ms", "both_ms", "error")
            ]
            print(f"{name:12} {row['mask']:8} {row['backend']:10}", *figures, flush=True)
    print(json.dumps(json.loads(json.dumps(result), parse_float=lambda x: float(f"{float(x):.3g}"))))


if __name__ == "__main__":
    main()
