import pytest
import torch
from torch import nn

from roadcast.nn.lpips import LPIPS

# The trunks as one would draw them: (channels, kernel, stride, padding) of a convolution and its ReLU, "M" of max pooling.
ALEX = [(64, 11, 4, 2), "M", (192, 5, 1, 2), "M", (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)]
VGG = [
    c if c == "M" else (int(c), 3, 1, 1) for c in "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512".split()
]


def sequential(row: list, pool: int) -> tuple[nn.Sequential, list[int]]:
    """The trunk as torchvision numbers it, and the numbers of the ReLUs that end a run of one size (all of them in AlexNet)."""
    layers, relus, before = [], [], 3
    for place, entry in enumerate(row):
        if entry == "M":
            layers.append(nn.MaxPool2d(pool, 2))
            continue
        layers += [nn.Conv2d(before, *entry), nn.ReLU()]
        before = entry[0]
        if pool == 3 or place == len(row) - 1 or row[place + 1] == "M":
            relus.append(len(layers) - 1)
    return nn.Sequential(*layers), relus


def weights(trunk: nn.Sequential, relus: list[int]) -> dict[str, torch.Tensor]:
    """The trunk's weights and random heads, under the names of the PyPI package `lpips`."""
    state = {f"net.slice1.{name}": tensor for name, tensor in trunk.state_dict().items()}
    for head, relu in enumerate(relus):
        state[f"lin{head}.model.1.weight"] = torch.rand(1, trunk[relu - 1].out_channels, 1, 1)
    return state | {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}


def distance(trunk: nn.Sequential, relus: list[int], state: dict, a: torch.Tensor, b: torch.Tensor) -> float:
    """Equation 1 of the paper, pixel by pixel in words: of two images [H, W, 3] in [-1, 1]."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x, y = (((image / 2 + 0.5 - mean) / std).permute(2, 0, 1)[None] for image in (a, b))
    total = 0.0
    for number, layer in enumerate(trunk):
        x, y = layer(x), layer(y)
        if number in relus:
            unit_x, unit_y = (nn.functional.normalize(z, dim=1) for z in (x, y))
            head = state[f"lin{relus.index(number)}.model.1.weight"]
            total += nn.functional.conv2d((unit_x - unit_y) ** 2, head).mean().item()
    return total


@pytest.mark.parametrize(("row", "pool"), [(ALEX, 3), (VGG, 2)], ids=["alex", "vgg"])
def test_equals_the_paper_written_out(row, pool):
    trunk, relus = sequential(row, pool)
    state = weights(trunk, relus)
    ours = LPIPS.from_tensors(state)
    a, b = torch.rand(2, 2, 1, 48, 64, 3) * 2 - 1
    with torch.no_grad():
        expected = [[distance(trunk, relus, state, a[i, 0], b[i, 0])] for i in range(2)]
        torch.testing.assert_close(ours(a, b), torch.tensor(expected), rtol=1e-4, atol=1e-6)
        assert ours(a, a).abs().max() == 0


def test_features_of_the_true_images_serve_for_several_comparisons():
    network = LPIPS.from_tensors(weights(*sequential(ALEX, 3)))
    true, first, second = torch.rand(3, 2, 48, 64, 3) * 2 - 1
    seen = network.features(true)
    for made in (first, second):
        torch.testing.assert_close(network.between(network.features(made), seen), network(made, true))


def test_gradients_are_numbers_even_where_no_feature_is_alive():
    trunk, relus = sequential(ALEX, 3)
    state = weights(trunk, relus)
    state["net.slice1.0.weight"] = torch.zeros_like(state["net.slice1.0.weight"])
    state["net.slice1.0.bias"] = torch.full_like(state["net.slice1.0.bias"], -1.0)
    image = torch.rand(32, 32, 3, requires_grad=True)
    LPIPS.from_tensors(state)(image, torch.rand(32, 32, 3)).backward()
    assert image.grad is not None and torch.isfinite(image.grad).all()


def test_weights_are_frozen_and_wrong_ones_are_named():
    state = weights(*sequential(ALEX, 3))
    assert not any(p.requires_grad for p in LPIPS.from_tensors(state).parameters())
    with pytest.raises(ValueError, match="these are not the weights of LPIPS"):
        LPIPS.from_tensors({"conv.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"heads\.4 of LPIPS is absent where \(256,\) is needed"):
        LPIPS.from_tensors({name: tensor for name, tensor in state.items() if "lin4" not in name})
    with pytest.raises(ValueError, match="trunk 'resnet' is unknown; choose one of alex, vgg, squeeze"):
        LPIPS("resnet")
    with pytest.raises(ValueError, match="one shape"):
        LPIPS.from_tensors(state)(torch.zeros(32, 32, 3), torch.zeros(32, 48, 3))
