import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from roadcast.errors import UserError
from roadcast.serving import rows
from roadcast.serving.backend import NotFinite
from roadcast.serving.engine import Engine
from roadcast.serving.pool import Bench, ModelBackend
from roadcast.serving.session import ModelSession
from roadcast.training.scenes import Scenes
from worlds import micro_config, random_actions, random_world

STEERS = [0.4, -0.7, 0.1, 0.9]


def scenes(frames=5):
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, 256, (2, frames, 32, 64, 3), dtype=torch.uint8, generator=generator)
    actions, known = random_actions(2, frames)
    return Scenes(["one", "two"], pixels, actions, known)


@pytest.fixture(scope="module")
def backend():
    return ModelBackend(random_world(), scenes(), slots=4, steps=2, look_every=2)


def drive(backend, slot, steers, others=()):
    """The slot's frames, with other slots in the same steps."""
    return np.stack(
        [
            backend.step({slot: {"steer": s, "throttle": 0.2}, **{o: {"steer": -s} for o in others}})[slot].frame_HWC
            for s in steers
        ]
    )


def test_a_worlds_frames_do_not_depend_on_its_neighbours_its_slot_or_the_width_of_a_step(backend):
    backend.begin(0, 1, seed=3)
    alone = drive(backend, 0, STEERS)
    for slot, others in ((2, [1]), (3, [0, 1, 2]), (0, [3, 1])):
        for other in others:
            backend.begin(other, 0, seed=other)
        backend.step({other: {"steer": 1.0} for other in others})  # at another frame than the slot
        backend.begin(slot, 1, seed=3)
        assert np.array_equal(drive(backend, slot, STEERS, others), alone)
    backend.begin(0, 1, seed=4)
    assert not np.array_equal(drive(backend, 0, STEERS), alone)


def test_it_makes_the_frames_of_a_session_of_its_own(backend):
    session = ModelSession(backend.world, scenes(), steps=2)  # the same world, steady by now
    assert np.array_equal(session.reset(1, seed=3), backend.begin(1, 1, seed=3))
    ours = drive(backend, 1, STEERS)
    theirs = np.stack([session.step({"steer": s, "throttle": 0.2}) for s in STEERS])
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_snapshot_goes_on_in_another_slot_and_stays_good(backend):
    backend.begin(0, 0, seed=1)
    drive(backend, 0, STEERS[:1])
    here = backend.snapshot(0)
    first = backend.step({0: {"steer": 0.5}})[0]
    for slot in (3, 0):
        backend.restore(slot, here)
        again = backend.step({slot: {"steer": 0.5}})[slot]
        assert np.array_equal(again.frame_HWC, first.frame_HWC) and again.uncertainty == first.uncertainty


def test_a_clip_of_the_users_own_is_lived_through_like_a_scene(backend):
    own = scenes()
    clip = own.frames_BFHWC[1].numpy(), own.actions_BFA[1].numpy(), own.known_BFA[1].numpy()
    assert np.array_equal(backend.begin_from(0, *clip, seed=3), backend.begin(1, 1, seed=3))
    assert np.array_equal(drive(backend, 0, STEERS[:2]), drive(backend, 1, STEERS[:2]))
    with pytest.raises(UserError, match="frames are"):
        backend.begin_from(0, clip[0][:, :16], *clip[1:], seed=0)
    with pytest.raises(UserError, match="scene 2 does not exist"):
        backend.begin(0, 2, seed=0)


@pytest.mark.parametrize("fault", ["not finite", "raises"])
def test_a_failed_step_leaves_every_slot_where_it_was(backend, fault, monkeypatch):
    for slot in (0, 1):
        backend.begin(slot, slot, seed=slot)
    before = [backend.snapshot(slot) for slot in (0, 1)]
    commands = {0: {"steer": 0.1}, 1: {"steer": 0.2}}
    right = backend.step(commands)
    for slot in (0, 1):
        backend.restore(slot, before[slot])
    if fault == "not finite":
        backend._pool.drive.rollout.finished_BTHWC[1] = torch.nan
        with pytest.raises(NotFinite) as caught:
            backend.step(commands)
        assert caught.value.slots == (1,)
        backend.restore(1, before[1])
    else:
        with monkeypatch.context() as patch:
            patch.setattr(backend.world.tokenizer, "decode", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                backend.step(commands)
    again = backend.step(commands)
    assert all(np.array_equal(again[slot].frame_HWC, right[slot].frame_HWC) for slot in (0, 1))


def test_uncertainty_is_looked_at_every_so_often_and_changes_no_frame(backend):
    blind = ModelBackend(backend.world, scenes(), slots=4, steps=2, look_every=0)
    shown = []
    for one in (backend, blind):
        one.begin(0, 0, seed=5)
        shown.append([one.step({0: {"steer": s}})[0] for s in STEERS])
    assert all(np.array_equal(ours.frame_HWC, theirs.frame_HWC) for ours, theirs in zip(*shown))
    figures = [x.uncertainty for x in shown[0]]
    assert figures[0] == figures[1] != figures[2] == figures[3] and min(figures) > 0
    assert all(x.uncertainty is None for x in shown[1])


def test_a_replayed_log_ends_at_the_same_frame_beside_other_sessions(backend):
    engine = Engine(backend)
    seat, other = engine.create(0, seed=2), engine.create(1, seed=9)
    for s in STEERS[:3]:
        engine.step({seat.id: {"steer": s}, other.id: {}})
    twin = engine.replay(seat.log)
    assert np.array_equal(twin.shown.frame_HWC, seat.shown.frame_HWC)
    for id in list(engine.seats):
        engine.close(id)


def test_a_width_of_other_bits_is_not_used_and_a_machine_where_the_place_counts_is_refused(backend, monkeypatch):
    width, advance = max(backend.widths), backend._benches[-1].advance

    def off(drive, draft):
        frames_BFHWC = advance(drive, draft)
        drive.rollout.finished_BTHWC[0] += 1e-6
        return frames_BFHWC

    wide, other = backend._benches[-1], Bench(2, rows.first(backend._benches[-1].rows, 2), off)
    monkeypatch.setattr(backend, "_benches", [other, wide])
    backend._keep_equal()
    assert backend.widths == [width]
    monkeypatch.setattr(backend, "_benches", [Bench(width, wide.rows, off)])
    with pytest.raises(UserError, match="its place among the others"):
        backend._keep_equal()


def test_every_width_gets_a_fast_step_of_its_own_and_the_worlds_go_on_from_where_they_are():
    backend = ModelBackend(random_world(), scenes(), slots=4, steps=2, look_every=0, widths=[1, 4])
    backend.begin(2, 0, seed=1)
    drive(backend, 2, STEERS[:1])
    here, right, made = backend.snapshot(2), drive(backend, 2, STEERS[1:]), []
    backend.restore(2, here)

    def make(step, state, draft):
        made.append(len(draft.noise_BTHWC))
        step(state, draft)
        return lambda drive, draft: step(drive, draft)

    backend.compile(make)
    assert made == backend.widths == [1, 4]
    assert np.array_equal(drive(backend, 2, STEERS[1:]), right)


def test_by_several_threads_too_a_world_does_not_depend_on_its_place():
    code = (
        "from roadcast.cli.serve import IN_THE_BOX, open_backend\n"
        "print(open_backend(IN_THE_BOX, 4, 1, 'cpu', 'float32', 'full').widths)"
    )
    clean = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"} | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("4]\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_worlds_make_the_frames_of_others_and_do_not_depend_on_their_company():
    backend = ModelBackend(random_world(), scenes(), slots=2, steps=1, look_every=2)
    backend.begin(0, 1, seed=3)
    eager = drive(backend, 0, STEERS)
    backend.compile()
    backend.begin(0, 1, seed=3)
    alone = drive(backend, 0, STEERS)
    assert np.abs(alone.astype(int) - eager).max() <= 1
    backend.begin(0, 0, seed=9)
    backend.begin(1, 1, seed=3)
    assert np.array_equal(drive(backend, 1, STEERS, others=[0]), alone)


def test_a_world_that_cannot_be_driven_frame_by_frame_is_refused():
    with pytest.raises(UserError, match="time_stride"):
        ModelBackend(random_world(micro_config(tokenizer__time_stride=2)), scenes())
    with pytest.raises(UserError, match="slots = 0"):
        ModelBackend(random_world(), scenes(), slots=0)
