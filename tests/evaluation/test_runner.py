import json

import numpy as np
import pytest

from roadcast.evaluation.measures import likeness
from roadcast.evaluation.metrics.floors import partner
from roadcast.evaluation.protocol import read_clips
from roadcast.evaluation.runner import evaluate
from roadcast.nn.image_quality import PSNR_CAP_DB

SMALL = {"split": "val", "clips": 6, "context": 4, "horizon": 8, "batch": 4, "steering_contexts": 0}


def noise(size: float):
    def spoil(frame, h, rng):
        return np.clip(frame + rng.normal(0, size * h, frame.shape), 0, 255).astype(np.uint8)

    return spoil


def test_a_world_that_repeats_the_last_frame_scores_exactly_the_floor(reel, worlds):
    result = evaluate(worlds["frozen"](), reel, **SMALL)
    for by_system in result.scores.values():
        np.testing.assert_array_equal(by_system["model"], by_system["copy"])
    assert result.gain["psnr"].mean == [0.0] * 8
    assert max(result.metrics["motion"]["model"].mean) < 0.01
    assert result.collapse["model"] == result.collapse["copy"]
    assert result.collapse["model"]["frozen"] > 0.5


def test_a_perfect_world_scores_the_best_there_is(reel, worlds):
    result = evaluate(worlds["knowing"](reel), reel, **SMALL)
    assert (result.scores["psnr"]["model"] == PSNR_CAP_DB).all()
    np.testing.assert_allclose(result.scores["ssim"]["model"], 1.0, atol=1e-6)
    for name in ("warp_error", "motion", "sharpness"):
        np.testing.assert_array_equal(result.scores[name]["model"], result.scores[name]["real"])
    assert result.metrics["motion"]["model"].mean == pytest.approx([1.0] * 8)
    assert not any(result.collapse["model"].values())
    assert min(result.gain["psnr"].low) > 0


def test_real_against_real_is_another_clip_for_likeness(reel, worlds):
    result = evaluate(worlds["frozen"](), reel, **SMALL)
    mine, other = (read_clips(reel, result.protocol, [i]).frames_BFHWC for i in (1, partner(1, 6)))
    np.testing.assert_allclose(result.scores["psnr"]["real"][1], likeness(other[:, 4:], mine[:, 4:])[0][0], atol=1e-4)


def test_the_same_question_gets_the_same_answer_whatever_the_batch(reel, worlds):
    world = worlds["knowing"](reel, noise(4))
    one = evaluate(world, reel, **SMALL)
    two = evaluate(world, reel, **{**SMALL, "batch": 3})
    for name, by_system in one.scores.items():
        for system, values in by_system.items():
            np.testing.assert_allclose(values, two.scores[name][system], rtol=1e-5, err_msg=f"{name} {system}")
    assert one.metrics == evaluate(world, reel, **SMALL).metrics
    other_seed = evaluate(world, reel, **{**SMALL, "seed": 1})
    assert (other_seed.scores["psnr"]["model"] != one.scores["psnr"]["model"]).any()


def test_more_noise_scores_worse_on_every_metric(reel, worlds):
    results = [evaluate(worlds["knowing"](reel, noise(size)), reel, **SMALL).metrics for size in (0, 2, 8)]
    last = {name: [r[name]["model"].mean[-1] for r in results] for name in results[0]}
    assert last["psnr"] == sorted(last["psnr"], reverse=True)
    assert last["ssim"] == sorted(last["ssim"], reverse=True)
    assert last["warp_error"] == sorted(last["warp_error"])
    assert last["sharpness"] == sorted(last["sharpness"])
    assert last["ms_ssim"] == sorted(last["ms_ssim"], reverse=True)
    assert last["jitter"] == sorted(last["jitter"])


def test_lights_that_pulse_raise_the_flicker_and_brightening_evenly_does_not(reel, worlds):
    def pulse(size):
        return lambda frame, h, rng: np.clip(frame.astype(np.int16) + size * (-1) ** h, 0, 255).astype(np.uint8)

    def brighten(size):
        return lambda frame, h, rng: np.clip(frame.astype(np.int16) + size * h, 0, 255).astype(np.uint8)

    flicker = {
        name: evaluate(worlds["knowing"](reel, spoil), reel, **SMALL).metrics["flicker"]["model"].mean[-1]
        for name, spoil in {"none": pulse(0), "weak": pulse(2), "strong": pulse(8), "evenly": brighten(2)}.items()
    }
    assert flicker["none"] == pytest.approx(1.0)
    assert flicker["none"] < flicker["weak"] < flicker["strong"]
    assert flicker["evenly"] < flicker["weak"]


def test_the_clips_that_are_missed_by_most_are_kept_worst_first(reel, worlds):
    def spoil(frame, h, rng):
        return np.clip(frame + rng.normal(0, 4 * rng.integers(1, 9), frame.shape), 0, 255).astype(np.uint8)

    result = evaluate(worlds["knowing"](reel, spoil), reel, **{**SMALL, "clips": 9})
    lost = (result.scores["psnr"]["reconstruction"] - result.scores["psnr"]["model"]).mean(axis=1)
    assert result.worst.clips == np.argsort(-lost, kind="stable")[:4].tolist()
    clip = read_clips(reel, result.protocol, result.worst.clips[:1]).frames_BFHWC[0].numpy()
    np.testing.assert_array_equal(result.worst.frames["real"][0], clip[SMALL["context"] - 1 :])
    assert result.shown.clips == [1, 3, 5, 7]


def test_more_blur_is_seen_as_lost_likeness_and_sharpness(reel, worlds):
    import cv2

    def blur(size):
        return lambda frame, h, rng: cv2.GaussianBlur(frame, (0, 0), size) if size else frame

    results = [evaluate(worlds["knowing"](reel, blur(size)), reel, **SMALL).metrics for size in (0, 1, 3)]
    for name in ("psnr", "ssim", "sharpness"):
        values = [r[name]["model"].mean[3] for r in results]
        assert values == sorted(values, reverse=True), name
        assert values[0] > values[-1]


def test_growing_noise_is_a_drift_and_the_real_video_has_none(reel, worlds):
    drift = evaluate(worlds["knowing"](reel, noise(4)), reel, **SMALL).drift
    assert drift["psnr"]["model"].high < -5
    assert drift["sharpness"]["model"].low > 0
    assert abs(drift["motion"]["real"].mean) < 1e-9


def test_everything_is_saved_and_can_be_read_again(reel, worlds, tmp_path):
    calls = []
    result = evaluate(
        worlds["knowing"](reel, noise(2)),
        reel,
        **{**SMALL, "clips": 8, "steering_contexts": 8},
        progress=lambda *a: calls.append(a),
    )
    assert [c for c in calls if c[0] == "clips"] == [("clips", 4, 8), ("clips", 8, 8)]
    assert calls[-1] == ("steering", 40, 40)
    report = result.save(tmp_path / "out", about={"commit": "abc123"})
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert record["protocol"] == result.protocol.to_dict()
    assert record["about"] == {"commit": "abc123"}
    assert set(record["metrics"]["psnr"]) == {"model", "copy", "reconstruction", "real"}
    assert record["metrics"]["ssim"]["copy"]["low"][7] == pytest.approx(result.metrics["ssim"]["copy"].low[7], rel=1e-5)
    assert record["steering"]["p_value"].keys() == {"left > straight", "straight > right"}
    clips = np.load(tmp_path / "out" / "clips.npz")
    np.testing.assert_allclose(clips["psnr/model"].mean(axis=0), record["metrics"]["psnr"]["model"]["mean"], rtol=1e-4)
    assert {p.name for p in report.parent.iterdir()} == {
        "metrics.json", "clips.npz", "table.md", "strips.png", "animation.webp", "report.html",
    }  # fmt: skip
