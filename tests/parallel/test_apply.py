from types import SimpleNamespace

import pytest

from roadcast.config import StageConfig
from roadcast.errors import UserError
from roadcast.objectives import build_objective
from roadcast.parallel.apply import check_pipeline
from worlds import micro_config, random_world

TWO_STAGES = SimpleNamespace(stages=2, data_ranks=1)


@pytest.mark.parametrize("name", ["consistency", "shortcut", "mean_flow", "self_context", "self_forcing"])
def test_what_calls_its_network_more_than_once_is_not_cut_into_stages(name):
    objective = build_objective(name, random_world(micro_config(dynamics__step_embedding=True)), {})
    with pytest.raises(UserError, match="of one piece"):
        check_pipeline(objective, StageConfig(name, accumulate=2), TWO_STAGES)


@pytest.mark.parametrize("name", ["diffusion_forcing", "teacher_forcing"])
def test_what_asks_once_may_be_cut_where_there_are_as_many_micro_batches_as_stages(name):
    objective = build_objective(name, random_world(), {})
    check_pipeline(objective, StageConfig(name, accumulate=2), TWO_STAGES)
    with pytest.raises(UserError, match="fewer than its 2 stages"):
        check_pipeline(objective, StageConfig(name, accumulate=1), TWO_STAGES)
