import pytest
import torch

from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.objectives import build_objective
from roadcast.objectives.inverse_dynamics import told_terms
from worlds import micro_config, random_actions, random_world


def clip_of(frames: int, batch: int = 2) -> Clip:
    actions, known = random_actions(batch, frames)
    zeros = torch.zeros(batch, dtype=torch.int64)
    pictures = torch.randint(
        0, 256, (batch, frames, 32, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return Clip(pictures, None, actions, known, torch.zeros(batch, frames, dtype=torch.int64), zeros, zeros)


def objective():
    return build_objective("inverse_dynamics", random_world(micro_config(inverse__width=8)), {})


def test_commands_that_are_not_known_have_no_part_in_the_loss():
    stage, clip = objective(), clip_of(12)
    loss, terms = stage.loss(clip, torch.Generator())
    clip.actions_BFA[~clip.known_BFA] = 1e6
    again, same = stage.loss(clip, torch.Generator())
    assert float(loss.detach()) == float(again.detach())
    assert {name: float(x) for name, x in terms.items()} == {name: float(x) for name, x in same.items()}
    clip.known_BFA[:] = False
    assert float(stage.loss(clip, torch.Generator())[0].detach()) == 0.0


def test_only_the_judge_is_trained_and_only_frames_are_read():
    stage = objective()
    assert stage.reads == "frames"
    assert not stage.makes
    stage.loss(clip_of(12), torch.Generator())[0].backward()
    moved = {name.split(".")[0] for name, p in stage.world.named_parameters() if p.grad is not None}
    assert moved == {"inverse"}


def test_the_log_tells_error_and_correlation_of_every_control():
    true = torch.randn(4, 10, 2, generator=torch.Generator().manual_seed(0))
    known = torch.ones_like(true)
    terms = told_terms(true * torch.tensor([2.0, -1.0]), true, known, ("steer", "throttle"))
    assert float(terms["correlation_steer"]) == pytest.approx(1.0)
    assert float(terms["correlation_throttle"]) == pytest.approx(-1.0)
    assert float(terms["error_steer"]) == pytest.approx(float(true[..., 0].abs().mean()))
    constant = told_terms(torch.zeros_like(true), true, known, ("steer", "throttle"))
    assert float(constant["correlation_steer"]) == 0.0


def test_what_cannot_be_trained_is_said():
    with pytest.raises(UserError, match=r"set inverse\.width"):
        build_objective("inverse_dynamics", random_world(), {})
    with pytest.raises(UserError, match="clips of 8 frames are too short"):
        objective().loss(clip_of(8), torch.Generator())
