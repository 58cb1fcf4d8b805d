import copy

import pytest
import torch
from torch import nn

from roadcast.nn.quantize import KINDS, PRODUCTS, kernel, quantize, round_rows, weight_bytes

no_onednn = pytest.mark.skipif(kernel("int8_dynamic", "cpu") != "onednn", reason="this PyTorch has no oneDNN")


class Net(nn.Module):
    """A first map, two blocks of a convolution and a feed-forward layer, and a last map."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.inlet = nn.Linear(6, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, padding=1), "map": nn.Linear(width, width)})
            for _ in range(2)
        )
        self.outlet = nn.Linear(width, 6)

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        x = self.inlet(x_BHWC)
        for block in self.blocks:
            x = x + block["conv"](x.movedim(-1, 1)).movedim(1, -1)
            x = x + block["map"](x).relu()
        return self.outlet(x)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize(("kind", "bound"), [("int8", 0.01), ("int8_dynamic", 0.02), ("fp8", 0.05)])
def test_a_network_of_eight_bits_is_near_the_one_it_came_from(kind, bound):
    net, x = Net().eval(), torch.randn(2, 4, 4, 6)
    whole = net(x)
    assert quantize(net, kind) is net
    assert 1e-4 < apart(net(x), whole) < bound


def test_only_blocks_are_rounded():
    net = quantize(Net(), "int8_dynamic")
    left = {name for name, layer in net.named_modules() if type(layer) in (nn.Linear, nn.Conv2d)}
    assert left == {"inlet", "outlet", "blocks.0.conv", "blocks.1.conv"}
    net = quantize(Net(), "int8")
    assert {name for name, layer in net.named_modules() if type(layer) in (nn.Linear, nn.Conv2d)} == {"inlet", "outlet"}


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_rounding_keeps_each_row_within_half_a_step_of_its_own_largest(dtype):
    largest = 127 if dtype == torch.int8 else 448
    x = torch.randn(5, 3, 7) * torch.tensor([1e-6, 1e-3, 1, 1e3, 0])[:, None, None]
    rounded, scale = round_rows(x, largest, dtype)
    back = rounded.float() * scale[:, None, None]
    assert rounded.float().abs().amax(dim=(1, 2))[:4].tolist() == [largest] * 4
    step = scale[:, None, None] if dtype == torch.int8 else x.abs() / 8 + scale[:, None, None] * 2**-9
    assert ((back - x).abs() <= 0.5001 * step).all()


@pytest.mark.parametrize(
    ("name", "kind", "tolerance"),
    [
        ("written out", "int8_dynamic", 1e-6),
        ("written out", "fp8", 1e-6),
        pytest.param("onednn", "int8_dynamic", 1e-6, marks=no_onednn),
        ("int_mm", "int8_dynamic", 1e-6),
        ("scaled_mm", "fp8", 2**-8),  # of bfloat16, in which it answers
    ],
)
@pytest.mark.parametrize("tokens", [1, 9, 40])
def test_every_product_is_the_equation(name, kind, tolerance, tokens):
    """`s_x s_W (x_q W_q^T)` in float64; PyTorch has the GPU's operations for the CPU too, slow but the same."""
    weight, x = torch.randn(48, 64), torch.randn(tokens, 64) * torch.logspace(-3, 3, tokens)[:, None]
    product = PRODUCTS[name](weight, kind)
    dtype = torch.int8 if kind == "int8_dynamic" else torch.float8_e4m3fn
    w_q, w_s = round_rows(weight, 127 if kind == "int8_dynamic" else 448, dtype)
    x_q, x_s = round_rows(x, product.largest, dtype)
    y = x_q.double() @ w_q.double().T * x_s.double()[:, None] * w_s.double()
    ours = product(x / x_s[:, None], x_s[:, None]).double()
    assert ((ours - y).norm(dim=1) <= tolerance * y.norm(dim=1)).all()


@no_onednn
def test_the_kernel_of_the_cpu_sums_exactly_at_the_ends_of_the_range():
    """Sums of the largest products would overflow the 16 bits of a CPU without VNNI if activations had 8 bits."""
    weight, levels = torch.ones(16, 64), torch.full((3, 64), 63.0)
    weight[:, ::2] = -1
    levels[1, ::2] = -63
    scale = torch.tensor([1.0, 0.5, 2.0])[:, None]
    y = PRODUCTS["onednn"](weight, "int8_dynamic")(levels, scale)
    torch.testing.assert_close(y, (levels @ weight.T) * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_does_not_depend_on_the_others(kind):
    net = quantize(nn.ModuleList([nn.ModuleDict({"map": nn.Linear(64, 32)})]), kind)
    x = torch.randn(7, 64)
    loud = torch.cat([x, 1000 * torch.randn(5, 64)])
    torch.testing.assert_close(net[0]["map"](loud)[:7], net[0]["map"](x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_zeros_gives_the_bias(kind):
    net = quantize(nn.ModuleList([nn.Linear(64, 32)]), kind)
    torch.testing.assert_close(net[0](torch.zeros(2, 64)), net[0].bias.expand(2, -1))


def test_activations_keep_their_type():
    for kind in KINDS:
        layer = quantize(nn.ModuleList([nn.Linear(64, 32, bias=False)]), kind)[0]
        assert layer(torch.randn(2, 3, 64, dtype=torch.float16)).dtype == torch.float16


def test_memory_falls_to_a_quarter_whatever_holds_the_weights():
    for kind in KINDS:
        net = nn.ModuleList([nn.Linear(512, 512, bias=False)])
        before = weight_bytes(net)
        assert 0.25 < weight_bytes(quantize(net, kind)) / before < 0.26


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_works_without_the_original(kind):
    net, x = quantize(Net(), kind), torch.randn(1, 4, 4, 6)
    y, twin = net(x), copy.deepcopy(net)
    del net
    assert torch.equal(twin(x), y)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="'int4' of quantisation is unknown; choose one of int8, int8_dynamic, fp8"):
        quantize(Net(), "int4")
    with pytest.raises(ValueError, match="no blocks of full precision"):
        quantize(quantize(Net(), "int8"), "fp8")
    with pytest.raises(ValueError, match="no blocks of full precision"):
        quantize(nn.Linear(64, 64), "int8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_graph_holds_it_whole(kind):
    net, x = quantize(Net(), kind).eval(), torch.randn(1, 4, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(net, fullgraph=True)(x), net(x), rtol=1e-2, atol=1e-3)
