import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from roadcast.nn.depth_pro import DepthPro, Shape, merge, split
from roadcast.nn.vit import ViT

MICRO = Shape(width=32, depth=2, heads=2, side=32, patch=4, taps=(0, 1), channels=(8, 12, 16, 16), features=16)
"""All of it, small enough for a test: pictures of 128 pixels a side, 8 x 8 tokens a patch as 24 x 24 in the released one."""


def scattered(network: torch.nn.Module) -> torch.nn.Module:
    """Weights of such size that every part of the network is heard in what it says, and is not cut off at 0."""
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if p.ndim == 1:
                p.normal_(
                    float(name.endswith(("gamma", "norm.weight", "norm1.weight", "norm2.weight"))),
                    0.1,
                    generator=chance,
                )
            else:
                p.normal_(0, p[0].numel() ** -0.5, generator=chance)
            if name == "head.4.bias":
                p.fill_(0.5)
    return network


def released_names() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the 1,119 tensors in depth_pro.pt, written out from the paper's figure 3 and its sizes."""

    def vit(at: str) -> dict[str, tuple[int, ...]]:
        block = {
            **{f"norm{n}.{part}": (1024,) for n in (1, 2) for part in ("weight", "bias")},
            "attn.qkv.weight": (3072, 1024), "attn.qkv.bias": (3072,), "attn.proj.weight": (1024, 1024), "attn.proj.bias": (1024,),
            "mlp.fc1.weight": (4096, 1024), "mlp.fc1.bias": (4096,), "mlp.fc2.weight": (1024, 4096), "mlp.fc2.bias": (1024,),
            "ls1.gamma": (1024,), "ls2.gamma": (1024,),
        }  # fmt: skip
        return {
            f"{at}.cls_token": (1, 1, 1024), f"{at}.pos_embed": (1, 577, 1024),
            f"{at}.patch_embed.proj.weight": (1024, 3, 16, 16), f"{at}.patch_embed.proj.bias": (1024,),
            f"{at}.norm.weight": (1024,), f"{at}.norm.bias": (1024,),
            **{f"{at}.blocks.{n}.{name}": shape for n in range(24) for name, shape in block.items()},
        }  # fmt: skip

    def fusion(n: int) -> dict[str, tuple[int, ...]]:
        at = f"decoder.fusions.{n}"
        convs = [f"{at}.resnet{r}.residual.{i}" for r in (1, 2) for i in (1, 3)]
        return {
            **{f"{conv}.weight": (256, 256, 3, 3) for conv in convs}, **{f"{conv}.bias": (256,) for conv in convs},
            **({f"{at}.deconv.weight": (256, 256, 2, 2)} if n else {}),
            f"{at}.out_conv.weight": (256, 256, 1, 1), f"{at}.out_conv.bias": (256,),
        }  # fmt: skip

    ups = {
        "_latent0": [(256, 1024, 1, 1), *[(256, 256, 2, 2)] * 3], "_latent1": [(256, 1024, 1, 1), *[(256, 256, 2, 2)] * 2],
        "0": [(512, 1024, 1, 1), (512, 512, 2, 2)], "1": [(1024, 1024, 1, 1), (1024, 1024, 2, 2)],
        "2": [(1024, 1024, 1, 1), (1024, 1024, 2, 2)],
    }  # fmt: skip
    convs = {
        "encoder.upsample_lowres": (1024, 1024, 2, 2), "encoder.fuse_lowres": (1024, 2048, 1, 1),
        "head.0": (128, 256, 3, 3), "head.1": (128, 128, 2, 2), "head.2": (32, 128, 3, 3), "head.4": (1, 32, 1, 1),
        "fov.encoder.1": (128, 1024), "fov.downsample.0": (128, 256, 3, 3),
        "fov.head.0": (64, 128, 3, 3), "fov.head.2": (32, 64, 3, 3), "fov.head.4": (1, 32, 6, 6),
    }  # fmt: skip
    return {
        **vit("encoder.patch_encoder"), **vit("encoder.image_encoder"), **vit("fov.encoder.0"),
        **{f"encoder.upsample{name}.{n}.weight": shape for name, row in ups.items() for n, shape in enumerate(row)},
        **{f"decoder.convs.{n}.weight": (256, c, 3, 3) for n, c in enumerate((256, 512, 1024, 1024), 1)},
        **{name: shape for n in range(5) for name, shape in fusion(n).items()},
        **{f"{name}.weight": shape for name, shape in convs.items()},
        **{f"{name}.bias": (shape[0],) for name, shape in convs.items()},
    }  # fmt: skip


def test_a_checkpoint_of_the_released_layout_loads_whole():
    tensors = {name: torch.empty(shape, device="meta") for name, shape in released_names().items()}
    assert len(tensors) == 1119 and sum(t.numel() for t in tensors.values()) == 951_991_330
    network = DepthPro.from_tensors(tensors)
    unused = tensors.keys() - network.state_dict().keys()
    assert all(name.startswith("decoder.fusions.4.resnet1") for name in unused) and len(unused) == 4
    assert not any(p.requires_grad for p in network.parameters())


def test_a_tensor_that_is_missing_or_of_another_shape_is_named():
    tensors = DepthPro(MICRO).state_dict()
    with pytest.raises(ValueError, match=r"head\.2\.bias of Depth Pro is absent where \(32,\) is needed"):
        DepthPro.from_tensors({name: t for name, t in tensors.items() if name != "head.2.bias"}, MICRO)
    with pytest.raises(ValueError, match=r"head\.2\.bias of Depth Pro is \(8,\) where \(32,\)"):
        DepthPro.from_tensors({**tensors, "head.2.bias": torch.zeros(8)}, MICRO)
    with pytest.raises(ValueError, match=r"weight encoder\.patch_encoder\.cls_token of Depth Pro is \(1, 1, 32\)"):
        DepthPro.from_tensors(tensors)


def test_weights_loaded_from_tensors_say_what_the_network_said_that_they_are_of():
    network = scattered(DepthPro(MICRO))
    again = DepthPro.from_tensors(network.state_dict(), MICRO)
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    for a, b in zip(network.canonical(x), again.canonical(x), strict=True):
        assert torch.equal(a, b) and a.abs().max() > 0


@pytest.mark.parametrize(("across", "overlap"), [(5, 0.25), (3, 0.5)])
def test_patches_that_were_split_merge_to_the_picture(across, overlap):
    picture = torch.rand(2, 3, 64 * 4, 64 * 4) if across == 5 else torch.rand(2, 3, 64 * 2, 64 * 2)
    patches = split(picture, across, 64)
    assert patches.shape == (2 * across**2, 3, 64, 64)
    assert torch.equal(merge(patches, across, overlap), picture)


def test_a_picture_in_a_batch_is_told_as_it_is_alone():
    network = scattered(DepthPro(MICRO))
    images = torch.rand(2, 1, 40, 60, 3) * 2 - 1
    together = network(images, focal=50.0)
    assert together.shape == (2, 1, 40, 60) and together.std() > 0
    torch.testing.assert_close(network(images[1, 0], focal=50.0), together[1, 0], rtol=1e-4, atol=0)


def test_depth_grows_with_the_focal_length_and_is_guessed_from_the_field_of_view_without_it():
    network = scattered(DepthPro(MICRO))
    network.fov.head[4].bias.fill_(70.0)
    image = torch.rand(128, 128, 3) * 2 - 1
    near, far = network(image, focal=40.0), network(image, focal=80.0)
    middling = (near > 1e-3) & (far < 1e3)
    torch.testing.assert_close(far[middling], 2 * near[middling])
    fov = network.canonical(image.movedim(-1, 0)[None])[1]
    focal = 128 / (2 * torch.tan(torch.deg2rad(fov) / 2)).item()
    torch.testing.assert_close(network(image), network(image, focal=focal))


def test_the_transformer_equals_its_equations_written_out():
    vit = scattered(ViT(width=8, depth=2, heads=2, side=8, patch=4)).eval()
    w = vit.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]
        )

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    image = torch.rand(1, 3, 8, 8)
    patches = [image[0, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].flatten() for i in range(2) for j in range(2)]
    tokens = [w["patch_embed.proj.weight"].flatten(1) @ p + w["patch_embed.proj.bias"] for p in patches]
    x = torch.stack([w["cls_token"][0, 0], *tokens]) + w["pos_embed"][0]
    for block in ("blocks.0", "blocks.1"):
        q, k, v = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").split(8, dim=-1)
        heads = [(q[:, a] @ k[:, a].T / 2).softmax(-1) @ v[:, a] for a in (slice(0, 4), slice(4, 8))]
        x = x + w[f"{block}.ls1.gamma"] * linear(torch.cat(heads, -1), f"{block}.attn.proj")
        hidden = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + w[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
        if block == "blocks.0":
            tapped = x
    with torch.no_grad():
        first, last = vit(image, taps=(0,))
    torch.testing.assert_close(first[0].flatten(1).T, tapped[1:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last[0].flatten(1).T, norm(x, "norm")[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_equals_the_authors_code_given_the_same_weights():
    """Runs where the packages of github.com/apple/ml-depth-pro and timm are installed; figures in docs/results/depth.md."""
    apple = pytest.importorskip("depth_pro.depth_pro")
    timm = pytest.importorskip("timm.models.vision_transformer")
    shape = Shape(width=64, depth=3, heads=2, taps=(0, 1), channels=(16, 24, 32, 32), features=32)

    def vit() -> torch.nn.Module:
        network = timm.VisionTransformer(
            img_size=384, patch_size=16, embed_dim=64, depth=3, num_heads=2, init_values=1.0, num_classes=0
        )
        network.forward = network.forward_features
        return network

    encoder = apple.DepthProEncoder(list(shape.channels), vit(), vit(), list(shape.taps), shape.features)
    decoder = apple.MultiresConvDecoder([shape.features, *encoder.dims_encoder], shape.features)
    theirs = scattered(apple.DepthPro(encoder, decoder, (32, 1), use_fov_head=True, fov_encoder=vit())).eval()
    ours = DepthPro.from_tensors(theirs.state_dict(), shape)
    image = F.interpolate(torch.rand(1, 3, 24, 32), (96, 128), mode="bicubic").clamp(0, 1) * 2 - 1
    with torch.no_grad():
        x = F.interpolate(image, (1536, 1536), mode="bilinear")
        for a, b in zip(ours.canonical(x), theirs(x), strict=True):
            assert (a - b).abs().max() <= 1e-4 * b.abs().max() and b.abs().max() > 0
        depth = theirs.infer(image, torch.tensor(90.0))["depth"]
        torch.testing.assert_close(ours(image[0].movedim(0, -1), focal=90.0), depth, rtol=1e-4, atol=0)
