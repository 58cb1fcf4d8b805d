"""Scores of one protocol are ranked, paired by clip; those of two are refused with the field that differs."""

import pytest

from roadcast.cli.main import run as roadcast
from roadcast.errors import UserError
from roadcast.evaluation.compare import Evaluation, compare, shortened
from roadcast.evaluation.runner import evaluate


@pytest.fixture(scope="module")
def evaluations(reel, worlds, tmp_path_factory):
    """A world that repeats the last frame, one that knows the future, and the first with another horizon."""
    folder = tmp_path_factory.mktemp("evaluations")
    settings = dict(clips=6, context=4, steering_contexts=0)
    evaluate(worlds["frozen"](), reel, horizon=8, **settings).save(folder / "repeats")
    evaluate(worlds["knowing"](reel), reel, horizon=8, **settings).save(folder / "knows")
    evaluate(worlds["frozen"](), reel, horizon=6, **settings).save(folder / "short")
    return folder


def test_the_better_world_is_told_where_it_can_be(evaluations):
    found = compare(*(Evaluation.load(evaluations / name) for name in ("repeats", "knows")))
    cells = {(d.metric, d.horizon): d for d in found}
    assert cells["psnr", 8].better == "B" and cells["psnr", 8].change.low > 0
    assert cells["psnr", 8].b - cells["psnr", 8].a == pytest.approx(cells["psnr", 8].change.mean)
    assert cells["motion", 8].better == "", "a ratio has no direction"
    alike = compare(*(Evaluation.load(evaluations / "knows") for _ in range(2)))
    assert not any(d.better for d in alike)


def test_other_protocols_are_refused_by_the_field_that_differs(evaluations):
    with pytest.raises(UserError, match=r"different protocols: clips = .*; such scores have no order"):
        compare(*(Evaluation.load(evaluations / name) for name in ("repeats", "short")))
    with pytest.raises(UserError, match="holds no evaluation"):
        Evaluation.load(evaluations)
    assert len(shortened("x" * 1000)) < 200


def test_the_command_tells_a_table(evaluations, capsys):
    assert roadcast(["compare", str(evaluations / "repeats"), str(evaluations / "knows")]) == 0
    told = capsys.readouterr().out
    assert "PSNR" in told and "of 32 cells, B in" in told
