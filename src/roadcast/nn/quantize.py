"""Weights of eight bits, for a network that is done learning: a quarter of float32's memory, and faster products where there are.

    W ~ s_W * W_q    one scale `s_W = max |W| / m` an output channel, W_q rounded; m = 127 in int8, 448 in fp8 (e4m3)
    x ~ s_x * x_q    one scale `s_x = max |x| / m` a token, taken as the token comes, so that no token depends on others
    y = x W^T + b ~ s_x * s_W * (x_q W_q^T) + b

(Jacob et al. 2018, eq. 1 with zero point 0; scales by token and channel as in Dettmers et al. 2022, eq. 5; fp8 as in
Micikevicius et al. 2022.)

kind            what is rounded        products run by
"int8"          weights                PyTorch's floating product, in the type of the activations
"int8_dynamic"  weights, activations   oneDNN on a CPU, `torch._int_mm` on an Nvidia GPU
"fp8"           weights, activations   `torch._scaled_mm` on an Nvidia GPU of compute capability 9.0 (Hopper) or newer

Where a machine has no such kernel the same product is written out in float32: right, and slow. `kernel` tells which it is.

Shapes: L tokens, D input channels, O output channels, R rows.
"""

from collections.abc import Callable, Iterator
from itertools import count
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("int8", "int8_dynamic", "fp8")
ALIGN = 16  # the GPU kernels take axes of multiples of this


def quantize(module: nn.Module, kind: str) -> nn.Module:
    """Replace the weights of the repeated blocks of `module`, in place, by those of `kind`; returns `module`.

    The blocks are what stands in a `ModuleList`: nearly all the work, and weights that are many times the rest. First and last
    maps, norms, embeddings and modulation stand outside and are left alone, as are layers with an axis that is no multiple of
    16. "int8" rounds `Linear` and `Conv2d`, the other kinds `Linear` alone.

    Load weights and move to the device first: the kernel is chosen for the device where the weights lie, and a quantised
    network neither loads nor saves weights of full precision. It has no gradients to its weights.

    Raises ValueError for an unknown kind, and where there is nothing to quantise.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} of quantisation is unknown; choose one of {', '.join(KINDS)}")
    layers = list(_layers(module, (nn.Linear, nn.Conv2d) if kind == "int8" else (nn.Linear,)))
    if not layers:
        raise ValueError(f"{type(module).__name__} has no blocks of full precision to quantise")
    for parent, name, layer in layers:
        if isinstance(layer, nn.Conv2d):
            quantized = Int8Conv2d(layer)
        else:
            quantized = Int8Linear(layer) if kind == "int8" else DynamicLinear(layer, kind)
        setattr(parent, name, quantized)
    return module


def kernel(kind: str, device: torch.device | str) -> str:
    """What multiplies under `kind` on `device`: "onednn", "int_mm", "scaled_mm", "linear" or, for want of these, "written out"."""
    device = torch.device(device)
    if kind == "int8":
        return "linear"
    if kind == "int8_dynamic" and device.type == "cpu" and torch.backends.mkldnn.is_available():
        return "onednn"
    if kind == "int8_dynamic" and device.type == "cuda":
        return "int_mm"
    if kind == "fp8" and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0):
        return "scaled_mm"
    return "written out"


def weight_bytes(module: nn.Module) -> int:
    """Bytes that the weights of `module` take, quantised or not: parameters, buffers, and what oneDNN has packed."""
    own = sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])
    return own + sum(child.packed.nbytes for child in module.modules() if isinstance(child, OneDnnProduct))


def round_rows(x: Tensor, largest: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`x_q`, `s` with `x ~ s * x_q` and |x_q| <= `largest`, one scale a row.

    x        [R, ...], any floating type
    returns  [R, ...] of `dtype` (int8, rounded to even, or an fp8), and float32 [R]; a row of zeros has a scale above zero
    """
    scale_R = x.flatten(1).float().abs().amax(dim=1).clamp_min(1e-12) / largest
    return _cast(x.float() / scale_R.view(-1, *[1] * (x.ndim - 1)), dtype), scale_R


def _cast(levels: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers within the range of `dtype` as the nearest that it has."""
    return levels.round().to(dtype) if dtype == torch.int8 else levels.to(dtype)


def _layers(module: nn.Module, types: tuple[type, ...]) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every layer to quantise, once, with its parent and its name there."""
    stacks = [stack for stack in module.modules() if isinstance(stack, nn.ModuleList)]
    parents = dict.fromkeys(parent for stack in stacks for parent in stack.modules())
    for parent in parents:
        for name, layer in parent.named_children():
            if type(layer) in types and all(size % ALIGN == 0 for size in layer.weight.shape[:2]):
                yield parent, name, layer


class Int8Weights(nn.Module):
    """Weights in int8 at rest: a quarter of float32's memory, written out in full for as long as a product takes."""

    rounded: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d):
        super().__init__()
        rounded, scale_O = round_rows(layer.weight.detach(), 127, torch.int8)
        self.register_buffer("rounded", rounded)
        self.register_buffer("scale", scale_O.view(-1, *[1] * (rounded.ndim - 1)))
        self.bias = layer.bias

    def weight(self, dtype: torch.dtype) -> Tensor:
        """`s_W * W_q`."""
        return self.rounded.to(dtype) * self.scale.to(dtype)


class Int8Linear(Int8Weights):
    """`s_W * (x W_q^T) + b`, computed in the type of `x`."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., O]."""
        return F.linear(x, self.weight(x.dtype), self.bias)


class Int8Conv2d(Int8Weights):
    """A convolution with one scale an output channel, computed in the type of its input."""

    def __init__(self, layer: nn.Conv2d):
        assert layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
        super().__init__(layer)
        self.stride, self.padding = layer.stride, layer.padding

    def forward(self, x_BDHW: Tensor) -> Tensor:
        """[B, D, H, W] to [B, O, H', W']."""
        return F.conv2d(x_BDHW, self.weight(x_BDHW.dtype), self.bias, self.stride, self.padding)


class DynamicLinear(nn.Module):
    """A linear layer that rounds its weights once and its input at every call; the sum over D runs on rounded numbers."""

    def __init__(self, layer: nn.Linear, kind: str):
        super().__init__()
        self.bias = layer.bias
        self.out_features = layer.out_features
        self.product = PRODUCTS[kernel(kind, layer.weight.device)](layer.weight.detach(), kind)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., O], in the type of `x`."""
        x_LD = x.flatten(0, -2).float()
        scale_L1 = x_LD.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / self.product.largest
        y = self.product(x_LD / scale_L1, scale_L1).to(x.dtype).view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


class Product(nn.Module):
    """`s_x * s_W * (x_q W_q^T)` for weights that stay: float [L, O] of `x / s_x` [L, D], not yet rounded, and `s_x` [L, 1].

    largest  how far `x / s_x` may reach
    """

    largest: float
    weight_OD: Tensor
    scale_O: Tensor

    def __init__(self, weight_OD: Tensor, kind: str):
        super().__init__()
        self.dtype, self.largest = (torch.int8, 127.0) if kind == "int8_dynamic" else (torch.float8_e4m3fn, 448.0)
        weight_OD, scale_O = round_rows(weight_OD, self.largest, self.dtype)
        self.register_buffer("weight_OD", weight_OD)
        self.register_buffer("scale_O", scale_O)


class WrittenProduct(Product):
    """The definition, in float32."""

    def forward(self, levels_LD: Tensor, scale_L1: Tensor) -> Tensor:
        return F.linear(_cast(levels_LD, self.dtype).float(), self.weight_OD.float()) * scale_L1 * self.scale_O


class IntMmProduct(Product):
    """By the GPU's units for int8, which sum in int32; they take no fewer than 17 tokens, so fewer are filled up with zeros."""

    def forward(self, levels_LD: Tensor, scale_L1: Tensor) -> Tensor:
        tokens = len(levels_LD)
        x_LD = F.pad(_cast(levels_LD, self.dtype), (0, 0, 0, max(0, 17 - tokens)))
        return torch._int_mm(x_LD, self.weight_OD.t())[:tokens] * scale_L1 * self.scale_O


class ScaledMmProduct(Product):
    """By Hopper's units for fp8, which scale by row and column themselves and answer in bfloat16."""

    def forward(self, levels_LD: Tensor, scale_L1: Tensor) -> Tensor:
        x_LD = _cast(levels_LD, self.dtype)
        return torch._scaled_mm(x_LD, self.weight_OD.t(), scale_L1, self.scale_O[None], out_dtype=torch.bfloat16)


class OneDnnProduct(nn.Module):
    """By oneDNN, for CPUs: the weights lie packed for its kernel, and only there.

    Activations have 7 bits, -63 to 63 (moved by 64, for the kernel takes them unsigned): without VNNI the CPU adds two products
    in 16 bits, and 2 * 127 * 127 is the most that fits.
    """

    largest = 63.0

    def __init__(self, weight_OD: Tensor, kind: str):
        super().__init__()
        self.packed = _Packed(*round_rows(weight_OD, 127, torch.int8))
        self.handle, self.outputs = self.packed.handle, len(weight_OD)

    def forward(self, levels_LD: Tensor, scale_L1: Tensor) -> Tensor:
        x_LD = (levels_LD.round() + 64).to(torch.uint8)
        return torch.ops.roadcast.onednn_linear(x_LD, self.handle, self.outputs) * scale_L1


_packed: WeakValueDictionary[int, "_Packed"] = WeakValueDictionary()
_handles = count()


class _Packed:
    """Weights in oneDNN's own layout, which a compiled graph cannot hold; it holds the handle."""

    def __init__(self, weight_OD: Tensor, scale_O: Tensor):
        self.weight = torch.ops.onednn.qlinear_prepack(weight_OD, None)
        self.scale_O, self.zero_O = scale_O, torch.zeros_like(scale_O, dtype=torch.int32)
        self.nbytes = weight_OD.nbytes + self.scale_O.nbytes + self.zero_O.nbytes
        self.handle = next(_handles)
        _packed[self.handle] = self

    def __deepcopy__(self, memo: dict) -> "_Packed":
        return self  # it never changes


torch.library.define("roadcast::onednn_linear", "(Tensor x_LD, int handle, int outputs) -> Tensor")


@torch.library.impl("roadcast::onednn_linear", "cpu")
def _onednn_linear(x_LD: Tensor, handle: int, outputs: int) -> Tensor:
    """`s_W * ((x_q - 64) W_q^T)`, float32 [L, O], of uint8 `x_q`: an operation of its own, for `torch.compile` to keep whole."""
    packed = _packed[handle]
    return torch.ops.onednn.qlinear_pointwise(
        x_LD, 1.0, 64, packed.weight, packed.scale_O, packed.zero_O, None, 1.0, 0, torch.float32, "none", [], ""
    )


@torch.library.register_fake("roadcast::onednn_linear")
def _(x_LD: Tensor, handle: int, outputs: int) -> Tensor:
    return x_LD.new_empty(len(x_LD), outputs, dtype=torch.float32)


PRODUCTS: dict[str, Callable[[Tensor, str], nn.Module]] = {
    "onednn": OneDnnProduct,
    "int_mm": IntMmProduct,
    "scaled_mm": ScaledMmProduct,
    "written out": WrittenProduct,
}
