"""Measures that look with a network: depth along the car's own way, and LPIPS with files as they are published."""

from pathlib import Path

import numpy as np
import pytest
import torch

from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.evaluation.learned import depth_measure, located, lpips_measure
from roadcast.evaluation.protocol import make_protocol
from roadcast.evaluation.runner import evaluate
from roadcast.evaluation.systems import show
from roadcast.nn.lpips import LPIPS

SIZES = {"split": "val", "clips": 3, "context": 5, "horizon": 8}


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> Reel:
    path = tmp_path_factory.mktemp("road") / "reel"
    ingest("toyroad:recordings=2,frames=30,height=64,width=128,weather=clear", path, height=64, width=128, fps=20.0, split="val",
           min_seconds=0)  # fmt: skip
    return Reel(path)


def of_size(world, reel: Reel):
    world.height, world.width, world.fps = reel.height, reel.width, reel.fps
    return world


def test_depth_goes_along_the_motion_where_it_is_known_and_along_the_flow_where_not(road, reel):
    assert located(road, "val") and not located(reel, "val")
    assert depth_measure(road, "val").names == ("depth_consistency",)
    assert depth_measure(reel, "val").names == ("depth_flicker",)


def test_a_picture_that_stands_still_is_further_from_the_car_s_way_than_the_real_one(road, worlds):
    world, measure = of_size(worlds["frozen"](), road), depth_measure(road, "val")
    protocol = make_protocol(world, road, steps=None, seed=0, **SIZES)
    found = measure.of(show(world, road, protocol, range(3)))
    assert all(rows[0].shape == (3, 8) and np.isfinite(rows[0]).all() for rows in found.values())
    np.testing.assert_array_equal(found["model"][0], found["copy"][0])
    np.testing.assert_array_equal(found["reconstruction"][0], found["real"][0])
    assert found["copy"][0][:, 4:].mean() > found["real"][0][:, 4:].mean()


def test_a_frozen_picture_has_no_flicker_of_depth_and_the_network_is_in_the_protocol(reel, worlds):
    result = evaluate(worlds["frozen"](), reel, steering_contexts=0, measures=[depth_measure(reel, "val")], **SIZES)
    assert max(result.metrics["depth_flicker"]["copy"].mean) < 1e-6 < min(result.metrics["depth_flicker"]["real"].mean)
    assert result.protocol.networks["depth_flicker"].startswith("depthnet-toyroad/")


def test_lpips_is_that_of_the_network_frame_by_frame(reel, worlds, tmp_path):
    torch.manual_seed(0)
    network = LPIPS("squeeze").eval()
    heads = {f"lin{i}.model.1.weight": head.detach()[None, :, None, None] for i, head in enumerate(network.heads)}
    trunk = {
        f"features.{name.removeprefix('trunk.')}".replace("narrow", "expand1x1").replace("wide", "expand3x3"): value
        for name, value in network.state_dict().items()
        if name.startswith("trunk.")
    }
    files = [Path(tmp_path / "squeeze.pth"), Path(tmp_path / "trunk.pth")]
    for file, tensors in zip(files, (heads, trunk), strict=True):
        torch.save(tensors, file)
    measure = lpips_measure(files)
    world = worlds["frozen"]()
    protocol = make_protocol(world, reel, steps=None, seed=0, **SIZES)
    scene = show(world, reel, protocol, range(2))
    seen = scene.systems["copy"]
    a, b = (x[1, 3].float() / 127.5 - 1 for x in (seen.compared_BHHWC, seen.true_BHHWC))
    with torch.no_grad():
        assert measure.of(scene)["copy"][0][1, 3] == pytest.approx(float(network(a, b)), rel=1e-4)
    assert measure.of(scene)["reconstruction"][0].max() < 1e-6
    assert measure.identity.startswith("lpips-squeeze-0.1/")
