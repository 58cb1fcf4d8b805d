"""What a frozen encoder of features asks of the tokenizer: pictures and latents that are right in its eyes."""

import pytest
import torch
import torch.nn.functional as F

from moving import features_config, moving
from roadcast.errors import UserError
from roadcast.objectives.tokenizer import TokenizerObjective
from roadcast.tokenizer.alignment import Alignment
from worlds import micro_config, random_world


def objective(config=None, **options: float) -> TokenizerObjective:
    torch.manual_seed(0)
    return TokenizerObjective(random_world(config or features_config()), options, {})


def terms_of(ours: TokenizerObjective) -> dict[str, torch.Tensor]:
    return ours.loss(moving(), torch.Generator().manual_seed(0))[1]


@pytest.mark.parametrize("name", ["features", "alignment"])
def test_a_term_counts_by_its_weight_and_moves_the_tokenizer_alone(name):
    ours, without = objective(**{name: 2.0}), objective()
    total, terms = ours.loss(moving(), torch.Generator().manual_seed(0))
    plain, _ = without.loss(moving(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(total, plain + 2.0 * terms[name])
    terms[name].backward()
    encoder, tokenizer = ours.world.features, ours.world.tokenizer
    assert encoder is not None and all(p.grad is None for p in encoder.parameters())
    reached = {n.partition(".")[0] for n, p in tokenizer.named_parameters() if p.grad is not None and p.grad.any()}
    assert "encoder" in reached and ("decoder" in reached) == (name == "features")


def test_pictures_that_are_right_in_its_eyes_cost_nothing():
    ours = objective(features=1.0)
    true = moving().frames_BFHWC.float() / 127.5 - 1
    z = torch.zeros(4, 4, 1, 2, 4)
    assert ours.feature_terms(true, true, z)["features"] == 0
    near, far = (ours.feature_terms(true + d * torch.randn(true.shape), true, z)["features"] for d in (0.05, 0.5))
    assert 0 < near < far


def test_the_map_of_the_alignment_is_trained_beside_the_tokenizer_and_not_kept_in_the_world():
    ours = objective(alignment=1.0)
    names = set(ours.trained.state_dict())
    assert "alignment.map.weight" in names and not any("alignment" in n for n in ours.world.state_dict())
    again = objective(alignment=1.0)
    torch.testing.assert_close(terms_of(ours)["alignment"], terms_of(again)["alignment"], rtol=0, atol=0)


def test_the_alignment_is_the_formula():
    torch.manual_seed(1)
    ours = Alignment(4, 6)
    z, f = torch.randn(2, 2, 2, 3, 4), torch.randn(2, 2, 2, 3, 6)
    expected = 0.0
    for clip in range(2):
        rows_z, rows_f = z[clip].reshape(12, 4), f[clip].reshape(12, 6)
        for i in range(12):
            cos = F.cosine_similarity(ours.map.weight @ rows_z[i], rows_f[i], dim=0)
            expected += max(0.0, 1 - 0.5 - cos.item()) / 24
            for j in range(12):
                pair = [F.cosine_similarity(rows[i], rows[j], dim=0) for rows in (rows_z, rows_f)]
                expected += max(0.0, abs(pair[0] - pair[1]).item() - 0.25) / 288
    assert ours(z, f).item() == pytest.approx(expected, rel=1e-4)


def test_latents_that_lie_as_the_features_do_cost_nothing_whatever_the_grid():
    ours = Alignment(6, 6)
    ours.map.weight.data = torch.eye(6)
    f = torch.randn(1, 2, 2, 4, 6)
    assert ours(3 * f, f) == 0 and ours(torch.randn_like(f), f) > 0.1
    fine = F.interpolate(f.movedim(-1, 1), (4, 4, 8), mode="trilinear").movedim(1, -1)
    assert ours(fine, f) == 0


def test_without_an_encoder_there_is_nothing_to_ask():
    for name in ("features", "alignment"):
        with pytest.raises(UserError, match="options features and alignment ask the world's encoder"):
            objective(micro_config(), **{name: 1.0})
