import json

import numpy as np
import pytest
import torch

from roadcast.data.ingest import ingest
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.evaluation.extractors import Extractor, ending_at
from roadcast.evaluation.ladder import Rung, climb, markdown, summary, table
from roadcast.flow.world import World
from worlds import micro_config, random_world

SETTINGS = {"split": "val", "clips": 4, "context": 4, "horizon": 16, "steering_contexts": 0}


@pytest.fixture(scope="module")
def reel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder") / "reel"
    ingest("toyroad:recordings=4,frames=24", folder, height=32, width=64, split="val", min_seconds=1)
    return Reel(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder") / "world"
    random_world().save(folder)
    return folder


def brightness(frames_BFHWC: torch.Tensor) -> np.ndarray:
    return frames_BFHWC.float().mean(dim=(2, 3, 4))[:, :2].numpy()


def test_features_at_a_horizon_are_of_the_frames_that_end_there():
    seen = []
    extractor = Extractor("jepa_frechet", "net", lambda frames: seen.append(frames) or brightness(frames))
    frames = torch.arange(20).reshape(1, 20, 1, 1, 1).expand(1, 20, 2, 2, 3)
    at = ending_at(extractor, 16, 8)
    at.features(frames)
    assert seen[0][0, :, 0, 0, 0].tolist() == list(range(8, 16))
    assert at.name == "jepa_frechet@16" and "9 to 16" in at.identity


def test_rungs_are_measured_once_and_again_only_for_other_questions(reel, world, tmp_path):
    extractors = [Extractor("jepa_frechet", "brightness", brightness)]
    rungs = [Rung("3", world, 3), Rung("1, fast", world, 1)]
    figures = climb(rungs, reel, tmp_path, extractors=extractors, **SETTINGS)
    expected = "frechet_8 frechet_16 precision_16 recall_16 real_frechet_8 psnr_8 motion_16 psnr_drift ms_dynamics"
    assert set(expected.split()) <= set(figures["3"])
    assert figures["3"]["psnr_8"] != figures["1, fast"]["psnr_8"]
    kept = tmp_path / "1--fast" / "rung.json"
    told = json.loads(kept.read_text())
    told["figures"]["psnr_8"] = -1.0
    kept.write_text(json.dumps(told))
    assert climb(rungs, reel, tmp_path, extractors=extractors, **SETTINGS)["1, fast"]["psnr_8"] == -1.0
    assert climb(rungs, reel, tmp_path, extractors=extractors, seed=5, **SETTINGS)["1, fast"]["psnr_8"] > 0


def test_a_judge_reads_the_steering_of_what_is_shown(reel, world, tmp_path):
    config = micro_config()
    config.inverse.width = 8
    World(config).save(tmp_path / "judge")
    told = climb([Rung("2", world, 2)], reel, tmp_path / "rungs", judge=tmp_path / "judge", **SETTINGS)["2"]
    assert told["steering_error"] > 0 and told["real_steering_error"] > 0
    assert told["steering_error"] != told["real_steering_error"]


def test_a_judge_without_eyes_is_told(reel, world, tmp_path):
    with pytest.raises(UserError, match="reads no steering"):
        climb([Rung("2", world, 2)], reel, tmp_path, judge=world, **SETTINGS)


def test_tables_have_means_and_deviations_of_runs_and_dashes_where_nothing_was_measured():
    rows = table({"64": [{"psnr_8": 20.0}], "1": [{"psnr_8": 17.0}, {"psnr_8": 19.0}], "2": [{}]}, horizon=16)
    assert rows[0][1] == "PSNR at 8, dB"
    assert [row[1] for row in rows[1:]] == ["20.00", "18.00 +-1.41", "-"]
    assert markdown(rows).splitlines()[2].startswith("| 64 | 20.00 |")


def test_the_summary_is_ratios_of_means():
    teacher = [{"frechet_16": 1.0, "ms_dynamics": 90.0, "ms_decoder": 5.0}]
    one = [{"frechet_16": f, "ms_dynamics": 2.0, "ms_decoder": 5.0} for f in (1.0, 1.2)]
    told = summary(teacher, one)
    assert told["one_step_over_teacher_h16"] == pytest.approx(1.1)
    assert told["speedup"] == 45 and told["speedup_with_decoder"] == pytest.approx(95 / 7)
    assert "one_step_over_teacher_h64" not in told
