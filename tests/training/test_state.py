import json
from pathlib import Path

import pytest
import torch

from roadcast.config import load_config
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.objectives import build_objective
from roadcast.training.checkpoints import Checkpoints
from roadcast.training.ema import EMA
from roadcast.training.state import TrainingState

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
GOLDEN = Path(__file__).parents[1] / "golden" / "run_v1"


class Model(torch.nn.Module):
    """Two layers, a number that is counted, and a parameter that the loss does not see."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(6, 16), torch.nn.Linear(16, 2)
        self.unused = torch.nn.Parameter(torch.randn(3))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x):
        self.count += 1
        return self.second(torch.tanh(self.first(x)))


def state_of(seed: int) -> TrainingState:
    """One trained by two optimizers: Muon for the matrices, AdamW for the rest."""
    torch.manual_seed(seed)
    model = Model()
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizers = [torch.optim.Muon(matrices, lr=0.01), torch.optim.AdamW(rest, lr=0.01, fused=True)]
    return TrainingState(model, optimizers, EMA(model, 0.9))


def train(state: TrainingState, first: int, last: int) -> None:
    for step in range(first, last):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        for optimizer in state.optimizers:
            optimizer.zero_grad()
        state.model(x).square().mean().backward()
        for optimizer in state.optimizers:
            optimizer.step()
        state.ema.update(state.model)


def flat(tensors: dict, above: str = "") -> dict[str, torch.Tensor]:
    rows = {}
    for name, value in tensors.items():
        rows |= flat(value, f"{above}{name}/") if isinstance(value, dict) else {above + name: value}
    return rows


def same(ours: dict, theirs: dict) -> bool:
    ours, theirs = flat(ours), flat(theirs)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_resumed_training_is_the_training_to_the_bit(tmp_path):
    whole, cut, resumed = (state_of(seed) for seed in (0, 0, 1))
    train(whole, 0, 7)
    train(cut, 0, 4)
    checkpoints = Checkpoints(tmp_path, keep=1, report=print)
    cut.save(checkpoints, 4, {"guard": [1.5]})
    facts = resumed.restore(checkpoints, checkpoints.latest())
    assert facts == {"guard": [1.5], "step": 4, "ema_updates": 4}
    assert same(resumed.tensors(), cut.tensors())
    assert resumed.tensors()["optimizer"]["first.bias"]["step"] == 4
    assert "unused" not in resumed.tensors()["optimizer"] and resumed.model.count == 4
    train(resumed, 4, 7)
    assert same(resumed.tensors(), whole.tensors()) and resumed.ema.updates == whole.ema.updates


def test_a_state_saved_before_the_first_step_is_restored(tmp_path):
    checkpoints, fresh = Checkpoints(tmp_path, keep=1, report=print), state_of(0)
    fresh.save(checkpoints, 0, {})
    trained = state_of(1)
    train(trained, 0, 2)
    trained.restore(checkpoints, checkpoints.latest())
    assert same(trained.tensors(), fresh.tensors()) and "optimizer" not in trained.tensors()


def golden_state() -> TrainingState:
    config = load_config(GOLDEN / "config.json")
    model = build_objective("diffusion_forcing", World(config), {}).trained
    return TrainingState(model, [torch.optim.AdamW(model.parameters(), fused=True)], EMA(model, 0.999))


def test_a_state_of_schema_1_is_restored_with_its_moments_by_name(tmp_path):
    """Its moments were numbered by the optimizer's groups; here the optimizer has one group, in another order."""
    state, checkpoints = golden_state(), Checkpoints(GOLDEN / "dynamics" / "state", keep=1, report=print)
    facts = state.restore(checkpoints, checkpoints.latest())
    assert facts == {"step": 2, "ema_updates": 2} and state.ema.updates == 2
    old = torch.load(GOLDEN / "dynamics" / "state" / "step-00000002.pt", weights_only=True)
    tensors = state.tensors()
    assert same(tensors["model"], old["model"]) and same(tensors["ema"], old["ema"]["average"])
    numbered = [number for group in old["optimizer"]["param_groups"] for number in group["params"]]
    parameters = dict(state.model.named_parameters())
    matrices = [name for name, p in parameters.items() if p.ndim >= 2 and p.shape[0] > 8]
    ordered = matrices + [name for name in parameters if name not in matrices]
    expected = {name: old["optimizer"]["state"][number] for name, number in zip(ordered, numbered, strict=True)}
    assert same(tensors["optimizer"], expected)
    new = Checkpoints(tmp_path, keep=1, report=print)
    state.save(new, 2, {})
    again = golden_state()
    assert again.restore(new, new.latest()) == facts and same(again.tensors(), tensors)


def test_a_state_of_another_model_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1, report=print)
    state_of(0).save(checkpoints, 1, {})
    with pytest.raises(UserError, match="not a state of this model"):
        golden_state().restore(checkpoints, checkpoints.latest())
    assert json.loads((tmp_path / "step-00000001" / "facts.json").read_text())["score"] is None
