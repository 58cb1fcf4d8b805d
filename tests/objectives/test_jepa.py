"""Pre-training of the encoder of features: V-JEPA and the contrastive head."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from moving import features_config, moving
from roadcast.config import Config, FeaturesConfig, StageConfig
from roadcast.data.augment import Augment
from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives import Objective, build_objective
from roadcast.objectives.contrastive import info_nce
from roadcast.objectives.jepa import JEPA
from roadcast.parallel.mesh import Mesh
from roadcast.training.feed import Feed
from roadcast.training.metrics import Log
from roadcast.training.trainer import fit
from worlds import micro_config

SMALL = {"predictor_width": 12, "predictor_depth": 1}


def objective(name: str = "jepa", **options) -> Objective:
    """Over the same world every time."""
    torch.manual_seed(0)
    return build_objective(name, World(features_config()), (SMALL if name == "jepa" else {}) | options)


def loss(of: Objective, seed: int = 0, clip: Clip | None = None):
    return of.loss(clip or moving(), torch.Generator().manual_seed(seed))


class Moving:
    """Clips of moving squares, where the loop expects a reel's."""

    def batches(self, first: int, last: int, workers: int):
        return (moving(seed=number) for number in range(first, last))


def train(of: Objective, folder, steps: int, accumulate: int = 1, **settings) -> dict[str, torch.Tensor]:
    """The averaged weights after so many steps."""
    config, mesh = of.world.config, Mesh(torch.device("cpu"))
    settings = dict(warmup=1, lr=3e-3, lr_final=3e-3, save_every=2, ema=0.9) | settings
    stage = StageConfig(of.name, steps=steps, batch=4, accumulate=accumulate, **settings)
    feed = Feed(Moving(), Augment({}, 0), stage, config.guard, mesh, seed=0, workers=0)
    weights = fit(
        of, stage, config, mesh, torch.float32, feed, folder, Log(folder, lambda: [], lambda text: None, speaks=True),
        validate=lambda engine: {}, show=lambda *_: None, progress=lambda *_: None,
    )  # fmt: skip
    assert weights is not None
    return weights


@pytest.mark.parametrize("name", ["jepa", "contrastive"])
def test_all_of_what_is_trained_learns_and_chance_comes_from_the_generator(name):
    ours = objective(name)
    total, terms = loss(ours)
    total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in ours.trained.parameters())
    assert terms["spread"] > 0 and terms["rank"] > 1
    assert torch.equal(loss(ours)[0], total) and not torch.equal(loss(ours, seed=1)[0], total)
    torch.manual_seed(5)
    assert torch.equal(loss(objective(name))[0], total), "the head is the same whatever was drawn before"


def test_the_target_is_the_average_of_the_encoder_whole_normed_and_without_gradients():
    ours = objective()
    assert isinstance(ours, JEPA)
    average = {name: value.clone() + 0.1 for name, value in ours.trained.state_dict().items()}
    ours.follow(average)
    frames = moving().frames_BFHWC
    target = ours.target(frames)
    other = World(features_config()).features
    assert other is not None
    other.load_state_dict({n.removeprefix("features."): v for n, v in average.items() if n.startswith("features.")})
    torch.testing.assert_close(target, F.layer_norm(other(frames), (24,)))
    assert not target.requires_grad and not torch.equal(target, JEPA.target(objective(), frames))
    average["features.inlet.bias"].add_(1.0)
    assert not torch.equal(ours.target(frames), target), "it moves as the average does"


def test_the_loss_is_the_mean_distance_of_what_is_guessed_to_the_hidden_targets():
    """With one mask for short and long, and a predictor that says nothing, it is the mean size of the targets."""
    ours = objective(short_blocks=1, short_scale=0.99, long_blocks=1, long_scale=0.99)
    nn.init.zeros_(ours.predictor.outlet.weight)
    nn.init.zeros_(ours.predictor.outlet.bias)
    total, terms = loss(ours)
    target = ours.target(moving().frames_BFHWC).abs()  # all cells but one are hidden
    assert total.item() == pytest.approx(target.mean().item(), rel=0.05)
    assert total.item() == pytest.approx((terms["short"] + terms["long"]).item() / 2)


def test_a_resumed_stage_goes_on_as_if_never_stopped(tmp_path):
    """The target comes back with the state, and under accumulation moves once a step."""
    whole, begun, resumed = (objective() for _ in range(3))
    expected = train(whole, tmp_path / "whole", 4, accumulate=2)
    train(begun, tmp_path / "parts", 2, accumulate=2)
    torch.manual_seed(123)
    weights = train(resumed, tmp_path / "parts", 4, accumulate=2)
    assert any(name.startswith("predictor.") for name in expected)
    for name, tensor in expected.items():
        assert torch.equal(tensor, weights[name]), name
    for name, value in whole.average.items():
        assert torch.equal(value, expected[f"features.{name}"]), "what is shipped is what taught"


def test_training_learns_to_guess_and_does_not_collapse(tmp_path):
    ours = objective()
    _, before = loss(ours, clip=moving(16, seed=99))
    train(ours, tmp_path, 60, save_every=60)
    total, after = loss(ours, clip=moving(16, seed=99))
    assert total < 0.7 * (before["short"] + before["long"]) / 2
    assert total < after["constant"], "more is guessed than what all clips have in common"
    assert after["spread"] > 0.1 and after["rank"] > 2


def test_a_collapsed_encoder_shows():
    ours = objective()
    nn.init.zeros_(ours.encoder.inlet.weight)
    _, terms = loss(ours)
    assert terms["spread"] < 1e-5 and terms["rank"] == 0 and terms["constant"] < 1e-5


def test_the_contrastive_loss_is_the_formula():
    a, b = torch.randn(5, 8), torch.randn(5, 8)

    def one_way(x, y):
        f = [[math.exp(F.cosine_similarity(p, q, dim=0).item() / 0.2) for q in y] for p in x]
        return -sum(math.log(f[i][i] / sum(f[i])) for i in range(5)) / 5

    assert info_nce(a, b, 0.2).item() == pytest.approx((one_way(a, b) + one_way(b, a)) / 2, rel=1e-5)
    assert info_nce(a, 3 * a, 0.01) < 1e-3 < info_nce(a, a.roll(1, 0), 0.01)


@pytest.mark.parametrize("name", ["jepa", "contrastive"])
def test_without_an_encoder_there_is_nothing_to_train(name):
    with pytest.raises(UserError, match=r"features.depth = 0; set it"):
        build_objective(name, World(micro_config()), {})


def test_settings_that_cannot_be_are_told():
    with pytest.raises(UserError, match=r"predictor_width = 20; use a multiple of the encoder's head dimension 12"):
        objective(predictor_width=20)
    with pytest.raises(UserError, match="option seen = 0"):
        objective("contrastive", seen=0.0)
    with pytest.raises(UserError, match="this stage makes nothing"):
        build_objective("jepa", World(features_config()), SMALL, {"spectrum": 1.0})
    for changes in ({"features__heads": 5}, {"features__patch": 12}, {"features__tubelet": 0}):
        with pytest.raises(UserError, match="features"):
            features_config(**changes)


def test_worlds_of_before_have_no_encoder_and_the_rest_begins_the_same():
    torch.manual_seed(0)
    without = World(micro_config())
    torch.manual_seed(0)
    with_it = World(Config(**{**vars(micro_config()), "features": FeaturesConfig(1, 24, 2, 8)}))
    assert without.features is None
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_it.state_dict()[name])
