import pytest
import torch

from roadcast.errors import UserError
from roadcast.nn.causal_conv import Stream
from worlds import micro_config, random_world


@pytest.mark.parametrize(
    ("stride", "time_stride", "changes"),
    [
        (16, 1, {}),
        (16, 2, {}),
        (16, 4, {}),
        (8, 1, {"patch": 2}),
        (8, 2, {"widths": (8, 16)}),
        (32, 1, {"patch": 8}),
        (32, 4, {"widths": (4, 8, 8, 16)}),
        (16, 1, {"time_kernel": 1}),
        (16, 2, {"time_kernel": 3}),
        (16, 4, {"time_kernel": 5}),
        (16, 1, {"decoder_widths": (12,)}),
        (32, 2, {"patch": 8, "decoder_widths": (4, 8, 8, 8, 8, 8)}),
        (16, 2, {"bottleneck": "kl"}),
    ],
)
def test_streaming_equals_whole(stride, time_stride, changes):
    """Frame by frame with carried state gives what reading the clip whole gives, encoding and decoding, at every stride."""
    changes = {f"tokenizer__{name}": value for name, value in changes.items()}
    tokenizer = random_world(micro_config(tokenizer__time_stride=time_stride, **changes)).tokenizer
    frames = torch.randint(0, 256, (2, 8, 32, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        z = tokenizer.encode(frames)
        made = tokenizer.decode_raw(z)
        into, out = Stream(), Stream()
        z_parts = [tokenizer.encode(part, into) for part in frames.split(time_stride, dim=1)]
        parts = [tokenizer.decode_raw(part, out) for part in z.split(1, dim=1)]
    assert z.shape == (2, 8 // time_stride, 32 // stride, 64 // stride, 4) and made.shape == frames.shape
    torch.testing.assert_close(torch.cat(z_parts, dim=1), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat(parts, dim=1), made, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 1}, "makes a spatial stride of 4; use 8, 16 or 32"),
        ({"widths": (8, 8, 8, 8, 8)}, "makes a spatial stride of 64; use 8, 16 or 32"),
        ({"time_stride": 3}, "tokenizer.time_stride = 3; use 1, 2 or 4"),
        ({"decoder_widths": (4, 4, 4, 4, 4, 4)}, "halve a stride of 16 too often; use at most 5 widths"),
        ({"bottleneck": "vq"}, "tokenizer.bottleneck = 'vq'; use 'tanh' or 'kl'"),
    ],
)
def test_other_strides_and_bottlenecks_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        micro_config(**{f"tokenizer__{name}": value for name, value in changes.items()})


def test_an_empty_past_is_the_beginning_of_a_video():
    """With zeros for a past, and with none, the first frames come out the same, of either network and at any stride."""
    tokenizer = random_world(micro_config(tokenizer__time_stride=2, tokenizer__time_kernel=3)).tokenizer
    for network, x in (
        (tokenizer.encoder, torch.randn(2, 2, 32, 64, 3)),
        (tokenizer.decoder, torch.randn(2, 1, 2, 4, 4)),
    ):
        empty = network.empty_past(2, *x.shape[2:4])
        with torch.no_grad():
            (fresh, past), (begun, past_begun) = network(x), network(x, empty)
        torch.testing.assert_close(fresh, begun)
        assert [p.shape for p in past] == [p.shape for p in past_begun] == [p.shape for p in empty] and empty


def test_a_long_clip_decoded_in_pieces_equals_whole():
    """And no piece keeps more than its own last frames: what the stream remembers is as large as after one frame."""
    tokenizer = random_world().tokenizer
    z = torch.randn(1, 11, 2, 4, 4)
    with torch.no_grad():
        pieces = list(tokenizer.decode_pieces(z, latents=4))
        assert [piece.shape[1] for piece in pieces] == [4, 4, 3]
        assert (torch.cat(pieces, dim=1).int() - tokenizer.decode(z).int()).abs().max() <= 1
        stream = Stream()
        tokenizer.decode(z, stream)
    one_frame = sum(p.numel() for p in tokenizer.decoder.empty_past(1, 2, 4))
    assert sum(p.untyped_storage().nbytes() // p.element_size() for p in stream.past) == one_frame


def test_the_gaussian_is_read_by_its_mean_and_trained_by_its_samples():
    tokenizer = random_world(micro_config(tokenizer__bottleneck="kl")).tokenizer
    frames = torch.randint(0, 256, (1, 2, 32, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        hidden = tokenizer.encode_hidden(frames)
        mean = tokenizer.encode_raw(frames)
        noise = torch.randn(20_000, *mean.shape)
        samples = tokenizer.bottleneck.sample(hidden, noise)
    std = (0.5 * hidden[..., 4:]).exp()
    torch.testing.assert_close(mean, hidden[..., :4])
    assert ((samples.mean(dim=0) - mean).abs() < 5 * std / 20_000**0.5).all()
    torch.testing.assert_close(samples.std(dim=0), std, rtol=0.05, atol=0)


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


def decoded_one_by_one(step, z_BTHWC, past) -> torch.Tensor:
    """Frames from `step(z, past) -> (frame, past)`, called once a latent."""
    made = []
    with torch.no_grad():
        for z_one in z_BTHWC.split(1, dim=1):
            frame, past = step(z_one, past)
            made.append(frame)
    return torch.cat(made, dim=1)


def test_one_graph_decodes_every_frame_from_the_first_on():
    """The decoder is a pure function of tensors: one trace without a break, and the same frames as of the clip read whole."""
    decoder, graphs = random_world().tokenizer.decoder, []
    z = torch.randn(1, 3, 2, 4, 4)
    torch._dynamo.reset()
    step = torch.compile(decoder, fullgraph=True, dynamic=False, backend=lambda graph, _: graphs.append(graph) or graph)
    made = decoded_one_by_one(step, z, decoder.empty_past(1, 2, 4))
    torch.testing.assert_close(made, decoder(z)[0], rtol=1e-5, atol=1e-5)
    assert len(graphs) == 1


@pytest.mark.slow
def test_an_exported_decoder_decodes_every_frame():
    decoder = random_world().tokenizer.decoder
    z, empty = torch.randn(1, 3, 2, 4, 4), decoder.empty_past(1, 2, 4)
    step = torch.export.export(decoder, (z[:, :1], empty)).module()
    made = decoded_one_by_one(step, z, empty)
    torch.testing.assert_close(made, decoder(z)[0], rtol=1e-5, atol=1e-5)
