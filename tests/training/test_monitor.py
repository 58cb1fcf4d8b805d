import json

import torch

from roadcast.training.metrics import Log, read_log
from roadcast.training.monitor import MemoryMonitor, host_bytes

MEGABYTES = 300


class Knot:
    """Memory that only a garbage collection gives back: it holds itself."""

    def __init__(self):
        self.itself, self.held = self, torch.ones(MEGABYTES * 2**18)


def test_at_four_fifths_of_the_budget_garbage_goes_and_is_counted(tmp_path):
    log = Log(tmp_path, lambda: [], lambda text: None, speaks=True)
    before = host_bytes()
    monitor = MemoryMonitor(torch.device("cpu"), (before + 200e6) / 0.8e9, dict)
    monitor.look(1, log)
    assert monitor.cleanups == 0
    Knot()
    held = host_bytes()
    assert held - before > 290 * 2**20
    monitor.look(2, log)
    assert monitor.cleanups == 1 and held - host_bytes() > 280 * 2**20
    (event,) = read_log(tmp_path / "events.jsonl")
    assert event["kind"] == "memory" and "cleaned up" in event["text"] and event["step"] == 2
    assert monitor.figures()["cleanups"] == 1 and monitor.figures()["memory_share"] < 0.8


def test_what_cannot_be_cleaned_up_is_warned_of_once_with_what_takes_it(tmp_path):
    lines = []
    log = Log(tmp_path, lambda: [], lines.append, speaks=True)
    monitor = MemoryMonitor(torch.device("cpu"), host_bytes() / 0.96e9, lambda: {"weights": 5, "moments": 7})
    for step in range(5):
        monitor.look(step, log)
    warnings = [line for line in lines if "lower batch" in line]
    assert len(warnings) == 1 and "weights 0.00 GB" in warnings[0] and "activations and the rest" in warnings[0]
    assert monitor.cleanups == 1, "it is not tried again before more is in use"
    row = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])
    assert row["weights"] == 5 and row["moments"] == 7
