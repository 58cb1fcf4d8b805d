"""Six bad models, each refused before it has traffic, and a good one let through."""

import shutil

import numpy as np
import pytest
import torch

import bad_models
from bad_models import sealed
from roadcast.config import override
from roadcast.data.reel.store import Reel
from roadcast.errors import UserError
from roadcast.flow.world import World
from roadcast.safetensors import load_tensors, save_tensors
from roadcast.serving.examine import Examination, Limits, Order, RefusedError, examine
from roadcast.serving.folder_store import FolderStore
from roadcast.serving.gate import Gate, Report
from roadcast.serving.golden import GOLDEN, Golden, difference, replay
from roadcast.serving.manifest import MANIFEST, Opening, read_manifest, write_manifest
from roadcast.serving.pack import open_world, pack
from roadcast.serving.registry import Registry
from roadcast.training.scenes import save_scenes
from worlds import micro_config, random_world

PATIENT = Limits(frame_times=50.0)  # the machine that tests run on may have other things to do


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A version whose world is toyroad."""
    return sealed(tmp_path_factory.mktemp("packed") / "toy")


@pytest.fixture(scope="module")
def world(toy_reel, tmp_path_factory):
    """The folder of a world of random weights."""
    config = override(micro_config(), [f"data.reel={toy_reel}"])
    path = tmp_path_factory.mktemp("run") / "world"
    random_world(config).save(path)
    save_scenes(path, Reel(toy_reel), config)
    return path


@pytest.fixture(scope="module")
def packed(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "world"
    pack(world, path, Opening())
    return path


def found(folder, opener=None, limits=PATIENT) -> list:
    """What an examination in this process finds, with toyroad's sessions or the world's own."""
    opener = f"bad_models:{opener}" if opener else Order.opener
    return list(examine(Order(str(folder), limits, opener=opener)))


def test_a_good_model_passes_every_check_and_has_the_alias(toy, tmp_path):
    registry = Registry(FolderStore(tmp_path))
    version = registry.push("mine", toy)
    report = Gate(PATIENT, opener="bad_models:good").admit(registry, "mine", version, "production")
    assert report.passed, report.refusal
    assert [check.name for check in report.checks] == [
        "files", "numbers", "load", "pictures", "golden", "steering", "latency",
    ]  # fmt: skip
    assert report.checks[4].told == "bit for bit"
    assert registry.aliases("mine") == {"production": 1}


def test_a_model_that_crashes_on_load_is_refused_and_the_alias_stays(toy, tmp_path):
    registry = Registry(FolderStore(tmp_path))
    for _ in range(2):
        registry.push("mine", toy)
    registry.promote("mine", 1, "production")
    report = Gate(PATIENT, opener="bad_models:crashing").admit(registry, "mine", 2, "production")
    assert report.refusal.startswith("load: ended by SIGSEGV")
    assert registry.aliases("mine") == {"production": 1}
    last = registry.store.records()[-1]
    assert last["event"] == "refuse" and last["version"] == 2 and last["why"] == report.refusal


def test_a_model_that_hangs_is_stopped_and_refused(toy, tmp_path):
    registry = Registry(FolderStore(tmp_path))
    registry.push("mine", toy)
    report = Gate(Limits(seconds=12.0), opener="bad_models:hanging").examine(registry, "mine", 1)
    assert not report.passed and "took more than 12 s" in report.refusal


def test_a_corrupt_file_is_refused_before_anything_is_loaded(toy, tmp_path):
    registry = Registry(FolderStore(tmp_path))
    registry.push("mine", toy)
    path = registry.store.fetch("mine", 1) / GOLDEN
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])
    report = Gate().admit(registry, "mine", 1, "production")
    assert [check.name for check in report.checks] == ["files"]
    assert "golden.safetensors is damaged" in report.refusal and registry.aliases("mine") == {}


@pytest.mark.parametrize(
    ("opener", "check", "told"),
    [
        ("frozen", "pictures", "frames are frozen"),
        ("blank", "pictures", "frames are blank"),
        ("forgetful", "golden", "grey levels from what it was"),
        ("slow", "latency", "would be in time for 20 frames a second"),
    ],
)
def test_a_model_that_goes_wrong_is_refused_by_the_check_that_looks_for_it(toy, opener, check, told):
    last = found(toy, opener, Limits())[-1]
    assert (last.name, last.passed) == (check, False) and told in last.told


def test_a_model_that_ignores_steering_is_refused(tmp_path):
    """Its golden rollouts are its own, so that they come out right."""
    last = found(sealed(tmp_path / "version", bad_models.steerless), "steerless")[-1]
    assert (last.name, last.passed) == ("steering", False) and "left and right are 0 picture widths" in last.told


def test_weights_that_are_no_numbers_are_refused_by_name(packed, tmp_path):
    folder = tmp_path / "version"
    folder.mkdir()
    for path in packed.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_tensors(folder / "weights.safetensors")
    tensors["dynamics.registers"].view(-1)[0] = torch.nan
    save_tensors(folder / "weights.safetensors", tensors)
    write_manifest(folder, Opening(), {})
    (last,) = found(folder)
    assert (last.name, last.passed) == ("numbers", False) and "dynamics.registers" in last.told


def test_a_world_that_is_none_is_refused_when_it_is_loaded(packed, tmp_path):
    """Whole files, but weights of another world."""
    folder = tmp_path / "version"
    folder.mkdir()
    for path in packed.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    random_world(micro_config(dynamics__width=64)).save(folder)
    config = (packed / "config.json").read_bytes()
    (folder / "config.json").write_bytes(config)
    write_manifest(folder, Opening(), {})
    last = found(folder)[-1]
    assert (last.name, last.passed) == ("load", False) and "use the config.json it was saved with" in last.told


def test_golden_rollouts_of_a_world_come_out_bit_for_bit_and_tell_worlds_apart(packed, world, tmp_path):
    golden = Golden.load(packed / GOLDEN)
    assert golden.frames_NFHWC.shape == (2, 9, 32, 64, 3) and golden.frames_NFHWC.dtype == np.uint8
    session = open_world(packed, Opening())
    assert difference(replay(session, golden), golden) == 0
    other = World.load(packed)
    other.dynamics.registers.data += 0.5
    session.world.dynamics.load_state_dict(other.dynamics.state_dict())
    assert difference(replay(session, golden), golden) > 0


def test_on_another_build_golden_rollouts_may_differ_a_little(toy):
    """Other libraries add up in another order; the same ones must not."""
    golden = Golden.load(toy / GOLDEN)
    near = Golden(**{**vars(golden), "frames_NFHWC": golden.frames_NFHWC // 2 * 2})
    examination = Examination(Order(str(toy), PATIENT, opener="bad_models:good"))
    examination.load()
    assert examination.golden() == "bit for bit"
    near.save(toy / GOLDEN)
    with pytest.raises(RefusedError, match="at most 0 may be"):
        examination.golden()
    examination.order = Order(str(toy), PATIENT, compiled=True)
    assert "grey levels, on another build" in examination.golden()
    golden.save(toy / GOLDEN)


def test_scores_of_an_evaluation_go_into_the_manifest(world, tmp_path):
    (tmp_path / "evaluation").mkdir()
    record = '{"metrics": {"psnr": {"model": {"mean": [30.0, 21.5]}, "copy": {"mean": [28.0, 15.0]}}}}'
    (tmp_path / "evaluation" / "metrics.json").write_text(record)
    pack(world, tmp_path / "version", Opening(), tmp_path / "evaluation")
    manifest = read_manifest(tmp_path / "version")
    assert manifest.metrics == {"psnr": 21.5}
    assert sorted([*manifest.files, MANIFEST]) == sorted(path.name for path in (tmp_path / "version").iterdir())


def test_a_folder_that_holds_no_world_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config.json: no such file"):
        pack(tmp_path, tmp_path / "version", Opening())


def test_a_world_of_no_numbers_is_named_when_it_is_to_be_pushed(world, tmp_path):
    shutil.copytree(world, tmp_path / "world")
    tensors = load_tensors(world / "weights.safetensors")
    tensors["dynamics.registers"].view(-1)[0] = torch.nan
    save_tensors(tmp_path / "world" / "weights.safetensors", tensors)
    with pytest.raises(UserError, match="frames are no finite numbers"):
        pack(tmp_path / "world", tmp_path / "version", Opening())


def test_a_report_is_that_of_its_last_check():
    from roadcast.serving.gate import _checks

    said = b'{"begun": "load"}\n{"name": "load", "passed": true, "told": "", "seconds": 1}\n{"begun": "pictures"}\n{"na'
    report = Report(_checks(said, "ended by SIGKILL"))
    assert report.refusal == "pictures: ended by SIGKILL" and len(report.checks) == 2
    assert not Report(_checks(b"", "")).passed
