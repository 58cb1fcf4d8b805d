"""Metrics equal the packages that define them, whose values were kept: benchmarks/metrics_parity.py says how they were made."""

import json
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((REPO / "tests" / "golden" / "metrics.json").read_text())


@pytest.fixture(autouse=True)
def _benchmarks_are_at_hand(monkeypatch):
    monkeypatch.syspath_prepend(REPO / "benchmarks")


@pytest.mark.parametrize("name", GOLDEN)
def test_it_is_what_the_reference_says_of_the_same_weights_and_pictures(name):
    from metrics_parity import CASES, TOLERANCE, ours, relative_error

    assert relative_error(ours(CASES[name], GOLDEN[name]["layout"]), GOLDEN[name]["values"]) < TOLERANCE


def test_every_comparison_has_its_values_kept():
    from metrics_parity import CASES

    assert {name: case.reference for name, case in CASES.items()} == {n: g["reference"] for n, g in GOLDEN.items()}


def test_lpips_is_read_from_its_two_public_files(tmp_path):
    """torchvision's file of the trunk, whose classifier is of no use, and the heads of the package `lpips`."""
    from metrics_inputs import weights
    from metrics_parity import pair

    from roadcast.evaluation.extractors import lpips_network

    named = weights(GOLDEN["lpips_squeeze"]["layout"])
    heads = {name: tensor for name, tensor in named.items() if name.startswith("lin")}
    trunk = {f"features.{name.split('.', 2)[2]}": tensor for name, tensor in named.items() if name not in heads}
    torch.save(heads, tmp_path / "squeeze.pth")
    torch.save(trunk | {"classifier.1.weight": torch.zeros(1000, 512, 1, 1)}, tmp_path / "squeezenet1_1.pth")
    network, identity = lpips_network([tmp_path / "squeezenet1_1.pth", tmp_path / "squeeze.pth"])
    a, b = (x.float() / 127.5 - 1 for x in pair())
    torch.testing.assert_close(network(a, b), torch.tensor(GOLDEN["lpips_squeeze"]["values"]), rtol=1e-4, atol=0)
    assert identity == lpips_network([tmp_path / "squeeze.pth", tmp_path / "squeezenet1_1.pth"])[1]
    assert identity.startswith("lpips-squeeze-0.1/")
