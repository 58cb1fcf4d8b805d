from itertools import pairwise

import pytest
import torch

from roadcast.flow.path import add_noise, step_towards, to_x
from roadcast.flow.timesteps import diffusion_forcing_levels, sampling_levels, teacher_forcing_levels


def test_the_identities_of_the_path():
    x, noise = torch.randn(2, 2, 3, 4, 5, 6)
    t = torch.rand(2, 3)
    x_t, v = add_noise(x, noise, t), noise - x
    torch.testing.assert_close(add_noise(x, noise, torch.zeros(2, 3)), x)
    torch.testing.assert_close(add_noise(x, noise, torch.ones(2, 3)), noise)
    torch.testing.assert_close(to_x(v, x_t, t, "v"), x)
    torch.testing.assert_close(to_x(x, x_t, t, "x"), x)
    torch.testing.assert_close(
        step_towards(x, add_noise(x, noise, torch.full((2, 3), 0.8)), 0.8, 0.3),
        add_noise(x, noise, torch.full((2, 3), 0.3)),
    )


def test_any_number_of_steps_with_a_perfect_model_arrives_at_the_data():
    x, x_t = torch.randn(2, 4, 4)
    for steps in (1, 3, 8):
        y, levels = x_t, sampling_levels(steps)
        for t, t_next in pairwise(levels):
            y = step_towards(x, y, t, t_next)
        torch.testing.assert_close(y, x)
    with pytest.raises(ValueError, match="steps = 0"):
        sampling_levels(0)


def test_levels_cover_noise_throughout_and_a_clean_past():
    chance = torch.Generator().manual_seed(0)
    t = diffusion_forcing_levels(4000, 8, chance, clean_share=0.5, clean_level=0.1)
    assert t.min() >= 0 and 0.99 < t.max() <= 1
    clean = (t <= 0.1).float()
    assert abs(clean.mean() - (0.5 + 0.5 * 0.1)) < 0.02
    assert (clean.sum(dim=1) == 7).float().mean() > 0.08 and (clean.sum(dim=1) == 0).float().mean() > 0.03
    none = diffusion_forcing_levels(4000, 8, chance, clean_share=0.0, clean_level=0.1)
    assert abs(none.mean() - 0.5) < 0.01
    only_last = teacher_forcing_levels(16, 8, chance)
    assert only_last[:, :-1].max() == 0 and only_last[:, -1].min() > 0
