"""What cannot be sharded is told, and by which names."""

from typing import Any

import pytest
import torch
from torch import nn

from roadcast.errors import UserError
from roadcast.parallel.shard import shard


def test_several_networks_trained_at_once_are_not_sharded():
    both = nn.ModuleDict({"tokenizer": nn.Linear(2, 2), "adversary": nn.Linear(2, 2)})
    no_mesh: Any = None
    with pytest.raises(UserError, match="this one trains tokenizer and adversary"):
        shard(both, no_mesh, torch.float32)
