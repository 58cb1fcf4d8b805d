"""Every part that comes with roadcast keeps its contract, and every check catches a part that breaks what it checks."""

import pytest
import torch
from torch import nn

from roadcast.data.sources.open import open_source
from roadcast.nn.causal_conv import Stream
from roadcast.nn.image_quality import ms_ssim, psnr, ssim
from roadcast.objectives import Objective, build_objective
from roadcast.objectives.base import OBJECTIVES
from roadcast.research import interfaces
from roadcast.research.conform import conform
from roadcast.research.interfaces import Metric
from worlds import micro_config, random_world

TOKENIZERS = {"f16": {}, "time stride 2": {"time_stride": 2}, "kl": {"bottleneck": "kl"}, "f8": {"patch": 2}}
DYNAMICS = {
    "factorised": {},
    "full": {"attention": "full"},
    "chunked": {"attention_chunk": 3},
    "sinks": {"sink_frames": 1},
}
METRICS = {
    "psnr": Metric(psnr, "higher"),
    "ssim": Metric(ssim, "higher"),
    "ms_ssim": Metric(lambda made, true: ms_ssim(made, true, weights=(0.5, 0.5)), "higher"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_conform(name):
    tokenizer = random_world(micro_config(**{f"tokenizer__{k}": v for k, v in TOKENIZERS[name].items()})).tokenizer
    assert isinstance(tokenizer, interfaces.Tokenizer)
    assert conform("tokenizer", tokenizer) == []


@pytest.mark.parametrize("name", DYNAMICS)
def test_dynamics_conform(name):
    dynamics = random_world(micro_config(**{f"dynamics__{k}": v for k, v in DYNAMICS[name].items()})).dynamics
    assert isinstance(dynamics, interfaces.Dynamics)
    assert conform("dynamics", dynamics) == []


@pytest.mark.parametrize("name", [name for name, kind in OBJECTIVES.items() if kind.__module__.startswith("roadcast.")])
def test_objectives_conform(name):
    config = micro_config(
        features__depth=2, features__width=24, features__heads=4, inverse__width=16, dynamics__step_embedding=True
    )
    objective = build_objective(name, random_world(config), {})
    assert isinstance(objective, interfaces.Objective)
    assert conform("objective", objective) == []


@pytest.mark.parametrize("name", METRICS)
def test_metrics_conform(name):
    assert conform("metric", METRICS[name]) == []


def test_the_built_in_source_conforms():
    source = open_source("toyroad:recordings=2,frames=12,height=32,width=64")
    assert conform("source", source) == []


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="use one of tokenizer, dynamics, objective, metric, source"):
        conform("engine", None)


class Broken:
    """A part with some of its methods replaced by functions of the part and the arguments."""

    def __init__(self, part, **methods):
        self.part, self.methods = part, methods

    def __getattr__(self, name):
        if name in self.methods:
            return lambda *arguments, **options: self.methods[name](self.part, *arguments, **options)
        return getattr(self.part, name)

    def __call__(self, *arguments, **options):
        return self.methods.get("call", lambda part, *a, **o: part(*a, **o))(self.part, *arguments, **options)


def peek(x):
    """Each frame with a little of the one after it."""
    return x + 0.1 * torch.cat([x[:, 1:], x[:, :1] * 0], dim=1)


TOKENIZER_FAULTS = {
    "encode gives torch.float64": {"encode": lambda part, x, stream=None: part.encode(x, stream).double()},
    "should be uint8": {"decode": lambda part, z, stream=None: part.decode(z, stream).float()},
    "encode gives other latents": {"encode": lambda part, x, stream=None: part.encode(x, stream) + torch.rand(1)},
    "encode has a gradient with respect to later": {"encode_raw": lambda part, x, stream=None: part.encode_raw(peek(x), stream)},
    "decode changes by": {"decode_raw": lambda part, z, stream=None: part.decode_raw(peek(z).detach() + 0 * z, stream)},
    "encode frame by frame": {"encode": lambda part, x, stream=None: part.encode(x, Stream())},
    "decode frame by frame": {"decode_raw": lambda part, z, stream=None: part.decode_raw(z, Stream())},
    "encode does not depend on its input": {"encode_raw": lambda part, x, stream=None: part.encode_raw(0 * x, stream)},
}  # fmt: skip


@pytest.mark.parametrize("complaint", TOKENIZER_FAULTS)
def test_a_broken_tokenizer_is_caught(complaint):
    tokenizer = Broken(random_world().tokenizer, **TOKENIZER_FAULTS[complaint])
    assert any(complaint in said for said in conform("tokenizer", tokenizer))


def forgetful(part, x, t, commands, history=None, finished=0):
    """Takes nothing in."""
    return part(x, t, commands, None if history is None else part.empty_history(len(x), *x.shape[2:4]), finished)


def greedy(part, x, t, commands, history=None, finished=0):
    """Takes in what is not finished."""
    made = part(x, t, commands, history, finished)
    if history is not None and not finished:
        part(x, t, commands, history, finished=x.shape[1])
    return made


DYNAMICS_FAULTS = {
    "the answer is torch.float64": lambda part, *a, **o: part(*a, **o).double(),
    "another answer the second time": lambda part, *a, **o: part(*a, **o) + torch.rand(1),
    "of frames, the answer has a gradient": lambda part, x, *a, **o: part(peek(x), *a, **o),
    "of frames, the answer changes by": lambda part, x, *a, **o: part(peek(x).detach() + 0 * x, *a, **o),
    "of noise levels, the answer changes by": lambda part, x, t, *a, **o: part(x, peek(t), *a, **o),
    "of commands, the answer changes by": lambda part, x, t, c, *a, **o: part(x, t, peek(c), *a, **o),
    "of commands, the answer does not depend": lambda part, x, t, c, *a, **o: part(x, t, 0 * c, *a, **o),
    "with a history it is": forgetful,
    "with a history": greedy,
}


@pytest.mark.parametrize("complaint", DYNAMICS_FAULTS)
def test_a_broken_dynamics_is_caught(complaint):
    dynamics = Broken(random_world().dynamics, call=DYNAMICS_FAULTS[complaint])
    assert any(complaint in said for said in conform("dynamics", dynamics))


class Faulty(Objective):
    """A regression with one fault, by name."""

    reads = "latents"

    def __init__(self, fault: str):
        super().__init__(random_world(), {}, {})
        self.fault, self.model, self.idle = fault, nn.Linear(4, 4), nn.Linear(4, 4)

    @property
    def trained(self):
        return nn.ModuleList([self.model, self.idle] if self.fault == "no gradient reaches 1.weight" else [self.model])

    def loss(self, clip, generator):
        noise = torch.rand(1, generator=None if self.fault == "one generator gives" else generator)
        error = (self.model(clip.z_BTHWC) - noise).square()
        wrong = {
            "should be one floating-point number": error.mean(dim=0),
            "the loss is nan": error.mean() * float("nan"),
            "the loss has no gradient": error.mean().detach(),
            "gradient of 0.weight is not finite": error.mean() + (0 * self.model.weight).square().sum().sqrt(),
        }
        return wrong.get(self.fault, error.mean()), {}


@pytest.mark.parametrize(
    "fault",
    [
        "should be one floating-point number", "the loss is nan", "the loss has no gradient", "one generator gives",
        "no gradient reaches 1.weight", "gradient of 0.weight is not finite",
    ],
)  # fmt: skip
def test_a_broken_objective_is_caught(fault):
    assert any(fault in said for said in conform("objective", Faulty(fault)))


METRIC_FAULTS = {
    "better = 'up'": Metric(psnr, "up"),
    "should be [4]": Metric(lambda made, true: psnr(made, true).mean(), "higher"),
    "the true picture itself is no better": Metric(psnr, "lower"),
    "more noise does not make it worse": Metric(lambda made, true: (psnr(made, true) > 99).float(), "higher"),
    "another value the second time": Metric(lambda made, true: psnr(made, true) + 1e-3 * torch.rand(1), "higher"),
    "depends on the others": Metric(lambda made, true: psnr(made, true) + psnr(made, true).mean(), "higher"),
    "is not finite": Metric(lambda made, true: -(made - true).square().mean(dim=(1, 2, 3)).log10(), "higher"),
}


@pytest.mark.parametrize("complaint", METRIC_FAULTS)
def test_a_broken_metric_is_caught(complaint):
    assert any(complaint in said for said in conform("metric", METRIC_FAULTS[complaint]))


def test_a_broken_source_is_caught():
    class Empty:
        cameras = ("front",)

        def recordings(self):
            return iter(())

    assert conform("source", Empty()) == ["recordings() gives none"]
