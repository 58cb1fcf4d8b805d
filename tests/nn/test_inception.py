"""The network of FID: what it refuses, and how it brings pictures to its size; its values are held by tests/parity."""

import pytest
import torch

from roadcast.nn.folding import folded
from roadcast.nn.inception import Conv, Inception, resized


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    """Zeros in the published layout."""
    tensors = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    for name, module in Inception().named_modules():
        if isinstance(module, Conv):
            tensors[f"{name}.conv.weight"] = torch.zeros_like(module.weight)
            tensors |= {
                f"{name}.bn.{part}": torch.zeros(len(module.weight)) for part in ("weight", "bias", "running_mean")
            }
            tensors[f"{name}.bn.running_var"] = torch.ones(len(module.weight))
    return tensors


def test_weights_of_another_inception_are_named(public):
    Inception.from_tensors(public)
    with pytest.raises(ValueError, match=r"fc\.weight is \(1000, 2048\) where FID's Inception-v3 has \(1008, 2048\)"):
        Inception.from_tensors(public | {"fc.weight": torch.zeros(1000, 2048)})
    name = "Mixed_7b.branch3x3_2a.bn.bias"
    with pytest.raises(ValueError, match=f"{name} is absent"):
        Inception.from_tensors({key: value for key, value in public.items() if key != name})


def test_a_folded_convolution_is_the_two_layers_it_was_made_of():
    conv, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5, eps=1e-3).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(tensor, 0.5, 2)
    x = torch.randn(2, 3, 8, 8)
    weight, bias = folded(conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, 1e-3)
    torch.testing.assert_close(torch.nn.functional.conv2d(x, weight, bias), norm(conv(x)), rtol=1e-4, atol=1e-5)


def test_pictures_are_resized_from_their_corner_as_tensorflow_1_did():
    ramp = torch.arange(8.0)[None, None, :, None].expand(1, 4, 8, 1)
    expected = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.0])
    torch.testing.assert_close(resized(ramp, 16)[0, 3, :, 0], expected)
