"""Float8 layers, emulated: the same names, nearly the same loss and gradients."""

import importlib.util

import pytest
import torch

from roadcast.config import ComputeConfig
from roadcast.errors import UserError
from roadcast.objectives import build_objective
from roadcast.optional import EXTRAS
from roadcast.parallel.apply import parallelise
from roadcast.parallel.mesh import Mesh
from roadcast.training.memory import blank_clip
from worlds import random_world

needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")


def trained(precision: str):
    """The loss and the gradients of one step in a precision."""
    torch.manual_seed(0)
    world, mesh = random_world(), Mesh(torch.device("cpu"))
    stage = world.config.train["dynamics"]
    objective = build_objective(stage.objective, world, stage.options)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    engine = parallelise(objective, stage, ComputeConfig(precision=precision), mesh, dtype)
    clip = blank_clip(objective, stage, 6)
    assert clip.z_BTHWC is not None
    clip.z_BTHWC.normal_(generator=torch.Generator().manual_seed(0))
    terms = engine.gradients([(clip, torch.Generator().manual_seed(1))], torch.amp.GradScaler("cpu", enabled=False))
    return float(terms["loss"]), {name: p.grad for name, p in engine.model.named_parameters()}, engine.model


@needs_torchao
def test_float8_layers_learn_nearly_what_float32_learns():
    loss, gradients, _ = trained("float32")
    loss_8, gradients_8, model = trained("fp8")
    layers = [type(part).__name__ for part in model.modules()]
    assert layers.count("Float8Linear") >= 4 * 4
    assert loss_8 == pytest.approx(loss, rel=0.02) and loss_8 != loss
    assert gradients.keys() == gradients_8.keys()
    flat, flat_8 = (torch.cat([g.flatten() for g in found.values()]) for found in (gradients, gradients_8))
    assert torch.cosine_similarity(flat, flat_8, dim=0) > 0.97


def test_without_the_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(EXTRAS, "fp8_of_nowhere", EXTRAS["fp8"])
    from roadcast.optional import load_extra

    with pytest.raises(UserError, match=r"needs torchao .*pip install 'roadcast\[fp8\]'"):
        load_extra("fp8_of_nowhere", "compute.precision = 'fp8'")
