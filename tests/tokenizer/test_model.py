import pytest
import torch

from roadcast.nn.causal_conv import Stream
from worlds import micro_config, random_world


@pytest.mark.parametrize("time_stride", [1, 2, 4])
def test_streaming_equals_whole(time_stride):
    """Frame by frame with carried state gives what reading the clip whole gives, encoding and decoding."""
    tokenizer = random_world(micro_config(tokenizer__time_stride=time_stride)).tokenizer
    frames = torch.randint(0, 256, (2, 8, 32, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        z = tokenizer.encode(frames)
        made = tokenizer.decode_raw(z)
        into, out = Stream(), Stream()
        z_parts = [tokenizer.encode(part, into) for part in frames.split(time_stride, dim=1)]
        parts = [tokenizer.decode_raw(part, out) for part in z.split(1, dim=1)]
    assert z.shape == (2, 8 // time_stride, 2, 4, 4) and made.shape == frames.shape
    torch.testing.assert_close(torch.cat(z_parts, dim=1), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat(parts, dim=1), made, rtol=1e-5, atol=1e-5)


def test_causal_by_value_and_by_gradient():
    """No frame changes when a later one does, and the first frame's gradient with respect to later ones is exactly zero."""
    tokenizer = random_world().tokenizer
    frames = torch.randint(0, 256, (1, 6, 32, 64, 3), dtype=torch.uint8)
    changed = frames.clone()
    changed[:, 4:] = 255 - changed[:, 4:]
    with torch.no_grad():
        assert torch.equal(tokenizer.encode(frames)[:, :4], tokenizer.encode(changed)[:, :4])
        assert not torch.equal(tokenizer.encode(frames)[:, 4:], tokenizer.encode(changed)[:, 4:])
    z = torch.randn(1, 6, 2, 4, 4, requires_grad=True)
    tokenizer.decode_raw(z)[:, 2].square().sum().backward()
    assert z.grad is not None
    assert z.grad[:, 3:].abs().max() == 0
    assert z.grad[:, 2].abs().max() > 0 and z.grad[:, 1].abs().max() > 0


def test_latent_statistics_are_taken_out_and_put_back():
    tokenizer = random_world().tokenizer
    frames = torch.randint(0, 256, (1, 2, 32, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        plain, shown = tokenizer.encode(frames), tokenizer.decode(tokenizer.encode(frames))
        tokenizer.mean.fill_(0.5)
        tokenizer.std.fill_(2.0)
        torch.testing.assert_close(tokenizer.encode(frames), (plain - 0.5) / 2)
        assert (tokenizer.decode(tokenizer.encode(frames)).int() - shown.int()).abs().max() <= 1


def test_one_graph_decodes_every_frame_from_the_first_on():
    """The decoder as a pure function of tensors: traced once, exported once, and the same as reading the clip whole."""
    decoder = random_world().tokenizer.decoder
    z = torch.randn(1, 3, 2, 4, 4)
    empty = decoder.empty_past(1, 2, 4)
    torch._dynamo.reset()
    graphs = []
    traced = torch.compile(
        decoder, fullgraph=True, dynamic=False, backend=lambda graph, _: graphs.append(graph) or graph
    )
    exported = torch.export.export(decoder, (z[:, :1], empty)).module()
    with torch.no_grad():
        whole, _ = decoder(z)
        for step in (traced, exported):
            past, made = empty, []
            for z_one in z.split(1, dim=1):
                frame, past = step(z_one, past)
                made.append(frame)
            torch.testing.assert_close(torch.cat(made, dim=1), whole, rtol=1e-5, atol=1e-5)
    assert len(graphs) == 1
