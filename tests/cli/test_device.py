import torch

from roadcast.cli.device import leave_a_core


def test_a_server_has_a_core_for_itself_unless_it_is_told_how_many_threads_to_take(monkeypatch):
    taken = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    leave_a_core()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    leave_a_core()
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    leave_a_core()
    assert taken == [3, 1]
