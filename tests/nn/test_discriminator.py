import pytest
import torch

from roadcast.nn.discriminator import (
    PatchDiscriminator,
    adaptive_weight,
    discriminator_hinge,
    generator_hinge,
    r1_penalty,
)


def test_a_patch_is_judged_by_what_is_near_it():
    judge = PatchDiscriminator(width=4)
    images = torch.randn(2, 3, 64, 64, 3)
    changed = images.clone()
    changed[..., :8, :8, :] += 1
    with torch.no_grad():
        before, after = judge(images), judge(changed)
    assert before.shape == (2, 3, 8, 8)
    differs = (before != after).any(dim=0).any(dim=0)
    assert differs[0, 0] and not differs[4:].any() and not differs[:, 4:].any()


def test_hinge_losses_by_hand():
    true, made = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.5])
    assert discriminator_hinge(true, made).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1.5) / 2)
    assert generator_hinge(made).item() == pytest.approx(0.75)


def test_r1_is_half_the_squared_slope():
    """Of a linear judge the slope is its weight, whatever the picture; the penalty's gradient is the weight too."""
    weight = torch.randn(4, 5, 3, requires_grad=True)
    images = torch.randn(6, 4, 5, 3, requires_grad=True)
    penalty = r1_penalty(torch.einsum("bhwc,hwc->b", images, weight), images)
    penalty.backward()
    torch.testing.assert_close(penalty, 0.5 * weight.square().sum())
    torch.testing.assert_close(weight.grad, weight)


def test_the_adaptive_weight_makes_both_gradients_equally_long():
    last = torch.nn.Linear(4, 4)
    made = last(torch.randn(8, 4))
    reconstruction, adversarial = made.square().mean(), 37 * made.sin().mean()
    weight = adaptive_weight(reconstruction, adversarial, last.weight)
    norms = [
        torch.autograd.grad(loss, last.weight, retain_graph=True)[0].norm()
        for loss in (reconstruction, weight * adversarial)
    ]
    torch.testing.assert_close(*norms)
    assert not weight.requires_grad
