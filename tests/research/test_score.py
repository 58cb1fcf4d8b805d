import pytest

from roadcast.errors import UserError
from roadcast.research.score import badness, check_score, scores_of, title


def record() -> dict:
    curve = {"mean": [30.0, 28.0], "low": [29.0, 27.0], "high": [31.0, 29.0]}
    slope = {"mean": -4.0, "low": -5.0, "high": -3.0}
    metrics = {name: {"model": curve, "copy": curve} for name in ("psnr", "motion")}
    drift = {name: {"model": slope, "copy": slope | {"mean": -9.0}} for name in ("psnr", "motion")}
    return {"metrics": metrics, "drift": drift, "steering": None}


def test_the_slope_of_a_metric_along_the_rollout_is_a_score_and_less_of_a_fall_is_better():
    assert scores_of(record())["psnr@drift"] == [-4.0, -5.0, -3.0]
    assert scores_of(record(), "copy")["psnr@drift"][0] == -9.0
    assert badness("psnr@drift", -4.0) < badness("psnr@drift", -9.0)
    assert title("psnr@drift") == "PSNR drift (dB/s)"
    check_score("psnr@drift", 16, 0, "here")


def test_a_ratio_that_should_stay_near_1_has_no_better_slope():
    assert "motion@drift" not in scores_of(record()) and "motion@2" in scores_of(record())
    with pytest.raises(UserError, match=r"here: 'motion@drift' is no score; .*NAME@drift"):
        check_score("motion@drift", 16, 0, "here")
