import torch

from roadcast.training.ema import EMA


def test_the_average_follows_its_equation_and_swaps_in_and_out():
    layer = torch.nn.Linear(3, 2)
    ema = EMA(layer, decay=0.9)
    expected = layer.weight.detach().clone()
    for n in range(1, 31):
        layer.weight.data += 0.1
        ema.update(layer)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(ema.average["weight"], expected)
    own = layer.weight.detach().clone()
    with ema.swapped_into(layer):
        torch.testing.assert_close(layer.weight, expected)
    assert torch.equal(layer.weight, own)


def test_what_is_counted_is_not_averaged():
    norm = torch.nn.BatchNorm1d(3)
    ema = EMA(norm, decay=0.9)
    norm(torch.randn(4, 3))
    ema.update(norm)
    assert ema.average["num_batches_tracked"] == 1
    norm(torch.randn(4, 3))
    with ema.swapped_into(norm):
        assert norm.num_batches_tracked == 1
    assert norm.num_batches_tracked == 2
