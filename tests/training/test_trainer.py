"""The loop when things go wrong: what is injected is found, handled as configured, and written down."""

import json
import math
import os
import signal
import threading
import time

import pytest
import torch

from roadcast.config import override
from roadcast.errors import UserError
from roadcast.training import meter, trainer
from roadcast.training.metrics import read_log
from stages import Line, Numbered, run_stage
from worlds import micro_config

SPIKE = 28  # the number of the batch that is spoilt


def config(*changes):
    return override(micro_config(), list(changes))


def spike(number: int) -> float:
    return 1e4 if number == SPIKE else 1.0


def not_a_number(number: int) -> float:
    return math.nan if number == SPIKE else 1.0


def events(folder, kind: str) -> list[dict]:
    return [event for event in read_log(folder / "events.jsonl") if event["kind"] == kind]


def same(ours, theirs) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def test_a_stage_learns_and_its_log_tells_how_fast(tmp_path):
    weights = run_stage(tmp_path, Numbered(), steps=300, log_every=10, lr=0.05)
    torch.testing.assert_close(weights["weight"], 3 * torch.eye(2), atol=0.2, rtol=0)
    row = read_log(tmp_path / "log.jsonl")[-1]
    assert row["samples_per_s"] > 0 and row["frames_per_s"] == pytest.approx(2 * row["samples_per_s"])
    assert row["step_p50"] <= row["step_p99"] and 0 <= row["data_wait"] < 1 and 0 < row["mfu"] < 1
    assert row["tokens_per_s"] == pytest.approx(8 * row["frames_per_s"]) and 0 < row["memory_share"] < 1
    assert row["grad/weight"] > 0 and row["vanishing/weight"] == 0 and row["skipped"] == row["rollbacks"] == 0


@pytest.mark.parametrize("spoil", [spike, not_a_number])
def test_a_spoilt_batch_is_skipped(tmp_path, spoil):
    """The weights are those of a run whose optimizer never saw it, and the loss in the log is finite throughout."""
    weights = run_stage(tmp_path, Numbered(spoil))
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    (event,) = events(tmp_path, "anomaly")
    assert event["step"] == SPIKE + 1 and event["action"] == "skip" and event["clips"] == [[0, SPIKE]]
    rows = [row for row in read_log(tmp_path / "log.jsonl") if "loss" in row]
    assert SPIKE + 1 not in [row["step"] for row in rows] and all(row["loss"] < 100 for row in rows)
    assert rows[-1]["skipped"] == 1


def test_a_spike_is_taken_where_it_is_only_to_be_logged(tmp_path):
    weights = run_stage(tmp_path / "log", Numbered(spike), config("guard.anomaly=log"))
    (event,) = events(tmp_path / "log", "anomaly")
    assert event["action"] == "step" and event["loss_z"] > 8
    assert not same(weights, run_stage(tmp_path / "skip", Numbered(spike)))
    assert not events(tmp_path / "off", "anomaly")


@pytest.mark.parametrize("spoil", [spike, not_a_number])
def test_a_spoilt_batch_rolls_the_stage_back_and_is_passed_over(tmp_path, spoil):
    """From the state of step 20 on with the clips after the spoilt one: the run of one whose data never had those nine."""
    clips = Numbered(spoil)
    weights = run_stage(tmp_path / "back", clips, config("guard.anomaly=rollback"))
    (event,) = events(tmp_path / "back", "anomaly")
    assert event["action"] == "rollback" and SPIKE in clips.read
    assert clips.read.index(SPIKE + 1) == SPIKE + 1 and clips.read[-1] == 39 + 9
    assert [row["step"] for row in read_log(tmp_path / "back" / "log.jsonl") if "loss" in row] == list(range(1, 41))
    facts = json.loads((tmp_path / "back" / "state" / "step-00000040" / "facts.json").read_text())["facts"]
    assert facts["place"]["rollbacks"] == 1 and facts["place"]["shift"] == 9
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_without_a_state_yet_a_roll_back_goes_to_the_beginning(tmp_path):
    run_stage(tmp_path, Numbered(lambda n: math.nan if n == 3 else 1.0), config("guard.anomaly=rollback"))
    (event,) = events(tmp_path, "anomaly")
    assert event["step"] == 4 and read_log(tmp_path / "log.jsonl")[0]["step"] == 1


def test_a_stage_that_stays_broken_ends_and_says_so(tmp_path):
    with pytest.raises(UserError, match=r"30 skipped steps in a row.*lower the stage's lr"):
        run_stage(tmp_path, Numbered(lambda n: math.nan if n >= 25 else 1.0), steps=100)
    assert "skipped steps" in events(tmp_path, "stopped")[0]["text"]
    assert (tmp_path / "state" / "latest").exists()


class Stuck(Numbered):
    """A loader that takes two seconds over one batch."""

    def batches(self, first: int, last: int, workers: int):
        for number, clip in enumerate(super().batches(first, last, workers), first):
            if number == 5:
                time.sleep(2)
            yield clip


def test_a_stuck_loader_is_told_and_waited_for_or_given_up(tmp_path):
    run_stage(tmp_path / "log", Stuck(), config("guard.stall_seconds=0.5", "guard.stall=log"), steps=8)
    (event,) = events(tmp_path / "log", "loader")
    assert "brought no batch for 0.5 s" in event["text"] and event["step"] == 5
    with pytest.raises(UserError, match="brought no batch"):
        run_stage(tmp_path / "stop", Stuck(), config("guard.stall_seconds=0.5"), steps=8)
    assert events(tmp_path / "stop", "stopped")
    for thread in threading.enumerate():
        if thread.name == "watched loader":
            thread.join(10)  # it ends with the batch it was stuck on, and other tests look for threads that are left


class Greedy(Line):
    """Memory runs out on more than `most` clips at once."""

    most = 2

    def loss(self, clip, generator):
        if len(clip) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().loss(clip, generator)


def test_where_memory_runs_out_micro_batches_are_halved_once(tmp_path):
    run_stage(tmp_path / "half", Numbered(), objective=Greedy(None, {}, {}))
    assert len(events(tmp_path / "half", "out of memory")) == 1
    facts = json.loads((tmp_path / "half" / "state" / "step-00000040" / "facts.json").read_text())["facts"]
    assert facts["place"]["parts"] == 2
    greedier = Greedy(None, {}, {})
    greedier.most = 1
    with pytest.raises(
        UserError, match=r"memory ran out at step 1, on 2 clips at once.*set batch = 2 and accumulate = 2"
    ):
        run_stage(tmp_path / "never", Numbered(), objective=greedier)


def test_asked_to_end_it_saves_the_whole_step_and_goes_on_from_there(tmp_path):
    def ask(done: int, *_) -> None:
        if done == 13:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = run_stage(tmp_path / "whole", Numbered())
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "cut", Numbered(), progress=ask)
    assert (tmp_path / "cut" / "state" / "latest").read_text().strip() in ("step-00000013", "step-00000014")
    assert same(whole, run_stage(tmp_path / "cut", Numbered()))
    assert len(events(tmp_path / "cut", "asked")) == 1


def test_the_log_of_a_resumed_stage_is_that_of_one_that_never_stopped(tmp_path):
    """Between two lines of the log too, with a skipped batch before and one after."""

    def stop(done: int, *_) -> None:
        if done == 33:
            raise RuntimeError

    def spoil(number: int) -> float:
        return math.nan if number in (24, 36) else 1.0

    run_stage(tmp_path / "whole", Numbered(spoil), log_every=4)
    with pytest.raises(RuntimeError):
        run_stage(tmp_path / "cut", Numbered(spoil), progress=stop, log_every=4)
    run_stage(tmp_path / "cut", Numbered(spoil), log_every=4)
    told = [
        [(row["step"], row.get("loss"), row.get("grad_norm"), row.get("skipped")) for row in read_log(tmp_path / run / "log.jsonl")]
        for run in ("whole", "cut")
    ]  # fmt: skip
    assert told[0] == told[1] and told[0][-1][-1] == 2


def test_a_stage_that_gets_no_better_ends_early_with_its_best_weights(tmp_path):
    losses = iter([3.0, 2.0, 1.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    saved = []

    def held_out(engine) -> dict[str, float]:
        saved.append({name: value.clone() for name, value in engine.model.state_dict().items()})
        return {"val_loss": next(losses)}

    weights = run_stage(tmp_path, Numbered(), steps=400, patience=3, keep_best=1, keep=1, held_out=held_out)
    assert len(saved) == 6 and "since step 30" in events(tmp_path, "early stop")[0]["text"]
    assert same(weights, saved[2])
    assert sorted(path.name for path in (tmp_path / "state").glob("step-*")) == ["step-00000030", "step-00000060"]


class Judging(Line):
    """Its loss is weighed by what the evaluations so far have told it."""

    told = 1.0

    def loss(self, clip, generator):
        loss, terms = super().loss(clip, generator)
        return self.told * loss, terms

    def judged(self, values):
        self.told = self.told / 3 + values["val_loss"]

    def state(self):
        return {"told": self.told}

    def load_state(self, state):
        self.told = state.get("told", 1.0)


@pytest.mark.parametrize("anomaly", ["skip", "rollback"])
def test_what_an_objective_was_told_by_evaluations_comes_back_with_the_state(tmp_path, anomaly):
    """Cut between two states, or rolled back to one, it goes on as it was then."""

    def stop(done: int, *_) -> None:
        if done == 37 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise RuntimeError

    def run(name: str, **settings):
        held_out = {"held_out": lambda engine: {"val_loss": 0.1}}
        return run_stage(
            tmp_path / name, Numbered(spike), config(f"guard.anomaly={anomaly}"), objective=Judging(None, {}, {}),
            evaluate_every=3, save_every=5, **held_out, **settings,
        )  # fmt: skip

    whole = run("whole")
    with pytest.raises(RuntimeError):
        run("cut", progress=stop)
    assert same(whole, run("cut"))
    facts = json.loads((tmp_path / "cut" / "state" / "step-00000040" / "facts.json").read_text())["facts"]
    assert facts["objective"]["told"] == pytest.approx(0.15, abs=1e-3)


class Overflowing(Line):
    """Its gradient leaves float16's range where the loss scale is above 1,000; torch's own scale begins at 65,536."""

    def loss(self, clip, generator):
        loss, terms = super().loss(clip, generator)
        return Clipped.apply(loss), terms


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return torch.where(dy > 1000, torch.inf, dy)


def test_in_float16_overflows_are_skipped_counted_and_the_scale_comes_back_with_the_state(tmp_path):
    run_stage(tmp_path, Numbered(), dtype=torch.float16, objective=Overflowing(None, {}, {}), steps=20)
    rows = read_log(tmp_path / "log.jsonl")
    assert rows[-1]["overflows"] == 7 and rows[-1]["loss_scale"] == 512 and rows[-1]["skipped"] == 0
    assert not events(tmp_path, "anomaly")
    run_stage(tmp_path, Numbered(), dtype=torch.float16, objective=Overflowing(None, {}, {}), steps=30)
    row = read_log(tmp_path / "log.jsonl")[-1]
    assert row["step"] == 30 and row["overflows"] == 7 and row["loss_scale"] == 512


def test_the_loss_scale_grows_after_two_thousand_good_steps():
    from roadcast.training.course import LossScaler

    scaler = LossScaler("cpu", enabled=True)
    for _ in range(1999):
        scaler.settle(False)
    assert scaler.get_scale() == 65536.0
    scaler.settle(False)
    assert scaler.get_scale() == 2 * 65536.0
    scaler.settle(True)
    assert scaler.get_scale() == 65536.0 and scaler.state_dict()["_growth_tracker"] == 0


def test_chosen_steps_are_traced(tmp_path):
    run_stage(tmp_path, Numbered(), config("compute.profile=[3, 5]"), steps=8)
    import gzip

    trace = json.loads(gzip.open(tmp_path / "trace-0.json.gz").read())
    assert any("linear" in str(event.get("name")) for event in trace["traceEvents"])
    assert "the steps up to 5 are traced" in events(tmp_path, "profile")[0]["text"]


def test_states_written_in_the_background_are_the_same(tmp_path):
    weights = run_stage(tmp_path / "background", Numbered(), config("compute.save_async=yes"))
    assert same(weights, run_stage(tmp_path / "foreground", Numbered(), config("compute.save_async=no")))
    again = run_stage(tmp_path / "background", Numbered(), config("compute.save_async=yes"), steps=50)
    assert same(again, run_stage(tmp_path / "foreground", Numbered(), steps=50))


def test_arithmetic_is_counted_for_every_length_of_clips():
    counted = []
    config_ = micro_config()
    gauge = meter.Meter(config_, config_.train["dynamics"], lambda frames: counted.append(frames) or 1e6 * frames, 1e9)
    for frames in (2, 2, 4):
        gauge.begin()
        gauge.end(frames, 0.0)
    assert counted == [2, 4] and gauge.take()["mfu"] > 0 and gauge.take() == {}


def test_out_of_memory_is_told_from_other_errors():
    assert trainer.out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not trainer.out_of_memory(RuntimeError("shapes cannot be multiplied"))
