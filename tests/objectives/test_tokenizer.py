import pytest
import torch
from torch import nn

from roadcast.config import StageConfig
from roadcast.data.augment import Augment
from roadcast.data.clip import Clip
from roadcast.errors import UserError
from roadcast.nn.lpips import LPIPS
from roadcast.objectives.tokenizer import TokenizerObjective
from roadcast.parallel.mesh import Mesh
from roadcast.safetensors import save_tensors
from roadcast.training.feed import Feed
from roadcast.training.metrics import Log
from roadcast.training.trainer import fit
from worlds import micro_config, random_world


def clip(batch: int = 1, frames: int = 2, height: int = 32, width: int = 64, seed: int = 0) -> Clip:
    """Random pixels, with no commands."""
    chance = torch.Generator().manual_seed(seed)
    return Clip(
        frames_BFHWC=torch.randint(0, 256, (batch, frames, height, width, 3), dtype=torch.uint8, generator=chance),
        z_BTHWC=None,
        actions_BFA=torch.zeros(batch, frames, 2),
        known_BFA=torch.zeros(batch, frames, 2, dtype=torch.bool),
        t_ns_BF=torch.zeros(batch, frames, dtype=torch.int64),
        video_B=torch.zeros(batch, dtype=torch.int64),
        first_B=torch.zeros(batch, dtype=torch.int64),
    )


def lpips_file(folder) -> str:
    """A file of random weights in the layout of the PyPI package `lpips`, AlexNet's."""
    ours = LPIPS("alex")
    tensors = {f"net.slice1.{name}": tensor for name, tensor in ours.trunk.state_dict().items()}
    tensors |= {f"lin{n}.model.1.weight": torch.rand(1, len(head), 1, 1) for n, head in enumerate(ours.heads)}
    save_tensors(folder / "lpips.safetensors", tensors)
    return str(folder / "lpips.safetensors")


def objective(config=None, **options: float) -> TokenizerObjective:
    """Over the same world every time, whatever was drawn before."""
    torch.manual_seed(0)
    return TokenizerObjective(random_world(config), options, {})


def loss(of: TokenizerObjective, seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return of.loss(clip(), torch.Generator().manual_seed(seed))


def gradients(module: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ["multiscale", "gradient", "equivariance", "lpips", "kl"])
def test_a_term_counts_by_its_weight_and_is_not_computed_without(name, tmp_path):
    changes = {"tokenizer__lpips": lpips_file(tmp_path)} if name == "lpips" else {}
    if name == "kl":
        changes["tokenizer__bottleneck"] = "kl"
    weight = 3.0
    with_it = objective(micro_config(**changes), **{name: weight})
    total, terms = loss(with_it)
    others = sum(with_it.options[other] * terms[other] for other in ("pixel", "structure", "difference"))
    torch.testing.assert_close(total, others + weight * terms[name])
    assert terms[name] > 0
    total.backward()
    assert all(torch.isfinite(g).all() for g in gradients(with_it.trained)) and gradients(with_it.trained)
    assert set(loss(objective())[1]) == {"pixel", "structure", "difference", "psnr", "latent_std"}


def test_each_side_of_the_adversary_learns_from_its_own_terms_alone():
    ours = objective(adversarial=1.0)
    assert ours.adversary is not None
    plain = objective()
    for of in (ours, plain):
        loss(of)[0].backward()
    discriminator = [p.grad.clone() for p in ours.adversary.parameters()]
    _, terms = loss(ours)
    decoder_side = torch.autograd.grad(terms["adversarial"], list(ours.adversary.parameters()), allow_unused=True)
    assert all(g is None for g in decoder_side)
    _, terms = loss(ours)
    alone = torch.autograd.grad(terms["discriminator"] + terms["r1"], list(ours.adversary.parameters()))
    for ours_grad, expected in zip(discriminator, alone, strict=True):
        torch.testing.assert_close(ours_grad, expected)
    _, terms = loss(ours)
    tokenizer_side = torch.autograd.grad(
        terms["discriminator"] + terms["r1"], list(ours.world.tokenizer.parameters()), allow_unused=True
    )
    assert all(g is None for g in tokenizer_side)
    last = "decoder.out.conv.weight"
    pushed = ours.world.tokenizer.get_parameter(last).grad
    assert not torch.allclose(pushed, plain.world.tokenizer.get_parameter(last).grad)


def test_the_adversary_is_silent_at_first_and_where_nothing_is_learnt():
    ours = objective(adversarial=1.0, adversarial_from=2)
    spoke = ["adversarial" in loss(ours)[1] for _ in range(4)]
    assert spoke == [False, False, True, True]
    with torch.no_grad():
        assert "adversarial" not in loss(ours)[1]
    assert int(ours.adversary.batches) == 4
    assert loss(objective(adversarial=1.0, adversarial_from=9))[0] == loss(objective())[0]


class SameClip:
    """The same clip again and again, where the loop expects a reel's."""

    def batches(self, first: int, last: int, workers: int):
        return iter([clip()] * (last - first))


def train(of: TokenizerObjective, folder, steps: int) -> dict[str, torch.Tensor]:
    """The averaged weights after so many steps."""
    config, mesh = of.world.config, Mesh(torch.device("cpu"))
    options = {name: value for name, value in of.options.items() if value != of.defaults[name]}
    stage = StageConfig("tokenizer", options, steps=steps, warmup=1, lr=1e-3, lr_final=1e-3, save_every=1, ema=0.5)
    feed = Feed(SameClip(), Augment({}, 0), stage, config.guard, mesh, seed=0, workers=0)
    log = Log(folder, lambda: [], print, speaks=True)
    weights = fit(
        of, stage, config, mesh, torch.float32, feed, folder, log,
        validate=lambda engine: {}, show=lambda *_: None, progress=lambda *_: None,
    )  # fmt: skip
    assert weights is not None
    return weights


def test_a_resumed_adversary_goes_on_as_if_never_stopped(tmp_path):
    """The count of batches and the discriminator come back with the state."""
    options = {"adversarial": 1.0, "adversarial_from": 1}
    whole, begun, resumed = (objective(**options) for _ in range(3))
    expected = train(whole, tmp_path / "whole", 3)
    train(begun, tmp_path / "parts", 2)
    torch.manual_seed(123)
    weights = train(resumed, tmp_path / "parts", 3)
    assert any(name.startswith("adversary.") for name in expected)
    for name, tensor in expected.items():
        assert torch.equal(tensor, weights[name]), name
    before = objective().world.tokenizer.decoder.out.conv.weight
    assert not torch.equal(before, weights["tokenizer.decoder.out.conv.weight"])


def test_without_an_adversary_the_tokenizer_alone_is_trained():
    ours = objective()
    assert ours.trained is ours.world.tokenizer


def test_the_kl_term_is_zero_for_the_unit_gaussian_and_grows_from_there():
    bottleneck = objective(micro_config(tokenizer__bottleneck="kl"), kl=1.0).world.tokenizer.bottleneck
    moments = torch.zeros(2, 8)
    assert bottleneck.divergence(moments) == 0
    prior = torch.distributions.Normal(0.0, 1.0)
    moments = torch.randn(5, 8)
    posterior = torch.distributions.Normal(moments[:, :4], (0.5 * moments[:, 4:]).exp())
    expected = torch.distributions.kl_divergence(posterior, prior).mean()
    torch.testing.assert_close(bottleneck.divergence(moments), expected)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"kl": 1e-3}, "tokenizer.bottleneck = 'tanh'"),
        ({"tokenizer__bottleneck": "kl"}, {}, "option kl = 0.0"),
        ({}, {"lpips": 1.0}, "tokenizer.lpips is empty; name a safetensors file"),
        ({"tokenizer__lpips": "nowhere.safetensors"}, {"lpips": 1.0}, "nowhere.safetensors"),
        ({"data__width": 16}, {"equivariance": 1.0}, "use pictures of 32 pixels"),
        ({"data__width": 16}, {"lpips": 1.0}, "32 pixels or more, and these have 16"),
        ({}, {"pixel": 0.0, "structure": 0.0, "difference": 0.0}, "every loss of pictures has weight 0"),
    ],
)
def test_weights_that_cannot_be_served_are_refused(changes, options, message):
    with pytest.raises(UserError, match=message):
        objective(micro_config(**changes), **options)


def test_a_file_of_other_weights_is_named(tmp_path):
    save_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(2)})
    with pytest.raises(UserError, match="these are not the weights of LPIPS; save them anew"):
        objective(micro_config(tokenizer__lpips=str(tmp_path / "other.safetensors")), lpips=1.0)


def test_statistics_are_measured_of_latents_in_use():
    """After `finish` the encoder's latents have mean 0 and deviation 1 by channel, for the Gaussian's mean too."""
    ours = objective(micro_config(tokenizer__bottleneck="kl"), kl=1e-3)
    ours.finish([clip(4, 2)])
    with torch.no_grad():
        z = ours.world.tokenizer.encode(clip(4, 2).frames_BFHWC).flatten(0, -2)
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(dim=0), torch.ones(4), atol=1e-3, rtol=0)
