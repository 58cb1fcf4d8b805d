import errno
import json
import os
import pickle
import resource
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch

from roadcast.errors import UserError
from roadcast.files import disk_trouble_told
from roadcast.training.checkpoints import Checkpoints
from roadcast.training.checkpoints import checkpoints as module
from roadcast.training.checkpoints.manifest import MANIFEST, SCHEMA

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
GOLDEN = Path(__file__).parents[1] / "golden" / "run_v1" / "dynamics" / "state"


def tensors_at(step: float) -> dict:
    return {"model": {"layer.weight": torch.full((64, 32), float(step)), "bias": torch.tensor(float(step))}}


def opened(folder, said=None, **options) -> Checkpoints:
    return Checkpoints(folder, **{"keep": 2, "report": (said if said is not None else []).append} | options)


def saved_at(folder, *steps, scores=None, **options) -> Checkpoints:
    checkpoints = opened(folder, **options)
    for number, step in enumerate(steps):
        checkpoints.save(step, tensors_at(step), {"seen": step * 8}, scores[number] if scores else None)
    checkpoints.wait()
    return checkpoints


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def loaded(checkpoints, saved=None) -> int:
    """The step of a state, whose tensors and facts are all of that step."""
    saved = saved or checkpoints.latest()
    tensors = tensors_at(-1)
    facts = checkpoints.load(saved, tensors)
    assert facts == {"seen": saved.step * 8, "step": saved.step}
    assert all(torch.equal(tensors["model"][name], value) for name, value in tensors_at(saved.step)["model"].items())
    return saved.step


def told(checkpoints: Checkpoints) -> None:
    """A save of step 20, whose trouble with the disk is told as a run tells it."""
    with disk_trouble_told(checkpoints.folder, "and again"):
        checkpoints.save(20, tensors_at(20), {"seen": 160})
        checkpoints.wait()


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("background", [False, True])
def test_what_was_saved_is_loaded_and_the_newest_stay(tmp_path, background):
    folder = tmp_path / "state"
    assert opened(folder).latest() is None
    checkpoints = saved_at(folder, 10, 20, 30, background=background)
    assert names(folder) == ["latest", "step-00000020", "step-00000030"]
    assert names(folder / "step-00000030") == [".metadata", "__0_0.distcp", "facts.json", "manifest.json"]
    assert (folder / "latest").read_text() == "step-00000030\n"
    assert loaded(checkpoints) == 30 and loaded(checkpoints, checkpoints.latest(before=30)) == 20
    assert checkpoints.latest(before=20) is None and checkpoints.best() is None
    assert checkpoints.layout(checkpoints.latest())["model"]["layer.weight"].shape == (64, 32)


def test_the_best_stay_besides_the_newest(tmp_path):
    checkpoints = saved_at(
        tmp_path, 1, 2, 3, 4, 5, 6, scores=[0.5, 0.2, float("nan"), 0.3, None, 0.9], keep_best=2, keep=1
    )
    assert names(tmp_path) == ["latest", "step-00000002", "step-00000004", "step-00000006"]
    assert loaded(checkpoints, checkpoints.best()) == 2 and loaded(checkpoints) == 6
    flip(tmp_path / "step-00000002" / "__0_0.distcp")
    assert checkpoints.best().step == 4


def test_a_past_that_was_rolled_back_is_not_resumed(tmp_path):
    checkpoints = saved_at(tmp_path, 10, 20, 30, keep=3)
    checkpoints.save(20, tensors_at(20), {"seen": 160})
    assert names(tmp_path) == ["latest", "step-00000010", "step-00000020"] and loaded(checkpoints) == 20


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "facts.json", MANIFEST])
@pytest.mark.parametrize("harm", [flip, Path.unlink, lambda path: os.truncate(path, 7)])
def test_a_damaged_file_is_named_and_the_state_before_is_used(tmp_path, name, harm):
    said = []
    saved_at(tmp_path, 10, 20)
    checkpoints = opened(tmp_path, said)
    harm(tmp_path / "step-00000020" / name)
    assert loaded(checkpoints) == 10
    assert len(said) == 1 and "step-00000020/" in said[0]
    assert name in said[0] or name == MANIFEST  # which may by then name another file, or another SHA-256
    harm(tmp_path / "step-00000010" / name)
    with pytest.raises(UserError, match=r"step-00000020.*step-00000010.*remove them"):
        checkpoints.latest()


def test_a_state_of_a_newer_roadcast_is_refused(tmp_path):
    checkpoints = saved_at(tmp_path, 10)
    path = tmp_path / "step-00000010" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": SCHEMA + 1}))
    with pytest.raises(UserError, match=f"newer roadcast .schema {SCHEMA + 1}.*install"):
        checkpoints.latest()


def test_a_state_of_another_model_is_refused(tmp_path):
    checkpoints = saved_at(tmp_path, 10)
    for tensors in ({"model": {"bias": torch.zeros(3)}}, {"model": {"gain": torch.zeros(3)}}):
        with pytest.raises(UserError, match=r"step-00000010: is not a state of this model.*(bias|gain)"):
            checkpoints.load(checkpoints.latest(), tensors)


class Harm:
    def __reduce__(self):
        return os.system, ("exit 1",)


def test_a_state_from_outside_runs_no_code(tmp_path):
    checkpoints = saved_at(tmp_path, 10)
    saved = checkpoints.latest()
    (saved.path / ".metadata").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(UserError, match=r"holds posix.system"):
        checkpoints.load(saved, tensors_at(0))
    with pytest.raises(UserError, match=r"holds posix.system"):
        checkpoints.layout(saved)


@pytest.mark.parametrize("limit", [100, 5_000])
@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_leaves_what_was_saved(tmp_path, limit, background):
    """The disk fills up within the archive's head, and within a tensor: torch tells the one as OSError, the other not."""
    checkpoints = saved_at(tmp_path, 10, background=background)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UserError, match=f"{tmp_path}.*make room there, and again"):
            told(checkpoints)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["latest", "step-00000010"] and loaded(checkpoints) == 10
    checkpoints.save(20, tensors_at(20), {"seen": 160})
    assert loaded(checkpoints) == 20


def test_a_barred_folder_is_told(tmp_path, monkeypatch):
    checkpoints = saved_at(tmp_path, 10)

    def barred(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(module.os, "replace", barred)
    with pytest.raises(UserError, match=r"step-00000020.*give yourself access to it, and again"):
        told(checkpoints)
    assert names(tmp_path) == ["latest", "step-00000010"] and loaded(checkpoints) == 10


def test_the_background_writes_what_was_there_at_the_call(tmp_path, monkeypatch):
    """Training may change the tensors at once; the next save waits for the one before."""
    gate, write = Future(), module.write
    monkeypatch.setattr(module, "write", lambda *a: (gate.result(), write(*a)))
    checkpoints, tensors = opened(tmp_path, background=True), tensors_at(10)
    checkpoints.save(10, tensors, facts := {"seen": 80})
    tensors["model"]["layer.weight"].zero_()
    tensors["model"]["bias"].zero_()
    facts["seen"] = 0
    assert not (tmp_path / "latest").exists()
    gate.set_result(None)
    checkpoints.save(20, tensors_at(20), {"seen": 160})
    assert (tmp_path / "latest").read_text() == "step-00000010\n"
    assert loaded(checkpoints) == 20 and loaded(checkpoints, checkpoints.latest(before=20)) == 10


def test_an_error_in_the_background_surfaces_once_at_the_next_save(tmp_path, monkeypatch):
    checkpoints = saved_at(tmp_path, 10, background=True)

    def broken(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write", broken)
        checkpoints.save(20, tensors_at(20), {"seen": 160})
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save(30, tensors_at(30), {"seen": 240})
    checkpoints.save(30, tensors_at(30), {"seen": 240})
    assert loaded(checkpoints) == 30 and names(tmp_path) == ["latest", "step-00000010", "step-00000030"]


def test_a_save_that_was_killed_is_not_seen_and_swept_up(tmp_path):
    saved_at(tmp_path, 10)
    os.rename(tmp_path / "step-00000010", tmp_path / ".step-00000020.partial")
    checkpoints = saved_at(tmp_path, 10)
    assert names(tmp_path) == ["latest", "step-00000010"] and loaded(checkpoints) == 10


@pytest.mark.parametrize("moment", ["in its place", "named latest", "retired"])
def test_a_kill_between_the_last_touches_loses_nothing(tmp_path, monkeypatch, moment):
    """A state that takes the place of one of the same step, with only one kept: one of the two is found whatever happens."""
    saved_at(tmp_path, 10, keep=1)
    replace, count = os.replace, iter(("aside", "in its place", "named latest"))

    def killed(*paths):
        if next(count, None) == moment:
            raise SystemExit
        replace(*paths)

    monkeypatch.setattr(module.os, "replace", killed)
    if moment == "retired":
        monkeypatch.setattr(Checkpoints, "_retire", lambda *_: sys.exit())
    with pytest.raises(SystemExit):
        saved_at(tmp_path, 10, keep=1)
    monkeypatch.undo()
    checkpoints = opened(tmp_path, keep=1)
    assert loaded(checkpoints) == 10
    checkpoints.save(20, tensors_at(20), {"seen": 160})
    assert names(tmp_path) == ["latest", "step-00000020"]


KILLING = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from roadcast.training.checkpoints import Checkpoints

torch.set_num_threads(1)
folder, background, chance = Path(sys.argv[1]), sys.argv[2] == "background", random.Random(0)

def save_for_ever(acknowledge):
    checkpoints = Checkpoints(folder, keep=1, background=background, report=print)
    saved = checkpoints.latest()
    step = saved.step if saved else 0
    while True:
        step += 1
        checkpoints.save(step, {"w": torch.full((300_000,), float(step))}, {})
        os.write(acknowledge, f"{step - background} ".encode())  # a save in the background says that the one before is durable

for _ in range(6):
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        save_for_ever(writing)
    os.close(writing)
    acknowledged = os.read(reading, 1 << 16)  # the first at least
    time.sleep(chance.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    acknowledged += os.read(reading, 1 << 16)
    checkpoints, tensors = Checkpoints(folder, keep=1, report=print), {"w": torch.zeros(300_000)}
    saved = checkpoints.latest()
    checkpoints.load(saved, tensors)
    print(acknowledged.split()[-1].decode(), saved.step, int(tensors["w"].min()), int(tensors["w"].max()))
"""


@pytest.mark.parametrize("mode", ["foreground", "background"])
def test_killed_at_any_moment_the_newest_state_is_one_acknowledged_or_later(tmp_path, mode):
    command = [sys.executable, "-c", KILLING, str(tmp_path), mode]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [[int(number) for number in line.split()] for line in told.splitlines()]
    assert len(rows) == 6
    for acknowledged, *found in rows:
        assert found[0] >= acknowledged and len(set(found)) == 1


def test_a_state_of_schema_1_is_found_and_its_damage_told(tmp_path):
    old = tmp_path / "step-00000002.pt"
    old.write_bytes((GOLDEN / old.name).read_bytes())
    checkpoints = opened(tmp_path)
    saved = checkpoints.latest()
    assert saved.path == old and saved.step == 2
    with pytest.raises(UserError, match="not a state of this model"):
        checkpoints.load(saved, tensors_at(0))
    os.truncate(old, 1000)
    with pytest.raises(UserError, match=r"step-00000002.pt is damaged"):
        checkpoints.latest()
    old.write_bytes((GOLDEN / old.name).read_bytes())
    checkpoints.save(4, tensors_at(4), {})
    checkpoints.save(6, tensors_at(6), {})
    assert names(tmp_path) == ["latest", "step-00000004", "step-00000006"]
