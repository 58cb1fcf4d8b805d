from dataclasses import replace
from functools import cache
from itertools import accumulate

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from roadcast.config import StageConfig
from roadcast.errors import UserError
from roadcast.training.live_bytes import LiveBytes
from roadcast.training.memory import CACHE_DTYPES, StageMemory, count_stage, driving_memory, stage_memory
from worlds import micro_config

STAGES = ("tokenizer", "dynamics")


def stage_of(name: str, **changes) -> StageConfig:
    return replace(micro_config().train[name], **changes)


@cache
def counted(name: str) -> StageMemory:
    """A step of the micro configuration's stage as it is."""
    return stage_memory(micro_config(), stage_of(name))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "remat"), [("tokenizer", "block"), ("dynamics", "selective"), ("dynamics", "none")])
def test_tensors_without_numbers_count_like_real_ones(name, remat):
    stage = stage_of(name, remat=remat, accumulate=2)
    with LiveBytes() as live:
        real = count_stage(micro_config(), stage, torch.float32, live)
    assert stage_memory(micro_config(), stage) == real


@pytest.mark.parametrize("name", STAGES)
def test_the_peak_is_what_the_allocator_gives_out(name):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        count_stage(micro_config(), stage_of(name), torch.float32, LiveBytes())  # not entered, it is idle
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    given = max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))
    assert counted(name).peak == pytest.approx(given, rel=0.02)


def test_weights_and_what_goes_with_them_have_one_size():
    tokenizer, dynamics = map(counted, STAGES)
    for step in (tokenizer, dynamics):
        assert step.weights == pytest.approx(step.average, rel=0.01)  # buffers that are not saved are not averaged,
        assert step.weights == pytest.approx(step.gradients, rel=0.01)  # and no buffer has a gradient
        assert step.optimizer == pytest.approx(2 * step.gradients, rel=0.01)
    assert (tokenizer.frozen, dynamics.frozen) == (dynamics.weights, tokenizer.weights)


def test_activations_shrink_with_the_batch_and_with_the_type():
    one = stage_memory(micro_config(), stage_of("dynamics", batch=1)).activations
    half = stage_memory(micro_config(), stage_of("dynamics"), torch.bfloat16).activations
    assert micro_config().train["dynamics"].batch == 2
    whole = counted("dynamics").activations
    assert one < half < whole == pytest.approx(2 * one, rel=0.05)


def test_clips_are_as_long_as_the_longest_of_the_curriculum():
    lengths = ((0, 4), (9, micro_config().train["dynamics"].clip_frames))
    assert stage_memory(micro_config(), stage_of("dynamics", clip_frames=2, curriculum=lengths)) == counted("dynamics")


def test_a_cache_of_fewer_bits_is_smaller():
    driving = driving_memory(micro_config())
    sizes = [driving.caches[dtype] for dtype in CACHE_DTYPES]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.01)
    assert 0 < driving.frame < driving.scene


def test_an_option_that_works_by_numbers_is_refused():
    with pytest.raises(UserError, match="set adversarial to 0 to count the rest"):
        stage_memory(micro_config(), stage_of("tokenizer", options={"adversarial": 0.1}))
