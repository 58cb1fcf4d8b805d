import torch

from roadcast.training.live_bytes import LiveBytes


def test_a_storage_counts_once_and_for_as_long_as_any_view_of_it():
    before = torch.zeros(10)
    with LiveBytes() as live:
        whole = torch.zeros(1000)
        size = whole.nbytes
        view = whole.view(10, 100)[3:]
        assert live.now == size
        del whole
        assert live.now == size
        before.add_(1)
        assert live.now == size + before.nbytes
        del view
        assert live.now == before.nbytes


def test_the_peak_is_the_most_at_once():
    with LiveBytes() as live:
        x = torch.ones(100)
        y = (x + 1) * 2
        assert live.now == x.nbytes + y.nbytes
        assert live.peak == live.now + y.nbytes
        live.forget_peak()
        assert live.peak == live.now


def test_what_autograd_keeps_is_alive_until_the_backward_pass():
    weight = torch.ones(100, requires_grad=True)
    with LiveBytes() as live:
        loss = (weight * 2).exp().sum()
        kept = live.now
        loss.backward()
        assert kept == loss.nbytes + weight.nbytes  # the exponential, which is its own derivative
        assert live.now == loss.nbytes + weight.grad.nbytes
