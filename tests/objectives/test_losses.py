import pytest
import torch

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.objectives import build_objective, register_loss
from roadcast.objectives.diffusion_forcing import latents_of
from roadcast.objectives.losses import LOSSES, acceleration_loss, decoded, spectrum_loss
from worlds import random_actions, random_world

STAGES = [
    ("tokenizer", "spectrum"),
    ("diffusion_forcing", "acceleration"),
    ("teacher_forcing", "acceleration"),
    ("diffusion_forcing", "spectrum"),
]


def random_clip() -> Clip:
    """Two clips of six frames, as pixels."""
    actions, known = random_actions(2, 6)
    numbers = torch.zeros(2, dtype=torch.int64)
    frames = torch.randint(0, 256, (2, 6, 32, 64, 3), dtype=torch.uint8)
    return Clip(frames, None, actions, known, torch.zeros(2, 6, dtype=torch.int64), numbers, numbers)


@pytest.mark.parametrize(("objective", "name"), STAGES)
def test_a_loss_joins_the_objectives_own_with_its_weight(objective, name):
    world, chance = random_world(), torch.Generator()
    clip = random_clip()
    plain, terms = build_objective(objective, world, {}).loss(clip, chance.manual_seed(0))
    loss, more = build_objective(objective, world, {}, {name: 0.5}).loss(clip, chance.manual_seed(0))
    assert more.keys() - terms.keys() == {name} and more[name] > 0
    torch.testing.assert_close(loss, plain + 0.5 * more[name])


def test_a_new_loss_sees_what_was_made_what_is_true_and_the_clip():
    @register_loss("tests_seen", compares="latents")
    def seen(made, true, clip):
        assert made.shape == true.shape == (2, 6, 2, 4, 4) and len(clip) == 2
        return (made - true).abs().mean()

    world = random_world()
    objective = build_objective("diffusion_forcing", world, {}, {"tests_seen": 1.0})
    assert objective.loss(random_clip(), torch.Generator())[1]["tests_seen"] > 0


def test_where_latents_are_made_frames_are_decoded_once_for_all_losses():
    @register_loss("tests_frames", compares="frames")
    def frames(made, true, clip):
        torch.testing.assert_close(true, decoded(latents_of(clip, world.tokenizer), world.tokenizer))
        assert made.shape == true.shape == (2, 6, 32, 64, 3) and made.requires_grad and not true.requires_grad
        return (made - true).abs().mean()

    world, sizes = random_world(), []
    weights = {"tests_frames": 1.0, "spectrum": 1.0, "acceleration": 1.0}
    objective = build_objective("diffusion_forcing", world, {}, weights)
    world.tokenizer.decoder.register_forward_hook(lambda *_: sizes.append(1))
    loss, _ = objective.loss(random_clip(), torch.Generator())
    assert len(sizes) == 3  # what was made, what is true, and the test's own
    loss.backward()
    assert all(p.grad is None for p in world.tokenizer.parameters())


def test_what_is_decoded_for_losses_is_what_a_driver_sees_before_it_is_rounded():
    world = random_world()
    world.tokenizer.mean.fill_(0.2), world.tokenizer.std.fill_(1.5)
    z = torch.randn(1, 3, 2, 4, 4)
    seen, frames = world.tokenizer.decode(z), decoded(z, world.tokenizer)
    assert ((frames.clamp(-1, 1) * 127.5 + 127.5) - seen.float()).abs().max() <= 0.51


def test_a_loss_may_be_a_class_that_is_made_with_the_world():
    @register_loss("tests_class", compares="latents")
    class Channels:
        def __init__(self, world):
            self.channels = world.config.tokenizer.latent_channels

        def __call__(self, made, true, clip):
            return made.new_tensor(float(self.channels))

    objective = build_objective("diffusion_forcing", random_world(), {}, {"tests_class": 1.0})
    assert objective.loss(random_clip(), torch.Generator())[1]["tests_class"] == 4


def test_a_loss_that_cannot_be_is_told_when_the_stage_is_built():
    world = random_world()
    with pytest.raises(UserError, match="loss 'nowhere' is unknown; choose one of acceleration, depth"):
        build_objective("tokenizer", world, {}, {"nowhere": 1.0})
    with pytest.raises(UserError, match="loss 'acceleration' compares latents, and this stage makes frames"):
        build_objective("tokenizer", world, {}, {"acceleration": 1.0})


def test_a_loss_may_not_hide_a_term_of_the_objective(monkeypatch):
    monkeypatch.setitem(LOSSES, "difference", LOSSES["acceleration"])
    world = random_world()
    objective = build_objective("diffusion_forcing", world, {}, {"difference": 1.0})
    with pytest.raises(UserError, match="loss 'difference' has the name of one of the objective's own terms"):
        objective.loss(random_clip(), torch.Generator())


def test_the_spectrum_asks_for_detail_and_not_for_its_place():
    true = torch.rand(1, 2, 16, 32, 3)
    moved, blurred = true.roll((3, 5), (2, 3)), true.mean(dim=(2, 3), keepdim=True).expand_as(true)
    assert spectrum_loss(moved, true, None) < 1e-6 < 0.01 < spectrum_loss(blurred, true, None)


def test_acceleration_lets_even_motion_be():
    true, t = torch.randn(1, 6, 2, 2, 3), torch.arange(6.0)[None, :, None, None, None]
    assert acceleration_loss(true + 3 + 2 * t, true, None) < 1e-10
    assert acceleration_loss(true + t**2, true, None) == pytest.approx(4.0, rel=1e-4)
