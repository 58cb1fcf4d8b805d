"""What cannot be sharded is told, and by which names."""

from typing import Any

import pytest
import torch
from torch import nn

from roadcast.errors import UserError
from roadcast.parallel.shard import shard
from worlds import random_world


def test_a_tokenizer_that_is_trained_beside_others_is_not_sharded():
    both = nn.ModuleDict({"tokenizer": random_world().tokenizer, "adversary": nn.Linear(2, 2)})
    no_mesh: Any = None
    with pytest.raises(UserError, match="this stage trains tokenizer and adversary"):
        shard(both, no_mesh, torch.float32)
